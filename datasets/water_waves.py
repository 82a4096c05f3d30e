"""Waves on water: a random smooth surface that moves as the linear theory says, exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from datasets.contract import Clips, Dataset, HeldOutName, Spec
from datasets.sources.clip_numbers import NumberedClips, normal

SIDE = 64
"""Pixels of the square; what leaves it on one side comes in on the other."""

GRAVITY, DEPTH = 1.0, 4.0
"""Pixels per frame squared, and pixels: long waves run at 2 pixels per frame, short ones slower."""

WAVELENGTH = 32.0
"""Pixels; waves of this length are the highest."""

DEVIATIONS = 5.0
"""Standard deviations of the height that are shown, up and down; the mean is 0.5."""

_HELD_OUT_CLIPS = 1_000
_NUMBERS = 2 * 2 * SIDE * SIDE  # two for a normal number, and two of these for a pixel


class WaterWaves(Dataset):
    """The height of a water surface, for models that should learn a law of physics.

    Airy's linear theory of gravity waves (G. B. Whitham, "Linear and Nonlinear Waves", 1974, ch.
    13): a wave of wavenumber k has the angular frequency w = sqrt(g k tanh(k h)), so that long
    waves overtake short ones. A clip is a Gaussian random surface of waves in all directions, which
    looks alike at any time (M. S. Longuet-Higgins, "The statistical analysis of a random, moving
    surface", 1957). The solution is evaluated in closed form, by a Fourier transform for each
    frame: there are no steps in time, no errors that grow, and two frames determine the rest. So
    what a model misses is the model's. Nothing is read; 1,000 clips validate and 1,000 test.
    """

    name = "water_waves"

    def __init__(self, context_frames: int = 10, horizon: int = 10) -> None:
        """Nothing is loaded.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
        """
        self.spec = Spec((1, SIDE, SIDE), context_frames, horizon, dtype=torch.uint16)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random training clips, uint16 [count,T,1,64,64], on the generator's device."""
        device = generator.device
        return self._shown(torch.rand(count, _NUMBERS, generator=generator, device=device))

    def held_out(self, split: HeldOutName) -> Clips:
        """The 1,000 fixed clips of `split`, computed as they are read."""
        return NumberedClips(split, _HELD_OUT_CLIPS, _NUMBERS, self._shown)

    def _shown(self, numbers: Tensor) -> Tensor:
        """The clips that `numbers` fix, uniform in [0,1) [N,k]."""
        noise = normal(numbers.view(len(numbers), 2, SIDE, SIDE, 2))
        wavenumber = wavenumbers(noise)
        now, later = (torch.fft.rfft2(noise) * swell(wavenumber)).unbind(1)
        heights = surfaces(now, later, frequencies(wavenumber), self.spec.clip_frames)
        unit = (0.5 + heights / (2 * DEVIATIONS)).clamp_(0, 1)
        return (unit * 65_535).round_().to(torch.uint16)[:, :, None]


def wavenumbers(like: Tensor) -> Tensor:
    """Radians per pixel of each entry of `torch.fft.rfft2`, [64,33], of the type of `like`."""
    down = torch.fft.fftfreq(SIDE, dtype=like.dtype, device=like.device)
    right = torch.fft.rfftfreq(SIDE, dtype=like.dtype, device=like.device)
    return math.tau * torch.hypot(down[:, None], right)


def frequencies(wavenumber: Tensor) -> Tensor:
    """Radians per frame of waves of `wavenumber`, radians per pixel."""
    return (GRAVITY * wavenumber * (wavenumber * DEPTH).tanh()).sqrt()


def swell(wavenumber: Tensor) -> Tensor:
    """What makes white noise of variance 1 a smooth surface of variance 1, by `wavenumber`."""
    relative = wavenumber * WAVELENGTH / math.tau
    amplitude = relative * (-relative.square() / 2).exp()
    # All but the first and last column stand for two waves each.
    power = 2 * amplitude.square().sum() - amplitude[:, [0, -1]].square().sum()
    return amplitude * SIDE / power.sqrt()


def surfaces(now: Tensor, later: Tensor, frequency: Tensor, frames: int) -> Tensor:
    """Heights [B,frames,64,64] of waves of `frequency` [64,33], from the first frame on.

    Args:
        now: what `torch.fft.rfft2` makes of the heights in frame 0, complex [B,64,33].
        later: of the heights each wave has a quarter of its period later, complex [B,64,33].
        frequency: radians per frame.
        frames: how many.
    """
    phase = frequency * torch.arange(frames, device=now.device)[:, None, None]
    heights: Tensor = torch.fft.irfft2(now[:, None] * phase.cos() + later[:, None] * phase.sin())
    return heights
