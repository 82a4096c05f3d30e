"""Moving MNIST whose frames to predict from are missing, covered or jolted."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from datasets.contract import Clips, HeldOutName
from datasets.moving_mnist import (
    CANVAS,
    DIGITS_PER_CLIP,
    STEP,
    MovingMNIST,
    RenderedClips,
    held_out_draws,
    render,
    trajectories,
)
from datasets.sources.clip_numbers import clip_numbers, normal

Kind = Literal["missing", "perceptual", "dynamic"]

MISSING = 0.2
"""How likely a frame is black."""

COVER = 24
"""Pixels of the side of the black square."""

JOLT = 0.2
"""Standard deviation of what is added to a digit's velocity, both ways; its speed is 1."""

_NUMBERS: dict[Kind, int] = {"missing": 1, "perceptual": 2, "dynamic": 4 * DIGITS_PER_CLIP}
"""Uniform numbers that the noise of one frame takes."""


class NoisyMovingMNIST(MovingMNIST):
    """The clips of `moving_mnist` with noise on the context; what is to be predicted is clean.

    Tan et al., "OpenSTL: A Comprehensive Benchmark of Spatio-Temporal Predictive Learning", NeurIPS
    2023 (github.com/chengtan9907/OpenSTL). "missing": each frame is black with probability 0.2.
    "perceptual": a black square of 24 pixels lies anywhere inside each. "dynamic": each step of a
    digit's velocity is jolted by N(0, 0.2) both ways, where its speed is 1, and from the last
    context frame on it moves steadily. OpenSTL tests on clean clips, `moving_mnist/official`; here
    validation and test are noisy as training is, so figures do not compare. Their frames to predict
    are those of `moving_mnist`, but for "dynamic", where digits arrive elsewhere.
    """

    name = "moving_mnist/noisy"

    def __init__(
        self, kind: Kind = "perceptual", context_frames: int = 10, horizon: int = 10
    ) -> None:
        """Load the digits.

        Args:
            kind: of the noise: "missing", "perceptual" or "dynamic".
            context_frames: frames given, the noisy ones.
            horizon: frames to predict, the clean ones.

        Raises:
            ValueError: `kind` is none of the three.
        """
        if kind not in get_args(Kind):
            names = ", ".join(get_args(Kind))
            raise ValueError(f"kind must be one of {names}, not {repr(kind)[:80]}")
        self._kind: Kind = kind
        super().__init__(context_frames, horizon)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random training clips, uint8 [count,T,1,64,64], on the generator's device."""
        motion = self._train_motion(count, generator)
        noise = torch.rand(count, self._numbers, generator=generator, device=generator.device)
        return self._noisy(*motion, noise)

    def held_out(self, split: HeldOutName) -> Clips:
        """The 10,000 fixed clips of `split`, made as they are read."""
        uniform = held_out_draws(split, 4)
        start, angle = uniform[..., 1:3], uniform[..., 3] * math.tau

        def show(images: Tensor, window: slice) -> Tensor:
            noise = clip_numbers(split, range(len(start))[window], self._numbers)
            return self._noisy(images, start[window], angle[window], noise)

        return RenderedClips(self._held_out_digits[split], uniform[..., 0], show)

    @property
    def _numbers(self) -> int:
        return self.spec.context_frames * _NUMBERS[self._kind]

    def _noisy(self, images: Tensor, start: Tensor, angle: Tensor, noise: Tensor) -> Tensor:
        """Clips of `images` on the way from `start`, their `noise` from numbers in [0,1) [B,k]."""
        noise = noise.view(len(noise), self.spec.context_frames, _NUMBERS[self._kind])
        jitter = None
        if self._kind == "dynamic":
            jitter = JOLT * STEP * _normal_by_digit(noise)
        clips = render(images, trajectories(start, angle, self.spec.clip_frames, jitter))
        context = clips[:, : self.spec.context_frames, 0]
        if self._kind == "missing":
            context.masked_fill_(noise[..., None] < MISSING, 0)
        elif self._kind == "perceptual":
            context.masked_fill_(_squares((noise * (CANVAS - COVER)).long()), 0)
        return clips


def _normal_by_digit(noise: Tensor) -> Tensor:
    """Standard normal (y, x) of each digit and frame [B,D,T,2] of uniform numbers [B,T,4D]."""
    return normal(noise.view(*noise.shape[:2], DIGITS_PER_CLIP, 2, 2)).transpose(1, 2)


def _squares(corners: Tensor) -> Tensor:
    """Where squares of COVER pixels lie, bool [...,64,64], that have top-left pixels [...,2]."""
    pixel = torch.arange(CANVAS, device=corners.device)
    inside = (pixel >= corners[..., None]) & (pixel < corners[..., None] + COVER)
    return inside[..., 0, :, None] & inside[..., 1, None, :]
