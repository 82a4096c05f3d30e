from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.contract import Predictor, TrainingBatch


def _moving_squares() -> Tensor:
    """Four clips [4,5,1,32,32] of a square that falls by two pixels a frame."""
    clip = torch.zeros(4, 5, 1, 32, 32)
    for b in range(4):
        for t in range(5):
            clip[b, t, 0, 2 * t + b : 2 * t + b + 8, 6 * b : 6 * b + 6] = 1.0
    return clip


@pytest.fixture
def learns_by_heart() -> Callable[..., None]:
    """Fails the test unless the loss on four sequences falls twentyfold within `steps` steps."""

    def learn(model: Predictor, steps: int = 300, learning_rate: float = 1e-2) -> None:
        clip, context_frames = _moving_squares().repeat(1, 1, model.frame_shape[0], 1, 1), 2
        optimizer = torch.optim.Adam(model.parameters(), learning_rate, fused=True)
        generator = torch.Generator().manual_seed(0)
        first = lowest = float("inf")
        for _ in range(steps):
            for name in model.losses:
                loss = getattr(model, name)(TrainingBatch(clip, context_frames, 1.0, generator))
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            first = loss.item() if first == float("inf") else first
            lowest = min(lowest, loss.item())
            if lowest < first / 20:
                return
        pytest.fail(f"the loss went from {first:.4f} to {lowest:.4f} only")

    return learn
