"""Patches, and which frame each step reads: the truth, or the model's own prediction."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from models.contract import TrainingBatch
from models.layers.rollout import (
    FrameByFrame,
    choose,
    draw_forcing,
    from_patches,
    patched_shape,
    sampling_rate,
    to_patches,
)


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


def batch(clips: int, generator: torch.Generator) -> TrainingBatch:
    return TrainingBatch(torch.empty(clips, 1), 1, 0.0, generator)


def patches(clip: Tensor, t: int) -> Tensor:
    return clip[:, t].reshape(-1, 4, 1, 1)


def loss_and_read(clip: Tensor, progress: float) -> tuple[Tensor, list[Tensor]]:
    model = Recorder()
    loss = model.training_loss(TrainingBatch(clip, 3, progress, torch.Generator().manual_seed(1)))
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


def test_rate_falls_linearly_from_one_to_zero_and_stays() -> None:
    rates = sampling_rate(torch.tensor([0.0, 0.1, 0.2, 0.4, 0.7, 1.0]), 0.4)
    assert rates.tolist() == pytest.approx([1.0, 0.75, 0.5, 0.0, 0.0, 0.0])


def test_masks_are_true_at_the_rate_for_each_clip_and_step() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = draw_forcing(batch(1000, generator), 9, torch.tensor(0.3))
    drawn = torch.stack([mask for mask in masks if isinstance(mask, Tensor)])
    assert drawn.shape == (9, 1000, 1, 1, 1)
    assert drawn.float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert not torch.equal(drawn[0], drawn[1])


def test_masks_are_drawn_whatever_the_rate_so_that_steps_are_alike() -> None:
    states = []
    for rate in (0.0, 0.5, 1.0):
        generator = torch.Generator().manual_seed(0)
        masks = torch.stack(draw_forcing(batch(50, generator), 9, torch.tensor(rate)))
        assert rate == 0.5 or bool((masks == bool(rate)).all())
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_each_sequence_reads_the_frame_that_its_mask_says() -> None:
    true_frame, own = torch.rand(2, 3, 1, 4, 4)
    mask = torch.tensor([True, False, True]).view(3, 1, 1, 1)
    expected = torch.stack([true_frame[0], own[1], true_frame[2]])
    assert torch.equal(choose(mask, true_frame, own), expected)
    assert choose(True, true_frame, own) is true_frame
    assert choose(False, true_frame, own) is own


def test_a_patch_becomes_the_channels_of_one_position() -> None:
    frame = torch.arange(2 * 6 * 8).view(1, 2, 6, 8)
    patches = to_patches(frame, 2)
    assert patches.shape == (1, *patched_shape((2, 6, 8), 2)) == (1, 8, 3, 4)
    assert torch.equal(patches[0, 4:, 1, 2], frame[0, 1, 2:4, 4:6].flatten())


def test_frames_come_back_from_their_patches() -> None:
    frames = torch.rand(2, 3, 1, 8, 12)
    assert torch.equal(from_patches(to_patches(frames, 4), 4), frames)


def test_a_frame_that_patches_do_not_tile_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 4 .* not 64 x 66"):
        patched_shape((1, 64, 66), 4)
