"""Scores of several futures of one context."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.score.frames import mae, mse
from bench.score.samples import best_mse, crps

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
