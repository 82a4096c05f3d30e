"""Fine detail of frames, and the sharpness of predictions that is made of it."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.score.frame_scores import FrameScorer
from bench.score.metrics import METRICS
from bench.score.spectrum import detail
from tests.bench.score.plain import plain

SHARPNESS = METRICS["prediction"]["sharpness"]


def grating(pixels: float, side: int = 64) -> Tensor:
    """Waves of that length and amplitude 0.5, [1,H,W]."""
    waves = torch.arange(side) * (2 * torch.pi / pixels)
    return (0.5 + 0.5 * waves.sin()).expand(1, side, side)


def sharpness(output: Tensor, truth: Tensor) -> float:
    scorer = FrameScorer(plain(truth), [SHARPNESS])
    scorer.add(output, truth, truth[:, :1], torch.ones(truth.shape[:2]))
    return scorer.scores({}, 1.0).means()["sharpness"]


def blurred(frames: Tensor, radius: int) -> Tensor:
    side = 2 * radius + 1
    padded = F.pad(frames.flatten(0, 1), (radius,) * 4, mode="replicate")
    return F.avg_pool2d(padded, side, 1).unflatten(0, frames.shape[:2])


@pytest.mark.parametrize("side", [64, 63, 48])
@pytest.mark.parametrize(("pixels", "power"), [(3, 0.125), (5, 0.125), (16, 0.0), (32, 0.0)])
def test_a_grating_of_amplitude_a_has_half_its_square_where_it_is_fine(
    pixels: int, power: float, side: int
) -> None:
    assert detail(grating(pixels, side)).item() == pytest.approx(power, abs=0.003)
    assert detail(grating(pixels, side).mT).item() == pytest.approx(power, abs=0.003)


@settings(max_examples=40)
@given(st.integers(1, 8), st.integers(1, 8), st.sampled_from([1, 2, 3, 5]), st.booleans())
def test_small_frames_and_even_ones_have_a_finite_figure(
    height: int, width: int, channels: int, half: bool
) -> None:
    frames = torch.rand(3, channels, height, width)
    found = detail(frames.half() if half else frames)
    assert found.dtype is torch.float32
    assert found.ge(0).all()
    assert found.le(1).all()
    assert detail(torch.full_like(frames, 0.3)).eq(0).all()


def test_blur_lowers_it_and_noise_raises_it() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 1, 16, 16, generator=generator).repeat_interleave(4, -1)
    truth = truth.repeat_interleave(4, -2)
    by_blur = [sharpness(blurred(truth, radius), truth) for radius in (0, 1, 2, 3)]
    assert by_blur[0] == 1
    assert all(more > less for more, less in pairwise(by_blur))
    assert by_blur[-1] < 0.2
    noise = 0.2 * torch.randn(truth.shape, generator=generator)
    assert sharpness(truth + noise, truth) > 1.1
    assert sharpness(truth.roll((3, 5), (-1, -2)), truth) == pytest.approx(1, abs=0.15)
