"""Which frame each step reads: the truth, or the model's own prediction."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from models.layers.frame_by_frame import FrameByFrame


class Recorder(FrameByFrame):
    """Predicts half of what it reads, and writes down what that was and how often it read."""

    def __init__(self) -> None:
        super().__init__((1, 2, 2), width=4, patch=2)
        torch.nn.init.eye_(self.output.weight.data[:, :, 0, 0])
        self.read: list[Tensor] = []

    def step(self, frame: Tensor, state: Any | None) -> tuple[Tensor, Any]:
        self.read.append(frame.detach())
        return frame / 2, 1 if state is None else state + 1


@pytest.fixture
def clip() -> Tensor:
    return torch.rand(64, 8, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def patches(clip: Tensor, t: int) -> Tensor:
    return clip[:, t].reshape(-1, 4, 1, 1)


def loss_and_read(clip: Tensor, progress: float) -> tuple[Tensor, list[Tensor]]:
    model = Recorder()
    loss = model.training_loss(clip, 3, progress, torch.Generator().manual_seed(1))
    return loss, model.read


def test_at_the_start_every_step_reads_the_truth(clip: Tensor) -> None:
    loss, read = loss_and_read(clip, 0.0)
    assert len(read) == 7
    assert all(torch.equal(frame, patches(clip, t)) for t, frame in enumerate(read))
    torch.testing.assert_close(loss, (clip[:, :-1] / 2 - clip[:, 1:]).square().mean())


def test_at_the_end_steps_after_the_context_read_predictions(clip: Tensor) -> None:
    loss, read = loss_and_read(clip, Recorder.sampling_ends_at)
    assert all(torch.equal(read[t], patches(clip, t)) for t in range(3))
    predicted = [clip[:, min(t, 2)] / 2 ** (1 + max(0, t - 2)) for t in range(7)]
    for t in range(3, 7):
        torch.testing.assert_close(read[t], predicted[t - 1].reshape(-1, 4, 1, 1))
    target = (torch.stack(predicted, 1) - clip[:, 1:]).square().mean()
    torch.testing.assert_close(loss, target)


def test_half_way_each_clip_reads_one_or_the_other(clip: Tensor) -> None:
    _, read = loss_and_read(clip, Recorder.sampling_ends_at / 2)
    true = (read[3] == patches(clip, 3)).all((1, 2, 3))
    own = (read[3] == patches(clip, 2) / 2).all((1, 2, 3))
    assert bool((true ^ own).all())
    assert 16 < int(true.sum()) < 48


def test_prediction_reads_the_context_and_then_itself(clip: Tensor) -> None:
    model = Recorder()
    prediction = model(clip[:, :3], 4)
    assert len(model.read) == 6
    halves = torch.stack([clip[:, 2] / 2**k for k in range(1, 5)], 1)
    torch.testing.assert_close(prediction, halves)
