"""Stochastic Moving MNIST: digits that leave a wall in a random direction, at a random pace."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from datasets.contract import Clips, HeldOutName
from datasets.moving_mnist import DIGITS_PER_CLIP, render
from datasets.moving_mnist_seq2seq import FASTEST, ROOM, Seq2SeqMovingMNIST, add
from datasets.sources.clip_numbers import NumberedClips

_HELD_OUT_CLIPS = 10_000
_STEPS = 2 * FASTEST + 1  # -4..4
_TURNS = _STEPS * FASTEST
"""A turn is one of 36 numbers: a step of -4..4 and, apart from it, a pace of 1..4."""


class StochasticMovingMNIST(Seq2SeqMovingMNIST):
    """Two digits of 32 pixels, each with a new random velocity whenever it meets a wall.

    Denton & Fergus, "Stochastic Video Generation with a Learned Prior", ICML 2018
    (github.com/edenton/svg). Digits, starts, steps and inks are as in `moving_mnist/seq2seq`. A
    digit that is beyond a wall is put back on it before it is shown, and goes on with a pace of
    1..4 away from it and a step of -4..4 along it. So the future does not follow from the context:
    measure the best of several samples. The authors train on 5 -> 10 frames and test on more: a
    longer horizon continues the same 10,000 validation and test clips, of digits never trained on.
    """

    name = "stochastic_moving_mnist"

    def __init__(
        self, context_frames: int = 5, horizon: int = 10, *, train_share: float = 1.0
    ) -> None:
        super().__init__(context_frames, horizon, train_share=train_share)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random training clips, uint8 [count,T,1,64,64], on the generator's device."""
        device = generator.device
        numbers = torch.rand(count, self._numbers, generator=generator, device=device)
        return self._shown(self._train_pool(device), numbers)

    def held_out(self, split: HeldOutName) -> Clips:
        """The 10,000 fixed clips of `split`, rendered as they are read."""
        show = partial(self._shown, self._held_out_digits[split])
        return NumberedClips(split, _HELD_OUT_CLIPS, self._numbers, show)

    @property
    def _numbers(self) -> int:
        """For each digit of a clip an image, a start and a step, and a turn for each frame."""
        return DIGITS_PER_CLIP * (5 + 2 * self.spec.clip_frames)

    def _shown(self, pool: Tensor, numbers: Tensor) -> Tensor:
        """Clips of images of the `pool` that `numbers` fix, uniform in [0,1) [N,k]."""
        uniform = numbers.view(len(numbers), -1, DIGITS_PER_CLIP).transpose(1, 2)
        image, start, step, turns = uniform.tensor_split([1, 3, 5], dim=-1)
        corners = stochastic_walks(
            (start * ROOM).long(),
            (step * _STEPS).long() - FASTEST,
            (turns * _TURNS).long().reshape(*turns.shape[:2], -1, 2),
        )
        return render(pool[(image[..., 0] * len(pool)).long()], corners, add)


def stochastic_walks(start: Tensor, step: Tensor, turns: Tensor) -> Tensor:
    """Top-left pixels (y, x) of digits, int64 [B,D,T,2], in 0..31.

    Args:
        start: where the first frame shows them, int64 [B,D,2] in 0..31.
        step: how far they go from frame to frame until a wall, int64 [B,D,2] in -4..4.
        turns: how they leave a wall that they meet in a frame, int64 [B,D,T,2] in 0..35.
    """
    along, pace = turns // FASTEST - FASTEST, turns % FASTEST + 1
    position, visited = start, []
    for frame in range(turns.shape[2]):
        beyond = (position < 0) | (position >= ROOM)
        away = torch.where(position < 0, pace[:, :, frame], -pace[:, :, frame])
        leaving = beyond.clone()
        leaving[..., 0] &= ~beyond[..., 1]  # in a corner the wall at the side decides
        turned = torch.where(leaving, away, along[:, :, frame])
        step = torch.where(beyond.any(-1, keepdim=True), turned, step)
        position = position.clamp(0, ROOM - 1)
        visited.append(position)
        position = position + step
    return torch.stack(visited, dim=2)
