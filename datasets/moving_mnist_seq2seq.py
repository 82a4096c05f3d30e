"""Moving MNIST as the autoencoder guide makes it: larger digits, whole-pixel steps, added inks."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datasets.contract import Clips, HeldOutName
from datasets.moving_mnist import (
    CANVAS,
    DIGITS_PER_CLIP,
    MovingMNIST,
    RenderedClips,
    held_out_draws,
    render,
)
from datasets.sources import digits

DIGIT = 32
ROOM = CANVAS - DIGIT
"""A digit's top-left pixel is in 0..31: its box never reaches the last row and column."""

FASTEST = 4
"""Pixels a digit moves between frames at most, down or up, right or left; it may stand still."""


class Seq2SeqMovingMNIST(MovingMNIST):
    """Two digits of 32 pixels that step by whole pixels, drawn afresh or fixed.

    Denton & Fergus, "Stochastic Video Generation with a Learned Prior", ICML 2018, whose generator
    (deterministic) the guide github.com/holmdk/Video-Prediction-using-PyTorch uses. Digits are
    resized by Pillow's bilinear filter, starts are uniform in 0..31 and recorded as the first
    frame, steps uniform in -4..4 both ways. A digit that is beyond an edge is put back on it before
    it is shown, and turns round. Where digits overlap their inks are added, up to 255. The guide
    tests on nothing; our validation and test have 10,000 fixed clips of digits never trained on.
    """

    name = "moving_mnist/seq2seq"
    epoch_clips = None

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random training clips, uint8 [count,T,1,64,64], on the generator's device."""
        device, shape = generator.device, (count, DIGITS_PER_CLIP)
        images = self._train_images(shape, generator)
        start = torch.randint(ROOM, (*shape, 2), generator=generator, device=device)
        step = torch.randint(-FASTEST, FASTEST + 1, (*shape, 2), generator=generator, device=device)
        return render(images, walks(start, step, self.spec.clip_frames), add)

    def held_out(self, split: HeldOutName) -> Clips:
        """The 10,000 fixed clips of `split`, rendered as they are read."""
        uniform = held_out_draws(split, 5)
        start = (uniform[..., 1:3] * ROOM).long()
        step = (uniform[..., 3:5] * (2 * FASTEST + 1)).long() - FASTEST

        def show(images: Tensor, window: slice) -> Tensor:
            return render(images, walks(start[window], step[window], self.spec.clip_frames), add)

        return RenderedClips(self._held_out_digits[split], uniform[..., 0], show)

    def _load(self) -> digits.Pools:
        """The digits of MNIST at 32 pixels."""
        pools = digits.load()
        train, validation, test = map(_resized, (pools.train, pools.validation, pools.test))
        return digits.Pools(train, validation, test, pools.notice)


def walks(start: Tensor, step: Tensor, frames: int) -> Tensor:
    """Top-left pixels (y, x) of digits, int64 [B,D,frames,2], in 0..31.

    Args:
        start: where the first frame shows them, int64 [B,D,2] in 0..31.
        step: how far they go from frame to frame until an edge, int64 [B,D,2] in -4..4.
        frames: how many to record.
    """
    position, visited = start, []
    for _ in range(frames):
        step = torch.where((position < 0) | (position >= ROOM), -step, step)
        position = position.clamp(0, ROOM - 1)
        visited.append(position)
        position = position + step
    return torch.stack(visited, dim=2)


def add(below: Tensor, above: Tensor) -> Tensor:
    """The sum of two inks in uint8, 255 where it is more."""
    return below + torch.minimum(above, 255 - below)


def _resized(images: digits.Images) -> digits.Images:
    """`images` [N,28,28] at 32 pixels [N,32,32].

    Pillow resizes an image by its columns, then by its rows; so is the stack of all, for speed.
    """
    for _ in range(2):
        count, rows, columns = images.shape
        stack = Image.fromarray(images.reshape(count * rows, columns))
        wider = stack.resize((DIGIT, count * rows), Image.Resampling.BILINEAR)
        images = np.asarray(wider).reshape(count, rows, DIGIT).transpose(0, 2, 1)
    return np.ascontiguousarray(images)
