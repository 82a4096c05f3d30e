"""LMC-Memory: its parts, and what the two phases of a training step see and change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import TrainingBatch
from models.lmc_memory import LMCMemory, MotionMemory
from tests.literal import lmc_memory as literal

CONTEXT = 4


@pytest.fixture
def model() -> LMCMemory:
    torch.manual_seed(0)
    return LMCMemory(literal.FRAME, **literal.TINY)


@pytest.fixture
def clip() -> Tensor:
    return torch.rand(2, 7, *literal.FRAME, generator=torch.Generator().manual_seed(0))


def count(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


def test_published_size_is_the_authors_without_second_biases() -> None:
    with torch.device("meta"):
        model = LMCMemory((1, 64, 64), **LMCMemory.sizes["published"].options)
    second_biases = 4 * 4 * 128  # one a gate, channel and cell
    assert count(model.encoder) == 259_008
    assert count(model.decoder) == 406_337
    assert count(model.cells) == 4_722_688 - second_biases
    assert count(model.memory.context_encoder) == 13_495_680
    assert count(model.memory.matching_encoder) == 13_495_680
    assert count(model.memory.embedder) == 1_474_944
    assert model.memory.slots.numel() == 51_200
    assert count(model.memory) == 28_517_504
    assert count(model.attention) == 6_288
    assert count(model) == 33_911_825 - second_biases


@pytest.mark.parametrize("frames", [7, 12])
def test_memorising_is_the_authors_forward_and_backward(model: LMCMemory, frames: int) -> None:
    model.double()
    clip = torch.rand(2, frames, *literal.FRAME).double()
    loss = model.memorising_loss(TrainingBatch(clip, CONTEXT, 1.0))
    expected = literal.memorising_loss(literal.weights(model), clip, CONTEXT)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-10)

    names, leaves = zip(*model.named_parameters(), strict=True)
    ours = torch.autograd.grad(loss, leaves, allow_unused=True)
    theirs = torch.autograd.grad(expected, leaves, allow_unused=True)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    untouched = {n for n, gradient in zip(names, ours, strict=True) if gradient is None}
    assert untouched == {n for n in names if "matching_encoder" in n}


def snapshot(module: nn.Module, optimizer: torch.optim.Optimizer, part: str) -> list[Tensor]:
    """Copies of the parameters named `part...` and of all that `optimizer` knows about them."""
    kept = []
    for name, parameter in module.named_parameters():
        if name.startswith(part):
            kept += [parameter, *optimizer.state.get(parameter, {}).values()]
    return [tensor.detach().clone() for tensor in kept]


def same(before: list[Tensor], after: list[Tensor]) -> bool:
    return len(before) == len(after) and all(map(torch.equal, before, after))


def test_each_phase_leaves_what_the_other_trains_bit_identical(
    model: LMCMemory, clip: Tensor
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    slots, context, matching = "memory.slots", "memory.context_encoder", "memory.matching_encoder"
    changes = {
        "memorising_loss": {slots: True, context: True, matching: False, "encoder": True},
        "training_loss": {slots: False, context: False, matching: True, "encoder": True},
    }
    for phase in LMCMemory.losses * 3:
        before = {part: snapshot(model, optimizer, part) for part in changes[phase]}
        optimizer.zero_grad(set_to_none=True)
        getattr(model, phase)(TrainingBatch(clip, CONTEXT, 0.5)).backward()
        optimizer.step()
        for part, changed in changes[phase].items():
            assert same(before[part], snapshot(model, optimizer, part)) != changed, (phase, part)


def test_only_the_first_phase_sees_the_future(model: LMCMemory, clip: Tensor) -> None:
    clip.requires_grad_()
    model.memory.memorise(clip).sum().backward()
    assert clip.grad is not None
    assert bool(clip.grad[:, CONTEXT:].any())

    context, future = clip.detach().split((CONTEXT, clip.shape[1] - CONTEXT), 1)
    prediction = model(context, future.shape[1])
    expected = F.l1_loss(prediction, future) + F.mse_loss(prediction, future)
    loss = model.training_loss(TrainingBatch(clip.detach(), CONTEXT, 1.0))
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("frames", [1, 2, 8])
def test_the_first_frame_of_a_short_context_is_repeated(frames: int) -> None:
    torch.manual_seed(0)
    memory = MotionMemory(3, 8, 5)
    context = torch.rand(2, frames, 3, 16, 32)
    padded = torch.cat((context[:, :1].expand(-1, 9 - frames, -1, -1, -1), context), 1)
    torch.testing.assert_close(memory.recall(context), memory.recall(padded))


def test_every_place_recalls_slots_by_its_own_motion() -> None:
    torch.manual_seed(0)
    memory = MotionMemory(1, 8, 5)
    still = torch.zeros(1, 12, 1, 32, 64)
    moving = still.clone()
    moving[:, :, :, :16, :16] = torch.rand(12, 1, 16, 16)
    change = (memory.recall(moving) - memory.recall(still)).abs().amax((0, 1))
    assert bool(change[:4, :4].any())
    assert not bool(change[:, -4:].any())  # too far for the encoder's and the embedder's reach


def test_without_its_memory_the_cells_alone_predict_and_learn(clip: Tensor) -> None:
    torch.manual_seed(0)
    whole = LMCMemory(literal.FRAME, **literal.TINY)
    bare = LMCMemory(literal.FRAME, **literal.TINY, memory=False)
    width = literal.TINY["width"]
    of_decoder = 9 * width * width  # what the first layer no longer sees
    assert whole.memory is not None
    assert whole.attention is not None
    assert count(bare) == count(whole) - count(whole.memory) - count(whole.attention) - of_decoder
    assert bare.losses == ("training_loss",)
    bare.training_loss(TrainingBatch(clip, CONTEXT, 0.5)).backward()
    assert all(parameter.grad is not None for parameter in bare.parameters())
    assert bare(clip[:, :CONTEXT], 3).shape == clip[:, CONTEXT:].shape


def test_frames_without_whole_squares_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 16.* not 64 x 72"):
        LMCMemory((1, 64, 72))


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    model = LMCMemory((1, 32, 32), width=8, layers=1, slots=10)
    learns_by_heart(model, steps=150, learning_rate=1.5e-2)
