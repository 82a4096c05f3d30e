"""A pushed disc: the push alone tells where it goes, for models that take covariates."""

from __future__ import annotations

import torch
from torch import Tensor

from datasets.contract import Clips, Covariate, Dataset, HeldOutName, Spec
from datasets.sources.clip_numbers import NumberedClips

SIDE = 64
"""Pixels of the square, whose edges stop the disc."""

FARTHEST = 6.0
"""Pixels that a push of 1 moves the disc, down or to the right, until the next frame."""

RADIUS = 5.0, 9.0
"""Pixels, from the smallest to the largest disc."""

DARKEST = 0.5
"""Of 1; a disc is as bright as that at least."""

PUSHES = Covariate("push down"), Covariate("push right")

_HELD_OUT_CLIPS = 1_000
_OF_DISC = 4


class PushedDisc(Dataset):
    """A disc that a random push moves in each frame; the pushes are told beside the frames.

    A push (down, right) is uniform in [-1,1] both ways, whatever came before. It stands beside the
    frame in which it is given, moves the disc by up to 6 pixels, and shows in the next frame. So a
    model that is given the pushes can predict every frame, and one that is not can only blur: what
    lies between the two is what the covariates are worth. Nothing is read; 1,000 clips validate and
    1,000 test.
    """

    name = "pushed_disc"

    def __init__(self, context_frames: int = 4, horizon: int = 10, *, pushes: bool = True) -> None:
        """Nothing is loaded.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            pushes: whether they are told; the clips are the same either way.
        """
        covariates = PUSHES if pushes else ()
        self.spec = Spec((1, SIDE, SIDE), context_frames, horizon, covariates=covariates)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random training clips, uint8 [count,T,1,64,64], on the generator's device."""
        return shown(self._drawn(count, generator))

    def train_clips_with_covariates(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The same clips, and the pushes float32 [count,T,2]."""
        numbers = self._drawn(count, generator)
        return shown(numbers), pushes_of(numbers)

    def held_out(self, split: HeldOutName) -> Clips:
        """The 1,000 fixed clips of `split`, drawn as they are read."""
        return _PushedClips(split, _HELD_OUT_CLIPS, self._numbers, shown)

    @property
    def _numbers(self) -> int:
        """For each clip radius, brightness and the first place, and a push for each frame."""
        return _OF_DISC + 2 * self.spec.clip_frames

    def _drawn(self, count: int, generator: torch.Generator) -> Tensor:
        device = generator.device
        return torch.rand(count, self._numbers, generator=generator, device=device)


class _PushedClips(NumberedClips):
    """Fixed clips with their pushes."""

    def covariates(self, window: slice, /) -> Tensor:
        """The pushes of the clips of a slice, float32 [N,T,2]."""
        return pushes_of(self.numbers(window))


def pushes_of(numbers: Tensor) -> Tensor:
    """The pushes (down, right) float32 [N,T,2] in [-1,1] of clips that `numbers` fix [N,k]."""
    return (2 * numbers[:, _OF_DISC:] - 1).view(len(numbers), -1, 2).float()


def shown(numbers: Tensor) -> Tensor:
    """The clips uint8 [N,T,1,64,64] that `numbers` fix, uniform in [0,1) [N,k]."""
    least, most = RADIUS
    radius = least + (most - least) * numbers[:, 0, None, None]
    brightness = DARKEST + (1 - DARKEST) * numbers[:, 1, None, None]
    # float64, for the pushes that are told are rounded and the pixels are to follow from them.
    steps = FARTHEST * pushes_of(numbers).to(numbers.dtype)
    place, room = radius[:, 0] + (SIDE - 2 * radius[:, 0]) * numbers[:, 2:_OF_DISC], SIDE - radius
    pixel = torch.arange(SIDE, device=numbers.device, dtype=numbers.dtype) + 0.5
    frames = []
    for step in steps.unbind(1):
        down, right = (pixel - each[:, None] for each in place.unbind(1))
        distance = (down.square()[:, :, None] + right.square()[:, None]).sqrt()
        inside = (radius - distance + 0.5).clamp(0, 1)  # an edge of one pixel
        frames.append((255 * brightness * inside).round().byte())
        place = torch.minimum(torch.maximum(place + step, radius[:, 0]), room[:, 0])
    return torch.stack(frames, 1)[:, :, None]
