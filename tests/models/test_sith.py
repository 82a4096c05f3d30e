"""SITH and DeepSITH: one pass over the context, then frame by frame, against literal loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.deepsith import DeepSITH
from models.layers.log_memory import LogMemory
from models.layers.memory_stack import MemoryLayer, MemoryStack
from models.sith import SITH

MODELS: list[type[MemoryStack]] = [SITH, DeepSITH]
TINY: dict[type[MemoryStack], dict[str, Any]] = {
    SITH: {"width": 12, "blocks": 1, "kernel": 3, "nodes": 6},
    DeepSITH: {"width": 8, "nodes": 4, "tau_max": (10.0, 1000.0)},
}
PARAMETERS = {SITH: 3_576_208, DeepSITH: 3_560_720}

both = pytest.mark.parametrize("model_class", MODELS, ids=lambda model: model.name)


@pytest.fixture
def double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def tiny(model_class: type[MemoryStack], side: int = 8) -> MemoryStack:
    torch.manual_seed(0)
    return model_class((1, side, side), **TINY[model_class])


def literal_memory(memory: LogMemory, past: list[Tensor]) -> Tensor:
    """The memory [B,nodes*C,h,w] of all frames so far, by its sum over lags."""
    flash = torch.zeros(1, len(past), 1)
    flash[0, 0] = 1.0
    filters = memory(flash)[0, :, :, 0]
    held = [
        sum((filters[lag, n] * past[-1 - lag] for lag in range(len(past))), torch.zeros(()))
        for n in range(memory.nodes)
    ]
    return torch.cat(held, 1)


def literal_prediction(model: MemoryStack, context: Tensor, horizon: int) -> Tensor:
    """Every layer at every frame, each memory summed anew from all that came before."""
    pasts: list[list[Tensor]] = [[] for _ in model.layers]
    frames = list(F.pixel_unshuffle(context, model.patch).unbind(1))
    for t in range(len(frames) + horizon - 1):
        features = model.encoder(frames[t])
        for layer, past in zip(model.layers, pasts, strict=True):
            assert isinstance(layer, MemoryLayer)
            past.append(features)
            features = layer.mix(literal_memory(layer.memory, past))
        if t >= context.shape[1] - 1:
            frames.append(model.output(features))
    return F.pixel_shuffle(torch.stack(frames[-horizon:], 1), model.patch)


@both
@pytest.mark.parametrize("context_frames", [1, 5, 70])
def test_prediction_and_gradients_are_those_of_the_literal_loop(
    model_class: type[MemoryStack], context_frames: int, double_precision: None
) -> None:
    model = tiny(model_class)
    clip = torch.rand(2, context_frames + 3, 1, 8, 8)
    context, future = clip[:, :context_frames], clip[:, context_frames:]
    expected = literal_prediction(model, context, 3)
    torch.testing.assert_close(model(context, 3), expected, rtol=0, atol=1e-10)

    leaves = list(model.parameters())
    ours = torch.autograd.grad(model.training_loss(clip, context_frames, 1.0, None), leaves)
    theirs = torch.autograd.grad(F.mse_loss(expected, future), leaves)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@both
def test_a_rollout_is_what_comes_of_the_predictions_as_context(
    model_class: type[MemoryStack], double_precision: None
) -> None:
    model, frames = tiny(model_class), torch.rand(1, 4, 1, 8, 8)
    with torch.no_grad():
        expected = model(frames, 70)
        for _ in range(70):
            frames = torch.cat((frames, model(frames, 1)), 1)
    torch.testing.assert_close(frames[:, 4:], expected, rtol=0, atol=1e-10)


@both
def test_a_frame_500_frames_ago_moves_the_prediction(model_class: type[MemoryStack]) -> None:
    model, context = tiny(model_class, 16), torch.rand(1, 2000, 1, 16, 16)
    other = context.clone()
    other[:, -500] = 1 - other[:, -500]
    with torch.no_grad():
        before, after = model(context, 2), model(other, 2)
    assert bool(before.isfinite().all())
    assert (before - after).abs().max().item() > 1e-5


def kept_for_backward(model: MemoryStack, context_frames: int) -> int:
    """Bytes that autograd keeps of a training loss beside the clip, each storage counted once."""
    clip = torch.rand(1, context_frames + 2, 1, 16, 16)
    kept: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        loss = model.training_loss(clip, context_frames, 1.0, None)
    assert loss.requires_grad  # and what it keeps is alive, so that no address comes twice
    kept.pop(clip.untyped_storage().data_ptr(), None)
    return sum(kept.values())


@both
def test_memory_for_training_is_linear_in_the_context(model_class: type[MemoryStack]) -> None:
    model = tiny(model_class, 16)
    one, two, four = (kept_for_backward(model, 512 * n) for n in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one), rel=0.01)


def test_sith_keeps_nothing_of_a_longer_context() -> None:
    model = tiny(SITH, 16)
    assert kept_for_backward(model, 2000) == kept_for_backward(model, 100)


@both
def test_published_size_has_the_stated_parameters(model_class: type[MemoryStack]) -> None:
    with torch.device("meta"):
        model = model_class((1, 64, 64), **model_class.sizes["published"].options)
    count = sum(p.numel() for p in model.parameters())
    assert count == PARAMETERS[model_class]
    assert f"{count:,} parameters" in " ".join((model_class.__doc__ or "").split())


@both
def test_four_sequences_are_learnt_by_heart(
    model_class: type[MemoryStack], learns_by_heart: Callable[..., None]
) -> None:
    """The loss falls twentyfold within 300 steps."""
    options = {SITH: {"width": 24, "blocks": 1, "kernel": 3}, DeepSITH: {"width": 16}}
    torch.manual_seed(0)
    learns_by_heart(model_class((1, 32, 32), **options[model_class]))


@both
def test_frames_that_are_not_whole_patches_are_refused(model_class: type[MemoryStack]) -> None:
    with pytest.raises(ValueError, match="multiples of the patch size 4, not 10 x 64"):
        model_class((1, 10, 64))
