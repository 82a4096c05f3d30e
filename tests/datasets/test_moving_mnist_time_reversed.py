"""Moving MNIST with its time turned round as a published loader does it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from datasets.moving_mnist import MovingMNIST
from datasets.moving_mnist_time_reversed import TimeReversedMovingMNIST

CONTEXT, HORIZON = 4, 3


def _published(clip: Tensor) -> Tensor:
    """What tychovdo's `_transform_time` makes of input and target: each frame before the others."""
    parts = []
    for part in (clip[:CONTEXT], clip[CONTEXT:]):
        new: list[Tensor] = []
        for frame in part:
            new = [frame, *new]
        parts += new
    return torch.stack(parts)


@pytest.mark.usefixtures("on_substitute")
def test_context_and_future_each_run_backwards() -> None:
    forwards = MovingMNIST(CONTEXT, HORIZON)
    backwards = TimeReversedMovingMNIST(CONTEXT, HORIZON)
    drawn = [it.train_clips(3, torch.Generator().manual_seed(0)) for it in (forwards, backwards)]
    tests = [it.held_out("test") for it in (forwards, backwards)]
    for there, here in (drawn, [clips[5:8] for clips in tests]):
        assert torch.equal(here, torch.stack([_published(clip) for clip in there]))
    assert len(tests[1]) == len(tests[0])
