"""Waves on water: clips are the closed-form solution, whatever way they are looked at."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from datasets.contract import HeldOutName, to_unit
from datasets.water_waves import WaterWaves, frequencies, surfaces, wavenumbers

waves = st.integers(-12, 12)


@pytest.fixture(scope="module")
def clips() -> dict[str, Tensor]:
    """Some clips of each split, values in [0,1], float64 [N,T,64,64]."""
    dataset = WaterWaves()
    shown = {
        "train": dataset.train_clips(8, torch.Generator().manual_seed(0)),
        "validation": dataset.held_out("validation")[:8],
        "test": dataset.held_out("test")[:8],
    }
    assert all(each.dtype == torch.uint16 for each in shown.values())
    return {name: to_unit(each)[:, :, 0].double() for name, each in shown.items()}


def _frequency(ky: float, kx: float) -> float:
    """The dispersion relation of water 4 pixels deep, a gravity of 1 pixel per frame squared."""
    wavenumber = math.hypot(ky, kx)
    return math.sqrt(wavenumber * math.tanh(4 * wavenumber))


@given(waves, waves, st.floats(0, math.tau))
def test_a_wave_runs_as_airy_says(down: int, right: int, phase: float) -> None:
    ky, kx = (math.tau * number / 64 for number in (down, right))
    pixel = torch.arange(64, dtype=torch.float64)
    place = ky * pixel[:, None] + kx * pixel + phase
    now, later = (torch.fft.rfft2(each)[None] for each in (place.cos(), place.sin()))
    heights = surfaces(now, later, frequencies(wavenumbers(pixel)), 30)[0]
    for frame in range(30):
        torch.testing.assert_close(heights[frame], (place - _frequency(ky, kx) * frame).cos())


def test_long_waves_run_at_two_pixels_per_frame_and_short_ones_slower() -> None:
    lengths = torch.tensor([10_000.0, 64, 32, 16, 8, 4], dtype=torch.float64)
    wavenumber = math.tau / lengths
    speed = frequencies(wavenumber) / wavenumber
    assert float(speed[0]) == pytest.approx(2, abs=1e-3)
    assert (speed.diff() < 0).all()
    assert float(speed[-1]) == pytest.approx(math.sqrt(4 / math.tau), abs=1e-3)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_two_frames_determine_the_next(clips: dict[str, Tensor], split: str) -> None:
    """Each wave has h(t+1) = 2 cos(w) h(t) - h(t-1)."""
    heights = clips[split] - 0.5
    spectra = torch.fft.rfft2(heights)
    factor = 2 * frequencies(wavenumbers(heights)).cos()
    expected = torch.fft.irfft2(factor * spectra[:, 1:-1] - spectra[:, :-2])
    level = 1 / 65_535
    torch.testing.assert_close(heights[:, 2:], expected, atol=4 * level, rtol=0)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_surfaces_look_alike_at_any_time(clips: dict[str, Tensor], split: str) -> None:
    heights = clips[split] - 0.5
    assert float(heights.mean(dim=(2, 3)).abs().max()) < 1e-5
    deviations = heights.square().mean(dim=(0, 2, 3)).sqrt()
    torch.testing.assert_close(deviations, torch.full_like(deviations, 0.1), atol=0.015, rtol=0)


def test_surfaces_are_smooth_and_waves_go_everywhere(clips: dict[str, Tensor]) -> None:
    power = torch.fft.fft2(clips["train"] - 0.5).abs().square().mean(dim=(0, 1))
    turns = torch.fft.fftfreq(64, dtype=torch.float64)
    wavenumber = torch.hypot(turns[:, None], turns)
    assert float(power[wavenumber > 1 / 8].sum() / power.sum()) < 0.01
    assert float(power[wavenumber < 1 / 10].sum() / power.sum()) > 0.9
    downwards = turns[:, None].abs() > turns.abs()
    assert float(power[downwards].sum() / power[downwards.T].sum()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("validation", "4d4151b01025f2e7fd9e1a0adbb7f70a"),
        ("test", "4cc553c7c2b2bb93eaeb7d58b8edcd3e"),
    ],
)
def test_held_out_pixels_are_the_same_everywhere(split: HeldOutName, digest: str) -> None:
    assert len(WaterWaves().held_out(split)) == 1_000
    assert WaterWaves().digest(split, 100) == digest


def test_a_longer_horizon_continues_the_held_out_clips() -> None:
    short, long = (WaterWaves(10, horizon).held_out("test")[5:9] for horizon in (10, 30))
    assert long.shape == (4, 40, 1, 64, 64)
    assert torch.equal(long[:, :20], short)
