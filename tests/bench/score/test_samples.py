"""Scores of several futures of one context."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.errors import Invalid
from bench.score.frame_scores import FrameScores
from bench.score.frames import mae, mse, ssim
from bench.score.measure import measure
from bench.score.samples import Draws, Sample, best_mse, crps
from bench.train.held_out import HeldOut
from bench.train.task import task_of
from datasets.contract import Spec
from models.contract import Predictor

SHAPE = (2, 3, 1, 4, 5)


def futures(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples [B,N,T,C,H,W] and truth [B,T,C,H,W] in [0,1]."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.rand(SHAPE[0], count, *SHAPE[1:], generator=generator)
    return samples, torch.rand(SHAPE, generator=generator)


@settings(max_examples=20)
@given(st.integers(2, 9), st.integers(0, 2**31))
def test_crps_is_that_of_all_pairs(count: int, seed: int) -> None:
    samples, truth = futures(count, seed)
    error = (samples - truth[:, None]).abs().mean(1)
    apart = (samples[:, :, None] - samples[:, None]).abs().sum((1, 2)) / (count * (count - 1))
    expected = (error - apart / 2).mean((-3, -2, -1))
    torch.testing.assert_close(crps(samples, truth), expected, rtol=1e-4, atol=1e-6)


def test_one_sample_has_the_mean_absolute_error_and_so_have_equal_ones() -> None:
    samples, truth = futures(1)
    expected = mae(samples[:, 0], truth)
    torch.testing.assert_close(crps(samples, truth), expected)
    torch.testing.assert_close(crps(samples.repeat(1, 5, 1, 1, 1, 1), truth), expected)


def test_the_fair_form_is_the_same_for_any_number_and_best_for_the_true_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (1, 1, 1, 200, 200)
    truth = torch.rand(shape, generator=generator)

    def score(count: int, spread: float) -> float:
        drawn = torch.rand(1, count, *shape[1:], generator=generator)
        return float(crps(0.5 + spread * (drawn - 0.5), truth))

    # Of uniform ones E|x - y| - E|x - x'| / 2 = 1/3 - 1/6.
    assert [score(n, 1.0) for n in (2, 5, 20)] == pytest.approx([1 / 6] * 3, abs=0.005)
    assert score(20, 1.0) < min(score(20, 0.2), score(20, 1.8))


def test_the_best_of_several_is_chosen_for_the_whole_clip() -> None:
    samples, truth = futures(4)
    each = torch.stack([mse(samples[:, n], truth).mean(1) for n in range(4)])
    torch.testing.assert_close(best_mse(samples, truth), each.amin(0))
    samples[1, 2] = truth[1]
    assert best_mse(samples, truth)[1] == 0


@pytest.mark.parametrize(("mean", "spread", "true"), [(0.5, 0.1, 0.65), (0.4, 0.05, 0.4)])
def test_crps_of_normal_samples_is_its_closed_form(mean: float, spread: float, true: float) -> None:
    """Gneiting and Raftery 2007, "Strictly proper scoring rules", equation 21."""
    generator = torch.Generator().manual_seed(0)
    drawn = mean + spread * torch.randn(1, 20, 1, 1, 100, 100, generator=generator)
    z = torch.tensor((true - mean) / spread, dtype=torch.float64)
    normal = torch.distributions.Normal(0.0, 1.0)
    density = normal.log_prob(z).exp()
    expected = spread * (z * (2 * normal.cdf(z) - 1) + 2 * density - math.pi**-0.5)
    found = crps(drawn, torch.full((1, 1, 1, 100, 100), true))
    assert float(found) == pytest.approx(float(expected), rel=0.01)


CONTEXT, HORIZON = 3, 2
TASK = task_of("prediction", Spec((1, 9, 9), CONTEXT, HORIZON))
CLIPS = torch.randint(
    256, (7, 5, 1, 9, 9), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
)
OF_FUTURES = ["best_mse", "best_ssim", "crps", "mse_of_mean"]


class Noisy(Predictor):
    """Copies the last frame; its samples are that and noise."""

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return context[:, -1:].repeat(1, horizon, 1, 1, 1)

    def sample(
        self, context: Tensor, horizon: int, samples: int, generator: torch.Generator
    ) -> Tensor:
        futures = super().sample(context, horizon, samples, generator)
        return futures + torch.randn(futures.shape, generator=generator) / 2


def run(
    batch_size: int = 3, count: int = 4, seed: int = 0, sample: Sample | None = None
) -> FrameScores:
    """The test of `Noisy`, with other samples where they are given."""
    model = Noisy((1, 9, 9))
    held_out = HeldOut(CLIPS, 7, batch_size, torch.device("cpu"), lambda _: None, seed)
    own: Sample = lambda context, samples, generator: model.sample(  # noqa: E731
        context, HORIZON, samples, generator
    )
    forward = lambda context: TASK.forward(model, context)  # noqa: E731
    scores = measure(TASK, forward, held_out, 0, draws=Draws(sample or own, count))
    assert isinstance(scores, FrameScores)
    return scores


def test_futures_are_scored_beside_the_prediction() -> None:
    seen: list[Tensor] = []

    def remembered(context: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        seen.append(Noisy((1, 9, 9)).sample(context, HORIZON, samples, generator))
        return seen[-1]

    scores = run(sample=remembered)
    futures, truth = torch.cat(seen).clamp(0, 1), CLIPS[:, CONTEXT:].float() / 255
    table = scores.frames.set_index(["sequence", "frame"])
    np.testing.assert_allclose(table["crps"], crps(futures, truth).flatten(), rtol=1e-5)
    np.testing.assert_allclose(
        table["mse_of_mean"], mse(futures.mean(1), truth).flatten(), rtol=1e-5
    )
    each = torch.stack([ssim(futures[:, n], truth).mean(1) for n in range(4)], 1)
    np.testing.assert_allclose(table["best_ssim"].xs(2, level="frame"), each.amax(1), rtol=1e-4)
    np.testing.assert_allclose(
        table["best_mse"].xs(1, level="frame"), best_mse(futures, truth), rtol=1e-5
    )
    assert scores.means()["best_mse"] == pytest.approx(float(best_mse(futures, truth).mean()))
    assert scores.not_measured.keys().isdisjoint(OF_FUTURES)
    assert {*OF_FUTURES} & {*scores.horizon()} == {"crps", "mse_of_mean"}


@pytest.mark.parametrize("batch_size", [1, 5, 7])
def test_futures_do_not_depend_on_the_batch(batch_size: int) -> None:
    whole, parts = run().frames[OF_FUTURES], run(batch_size).frames[OF_FUTURES]
    np.testing.assert_allclose(parts, whole, rtol=1e-6)


def test_each_clip_and_each_seed_has_other_futures() -> None:
    drawn: list[Tensor] = []

    def noise(context: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        drawn.append(torch.rand(1, samples, HORIZON, 1, 9, 9, generator=generator))
        return drawn[-1]

    for seed in (0, 0, 1):
        run(seed=seed, sample=noise)
    one, again, other = (torch.cat(drawn[i : i + 7]) for i in (0, 7, 14))
    assert torch.equal(one, again)
    assert len({float(futures.sum()) for futures in (*one, *other)}) == 14


def test_one_future_has_the_mean_absolute_error() -> None:
    frames = run(count=1, sample=lambda context, *_: context[:, None, -1:].repeat(1, 1, 2, 1, 1, 1))
    table = frames.frames
    np.testing.assert_allclose(table["crps"], table["mae"], rtol=1e-6)
    np.testing.assert_allclose(table["mse_of_mean"], table["mse"], rtol=1e-6)


def test_a_model_that_draws_nothing_has_no_such_figures() -> None:
    held_out = HeldOut(CLIPS, 7, 3, torch.device("cpu"), lambda _: None)
    scores = measure(TASK, lambda context: TASK.forward(Noisy((1, 9, 9)), context), held_out, 0)
    assert isinstance(scores, FrameScores)
    assert {*OF_FUTURES}.isdisjoint({*scores.frames, *scores.means(), *scores.not_measured})


@pytest.mark.parametrize(
    ("futures", "error", "message"),
    [
        (torch.zeros(1, 3, 2, 1, 9, 9), ValueError, r"\[1, 3\] clips and samples are drawn, not"),
        (torch.full((1, 4, 2, 1, 9, 9), math.nan), Invalid, "futures drawn of clip 0 hold what is"),
    ],
)
def test_futures_that_are_none_are_refused(
    futures: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(sample=lambda *_: futures)
