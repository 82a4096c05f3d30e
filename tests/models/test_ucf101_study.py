"""The three models of the UCF101 study: its sizes, and what it built that the papers did not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.contract import Predictor
from models.ucf101_study import (
    ContextNorm,
    PostNormMBConv,
    UCF101StudyConvLSTM,
    UCF101StudyMaxViT,
    UCF101StudyPredRNN,
    UnbiasedAttention,
)

RECURRENT = [UCF101StudyConvLSTM, UCF101StudyPredRNN]


def published(model_class: type[Predictor]) -> Predictor:
    with torch.device("meta"):
        return model_class((3, 64, 64), **model_class.sizes["published"].options)


def test_most_of_convlstms_parameters_are_peepholes() -> None:
    model = published(UCF101StudyConvLSTM)
    peepholes = [p for name, p in model.named_parameters() if name.endswith("peephole")]
    assert sum(p.numel() for p in peepholes) == 2 * 3 * 64 * 64 * 64 == 1_572_864


def test_peepholes_start_at_zero() -> None:
    model = UCF101StudyConvLSTM((1, 8, 12), width=4)
    assert not any(layer.peephole.any() for layer in model.layers)


@pytest.mark.parametrize("model_class", RECURRENT)
@pytest.mark.parametrize("training", [True, False])
def test_states_stay_finite_over_long_clips(model_class: type[Predictor], training: bool) -> None:
    torch.manual_seed(0)
    model = model_class((3, 16, 16), **model_class.sizes["published"].options).train(training)
    with torch.no_grad():
        prediction = model(torch.rand(2, 12, 3, 16, 16), 12)
    assert bool(prediction.isfinite().all())
    assert prediction.min() > 0
    assert prediction.max() < 1


@pytest.mark.parametrize("model_class", RECURRENT)
def test_a_prediction_is_read_as_a_frame_is(model_class: type[Predictor]) -> None:
    torch.manual_seed(0)
    model = model_class((1, 8, 12), width=4).eval()
    context = torch.rand(2, 3, 1, 8, 12)
    with torch.no_grad():
        first, second = model(context, 2).split(1, 1)
        torch.testing.assert_close(model(torch.cat((context, first), 1), 1), second)


@pytest.mark.parametrize("training", [True, False])
def test_context_is_normalised_as_batch_norm_does(training: bool) -> None:
    torch.manual_seed(0)
    norm, expected = (m(4).double().train(training) for m in (ContextNorm, nn.BatchNorm3d))
    for module in (norm, expected):
        torch.nn.init.constant_(module.running_mean, 0.3)
        torch.nn.init.constant_(module.weight, 1.7)
        torch.nn.init.constant_(module.bias, -0.2)
    context = torch.randn(2, 4, 5, 6, 7).double()
    scale, shift = norm.scale_and_shift(context.unbind(2))
    torch.testing.assert_close(context * scale[:, None] + shift[:, None], expected(context))
    torch.testing.assert_close(norm.running_mean, expected.running_mean)
    torch.testing.assert_close(norm.running_var, expected.running_var)


def test_only_the_context_moves_the_running_statistics() -> None:
    torch.manual_seed(0)
    model = UCF101StudyConvLSTM((1, 8, 12), width=4)
    context, statistics = torch.rand(2, 3, 1, 8, 12), []
    for horizon in (1, 5):
        for layer in model.layers:
            layer.norm.reset_running_stats()
        with torch.no_grad():
            model(context, horizon)
        statistics.append([layer.norm.running_var.clone() for layer in model.layers])
    torch.testing.assert_close(*statistics)
    assert not any(torch.equal(variance, torch.ones(4)) for variance in statistics[0])


@pytest.fixture(scope="module")
def maxvit() -> UCF101StudyMaxViT:
    torch.manual_seed(0)
    return UCF101StudyMaxViT(
        (1, 16, 24), stem=4, widths=(8, 16), depths=(1, 2), head=8, window_frames=4, pass_frames=2
    ).eval()


def test_only_the_first_block_of_maxvit_halves_the_map() -> None:
    model = published(UCF101StudyMaxViT)
    maps, shapes = model.stem(torch.empty(1, 30, 64, 64, device="meta")), []
    for block in model.blocks:
        maps = block(maps)
        shapes.append(tuple(maps.shape[1:]))
    assert shapes == [(width, 32, 32) for width in (64, 64, 128, 128, 256, 256, 512, 512)]
    attention = [m for m in model.modules() if isinstance(m, UnbiasedAttention)]
    assert [(m.partition, m.window) for m in attention] == [("block", (4, 4)), ("grid", (4, 4))] * 8
    shortcuts = [m.shortcut for m in model.modules() if isinstance(m, PostNormMBConv)]
    assert shortcuts == [False, True] * 4


def test_attention_is_that_of_its_equation_in_each_window() -> None:
    torch.manual_seed(0)
    layer = UnbiasedAttention(8, 2, "block", 4, 0.0).double()
    windows = torch.randn(2, 3, 4, 8).double()
    query, key, value = layer.query_key_value(windows).split(8, -1)
    expected = torch.zeros_like(windows)
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        scores = query[..., part] @ key[..., part].transpose(-1, -2) / 4**0.5
        for a, b in [(a, b) for a in range(4) for b in range(4)]:
            dy, dx = a // 2 - b // 2, a % 2 - b % 2
            scores[..., a, b] += layer.position_bias[3 * (dy + 1) + dx + 1, head]
        expected[..., part] = scores.softmax(-1) @ value[..., part]
    torch.testing.assert_close(layer.attend(windows), expected @ layer.project[0].weight.T)


def test_dropout_acts_in_training_alone(maxvit: UCF101StudyMaxViT) -> None:
    options = UCF101StudyMaxViT.sizes["published"].options
    assert options == {"dropout": 0.1}
    torch.manual_seed(0)
    model = UCF101StudyMaxViT((1, 16, 16), stem=4, widths=(8,), depths=(1,), head=8, **options)
    attention, windows = model.blocks[0].attention[0], torch.rand(1, 2, 16, 8)
    assert not torch.equal(attention.attend(windows), attention.attend(windows))
    model.eval()
    assert torch.equal(attention.attend(windows), attention.attend(windows))


@pytest.mark.parametrize("frames", [2, 4, 7])
def test_maxvit_reads_a_window_and_goes_on_from_its_own_frames(
    maxvit: UCF101StudyMaxViT, frames: int
) -> None:
    context = torch.rand(2, frames, 1, 16, 24)
    padded = torch.cat((context[:, :1], context[:, :1], context), 1)
    with torch.no_grad():
        first = maxvit.next_frames(padded[:, -4:])
        second = maxvit.next_frames(torch.cat((padded[:, -2:], first), 1))
        expected = torch.cat((first, second[:, :1]), 1)
        torch.testing.assert_close(maxvit(context, 3), expected)


def test_maxvit_refuses_frames_that_windows_do_not_tile() -> None:
    with pytest.raises(ValueError, match=r"multiples of 8 .* not 60 x 64"):
        UCF101StudyMaxViT((1, 60, 64))


def test_maxvits_weights_do_not_depend_on_memory_layout(maxvit: UCF101StudyMaxViT) -> None:
    assert all(p.is_contiguous() for p in maxvit.parameters())


@pytest.mark.parametrize("model_class", RECURRENT)
def test_recurrent_models_learn_four_sequences_by_heart(
    model_class: type[Predictor], learns_by_heart: Callable[..., None]
) -> None:
    torch.manual_seed(0)
    learns_by_heart(model_class((1, 32, 32), width=8))


def test_maxvit_learns_four_sequences_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    options: dict[str, object] = {"stem": 16, "widths": (16, 32), "depths": (1, 1), "head": 16}
    learns_by_heart(UCF101StudyMaxViT((1, 32, 32), **options))
