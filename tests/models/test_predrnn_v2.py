from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.contract import TrainingBatch
from models.predrnn import PredRNN
from models.predrnn_v2 import PredRNNV2, context_rate, future_rate
from tests.literal import _action_predrnn_v2 as literal

TINY = {"width": 4, "layers": 2, "kernel": 3}


def test_published_size_is_predrnn_with_a_shared_adapter() -> None:
    with torch.device("meta"):
        model = PredRNNV2((1, 64, 64), **PredRNNV2.sizes["published"].options)
    adapter = 128 * 128
    assert sum(p.numel() for p in model.parameters()) == 23_838_720 + adapter == 23_855_104


def test_with_bair_s_actions_it_has_the_parameters_of_the_authors_network() -> None:
    with torch.device("meta"):
        options = PredRNNV2.sizes["published"].options
        model = PredRNNV2((3, 64, 64), **options, covariates=4)
    layer = 25 * 128 * 128 * (7 + 4 + 4 + 3 + 2) + 2 * 128 * 128 + 128 * (7 + 4 + 4 + 3 + 1 + 1)
    coders = 25 * (64 * (3 + 4 + 3) + 3 * 64 * 128)
    count = sum(p.numel() for p in model.parameters())
    assert count == 4 * layer + coders + 128 * 128 == 33_556_096


def test_with_actions_it_does_what_its_published_code_does() -> None:
    """In float64, as the others are compared in test_literal.py."""
    torch.manual_seed(0)
    model = PredRNNV2((3, 8, 12), **TINY, covariates=2).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    clip, numbers = torch.rand(2, 6, 3, 8, 12).double(), torch.randn(2, 6, 2).double()
    loss = model.training_loss(TrainingBatch(clip, 3, 1.0, covariates=numbers))
    expected = literal.training_loss(literal.weights(model), clip, 3, numbers)
    exactly = {"rtol": 0.0, "atol": 1e-10}
    torch.testing.assert_close(loss, expected, **exactly)
    parameters = [*model.parameters()]
    ours, theirs = (torch.autograd.grad(each, parameters) for each in (loss, expected))
    torch.testing.assert_close(ours, theirs, **exactly)
    with torch.no_grad():
        predicted = model(clip[:, :3], 3, numbers)
        wanted = literal.prediction(literal.weights(model), clip[:, :3], 3, numbers)
    torch.testing.assert_close(predicted, wanted, **exactly)


def test_it_predicts_as_predrnn_does_and_reads_the_true_context() -> None:
    torch.manual_seed(0)
    model, plain = PredRNNV2((1, 8, 12), **TINY), PredRNN((1, 8, 12), **TINY)
    weights = model.state_dict()
    del weights["adapter.weight"]
    plain.load_state_dict(weights)
    context = torch.rand(2, 3, 1, 8, 12)
    torch.testing.assert_close(model(context, 4), plain(context, 4))


@pytest.mark.parametrize(
    ("steps", "context", "future"),
    [
        (0, 0.5, 0.5),
        (24_999, 0.5, 0.5),
        (25_000, 0.5, 0.5),
        (27_500, 1 - 0.5 * math.exp(-1), 0.45),
        (37_500, 1 - 0.5 * math.exp(-5), 0.25),
        (50_000, 1.0, 0.0),
        (80_000, 1.0, 0.0),
    ],
)
def test_schedules_are_those_of_80_000_steps(steps: int, context: float, future: float) -> None:
    progress = torch.tensor(steps / 80_000)
    assert float(context_rate(progress)) == pytest.approx(context, abs=1e-4)
    assert float(future_rate(progress)) == pytest.approx(future, abs=1e-4)


def test_sampling_leaves_out_only_the_first_frame() -> None:
    model, clip = PredRNNV2((1, 8, 12), **TINY), torch.rand(4000, 7, 1, 1, 1)
    first, *masks = model.teacher_forcing(
        TrainingBatch(clip, 4, 0.4, torch.Generator().manual_seed(0))
    )
    assert first is True
    rates = [mask.float().mean().item() for mask in masks if isinstance(mask, Tensor)]
    progress = torch.tensor(0.4)
    expected = [*context_rate(progress).expand(3), *future_rate(progress).expand(2)]
    assert rates == pytest.approx(torch.stack(expected).tolist(), abs=0.03)


def test_at_the_end_the_context_is_read_and_nothing_else() -> None:
    model, clip = PredRNNV2((1, 8, 12), **TINY), torch.rand(2, 7, 1, 8, 12)
    first, *masks = model.teacher_forcing(TrainingBatch(clip, 4, 1.0))
    assert first is True
    assert [torch.as_tensor(mask).all().item() for mask in masks] == [True] * 3 + [False] * 2
    assert not any(torch.as_tensor(mask).any() for mask in masks[3:])


def test_a_step_that_reads_its_own_prediction_leaves_the_true_frame_unread() -> None:
    """In the context too: a mask of all sequences hides its second frame."""
    torch.manual_seed(0)
    model, clip = PredRNNV2((1, 8, 12), **TINY), torch.rand(2, 4, 1, 8, 12)
    other = clip.clone()
    other[:, 1] = torch.rand(2, 1, 8, 12)
    hidden = torch.zeros(2, 1, 1, 1, dtype=torch.bool)

    def last(clip: Tensor, second: Tensor) -> Tensor:
        frames = torch.nn.functional.pixel_unshuffle(clip, 4)
        return [prediction for prediction, _ in model.unroll(frames, [True, second, True])][-1]

    torch.testing.assert_close(last(clip, hidden), last(other, hidden), rtol=0, atol=0)
    assert not torch.allclose(last(clip, ~hidden), last(other, ~hidden))


def test_overlap_is_the_mean_cosine_of_channels_whatever_its_sign() -> None:
    model = PredRNNV2((1, 8, 12), **TINY)
    torch.nn.init.dirac_(model.adapter.weight)
    increment, other = torch.randn(2, 2, 4, 2, 3)
    other[..., 0] = increment[..., 0] = 0.0
    apart = torch.zeros_like(increment)
    apart[..., 0] = 1.0
    overlap = model.overlap
    assert overlap([(increment, -3 * increment)]).item() == pytest.approx(1.0, abs=1e-5)
    assert overlap([(increment, apart)]).item() == pytest.approx(0.0, abs=1e-5)
    both = overlap([(increment, increment), (increment, apart)])
    assert both.item() == pytest.approx(0.5, abs=1e-5)


def test_decoupling_is_added_with_its_weight() -> None:
    torch.manual_seed(0)
    model, clip = PredRNNV2((1, 8, 12), **TINY), torch.rand(2, 5, 1, 8, 12)
    losses = []
    for model.decoupling in (0.0, 0.1, 0.2):
        losses.append(model.training_loss(TrainingBatch(clip, 3, 1.0)).item())
    assert losses[1] > losses[0]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    learns_by_heart(PredRNNV2((1, 32, 32), width=16, layers=2, kernel=3))
