"""Held-out clips made of random numbers that are the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from datasets.contract import HeldOutName

_SEEDS: dict[HeldOutName, int] = {"validation": 1, "test": 2}


def clip_numbers(split: HeldOutName, clips: range, numbers: int) -> Tensor:
    """The first `numbers` of each of the `clips` of `split`, uniform in [0,1), float64 [N,k].

    Each clip has a stream of its own, so that a longer clip goes on as a shorter one began. Raw
    PCG64 output is the same for ever and everywhere; numpy's distributions may change.
    """
    raw = np.empty((len(clips), numbers), np.uint64)
    for row, clip in zip(raw, clips, strict=True):
        row[:] = np.random.PCG64([_SEEDS[split], clip]).random_raw(numbers)
    return torch.from_numpy((raw >> 11) * 2.0**-53)


def normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers [...] of pairs of uniform ones in [0,1) [...,2] (Box & Muller)."""
    first, second = uniform.unbind(-1)
    return (-2 * (1 - first).log()).sqrt() * (math.tau * second).cos()


class NumberedClips:
    """`count` clips of `split`, made as they are read.

    `show` makes clips [N,T,C,H,W] of their `numbers` [N,k], uniform in [0,1).
    """

    def __init__(
        self, split: HeldOutName, count: int, numbers: int, show: Callable[[Tensor], Tensor]
    ) -> None:
        self._split, self._count, self._numbers, self._show = split, count, numbers, show

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, window: slice, /) -> Tensor:
        return self._show(self.numbers(window))

    def numbers(self, window: slice) -> Tensor:
        """The numbers of a slice of the clips, float64 [N,k]."""
        return clip_numbers(self._split, range(self._count)[window], self._numbers)
