"""SITH and DeepSITH against literal loops over time; the memory also against its kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.contract import TrainingBatch
from models.sith import (
    CHUNK,
    SITH,
    DeepSITH,
    LogMemory,
    MemoryLayer,
    MemoryStack,
    Rollout,
    time_constants,
)

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
    ours = torch.autograd.grad(
        model.training_loss(TrainingBatch(clip, context_frames, 1.0)), leaves
    )
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
        loss = model.training_loss(TrainingBatch(clip, context_frames, 1.0))
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
    with pytest.raises(ValueError, match=r"multiples of 4 .* not 10 x 64"):
        model_class((1, 10, 64))


def impulse_response(memory: LogMemory, steps: int) -> Tensor:
    """The filters [nodes,steps] at lags 1, 2, ...: what a single flash leaves in the memory."""
    flash = torch.zeros(1, steps, 1)
    flash[0, 0] = 1.0
    return memory(flash)[0, :, :, 0].T


def kernel(tau: float, k: int, lags: Tensor) -> Tensor:
    """The continuous kernel (1/tau) (k^(k+1) / k!) (t/tau)^k e^(-k t/tau)."""
    log = (k + 1) * math.log(k) - math.lgamma(k + 1) + k * (lags / tau).log() - k * lags / tau
    return log.exp() / tau


def laplace_memory(memory: LogMemory, taus: list[float], x: Tensor) -> Tensor:
    """SITH by its definition, one frame and one derivative after the other, [T,nodes,F].

    F_t(s) = e^-s (F_{t-1}(s) + x_t), its derivatives by Leibniz's rule, and the Post inverse
    (-1)^k / k! s^(k+1) d^k F / ds^k, scaled by what a flash leaves in all.
    """
    k, rows = memory.k, []
    for tau in taus:
        s = k / tau
        derivatives = [torch.zeros_like(x[0]) for _ in range(k + 1)]
        for frame in x:
            inner = [derivatives[0] + frame, *derivatives[1:]]
            derivatives = [
                sum(
                    (
                        math.comb(j, i) * (-1) ** (j - i) * math.exp(-s) * inner[i]
                        for i in range(j + 1)
                    ),
                    torch.zeros_like(frame),
                )
                for j in range(k + 1)
            ]
            rows.append((-1) ** k / math.factorial(k) * s ** (k + 1) * derivatives[k])
        total = kernel(tau, k, torch.arange(1.0, 1 + 80 * tau)).sum()
        rows[-len(x) :] = [row / total for row in rows[-len(x) :]]
    return torch.stack(rows).view(len(taus), *x.shape).transpose(0, 1)


def test_delays_are_in_geometric_progression(double_precision: None) -> None:
    assert time_constants(5, 1, 20) == pytest.approx([1, 2.11, 4.47, 9.46, 20], abs=0.01)
    assert time_constants(1, 3, 20) == [3]


@pytest.mark.parametrize("k", [4, 12, 50])
def test_filters_are_the_continuous_kernel(k: int, double_precision: None) -> None:
    """Area 1, peak at tau and mean tau (k+1)/k, for delays of many frames."""
    taus = time_constants(3, 20, 60)
    filters = impulse_response(LogMemory(3, 20, 60, k), 900)
    lags = torch.arange(1.0, 901)
    for tau, row in zip(taus, filters, strict=True):
        torch.testing.assert_close(row, kernel(tau, k, lags), rtol=1e-7, atol=1e-9)
        assert row.sum().item() == pytest.approx(1, abs=1e-9)
        assert lags[row.argmax()].item() == pytest.approx(tau, abs=0.5)
        assert (row @ lags).item() == pytest.approx(tau * (k + 1) / k, rel=1e-6)


def test_filters_at_short_delays_sum_to_one_where_the_kernel_does_not(
    double_precision: None,
) -> None:
    raw = kernel(1.0, 50, torch.arange(1.0, 50)).sum().item()
    assert raw == pytest.approx(2.82, abs=0.01)
    filters = impulse_response(LogMemory(5, 1, 20, 50), 60)
    torch.testing.assert_close(filters.sum(1), torch.ones(5))
    assert filters[0, 0].item() > 0.999


@pytest.mark.parametrize("k", [1, 4, 10])
def test_memory_is_the_literal_recursion(k: int, double_precision: None) -> None:
    torch.manual_seed(0)
    memory = LogMemory(4, 1, 12, k)
    x = torch.randn(2 * CHUNK + 22, 3)
    expected = laplace_memory(memory, time_constants(4, 1, 12), x)
    torch.testing.assert_close(memory(x[None])[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("k", [4, 50])
def test_however_a_stream_is_cut_its_memory_is_the_same(k: int, double_precision: None) -> None:
    """Chunks of any length, and frames one by one, against a sum over all lags."""
    torch.manual_seed(0)
    memory = LogMemory(3, 1, 300, k)
    frames = 250
    x = torch.randn(2, frames, 2, 3)
    filters = impulse_response(memory, frames)
    expected = torch.stack(
        [
            torch.einsum("nt,btcw->bncw", filters[:, : t + 1].flip(1), x[:, : t + 1])
            for t in range(frames)
        ],
        1,
    )
    torch.testing.assert_close(memory(x), expected, rtol=0, atol=1e-10)

    state, read = None, []
    for chunk in x.split([3, 64, 1, 30, 2, 10, 40, 64, 36], 1):
        read.append(memory.read(chunk, state))
        state = memory.absorb(chunk, state)
    torch.testing.assert_close(torch.cat(read, 1), expected, rtol=0, atol=1e-10)

    known = 100
    state = None
    for chunk in x[:, :known].split(CHUNK, 1):
        state = memory.absorb(chunk, state)
    assert state is not None
    rollout = Rollout(memory, state, frames - known)
    read = [rollout.now(), *(rollout.push(x[:, t]) for t in range(known, frames))]
    torch.testing.assert_close(torch.stack(read, 1), expected[:, known - 1 :], rtol=0, atol=1e-10)


def test_gradients_are_those_of_the_sum_over_lags(double_precision: None) -> None:
    torch.manual_seed(0)
    memory = LogMemory(3, 1, 40, 6)
    x = torch.randn(1, 80, 2, requires_grad=True)
    weights = torch.randn(1, 80, 3, 2)
    (ours,) = torch.autograd.grad((memory(x) * weights).sum(), x)
    filters = impulse_response(memory, 80)
    for t in range(80):
        later = filters[:, : 80 - t]
        expected = torch.einsum("nl,bln...->b...", later, weights[:, t:])
        torch.testing.assert_close(ours[:, t], expected, rtol=0, atol=1e-10)


def test_the_state_does_not_grow_with_the_stream(double_precision: None) -> None:
    memory = LogMemory(4, 1, 1000, 8)
    state = memory.absorb(torch.rand(2, 5, 6, 7), None)
    assert state.shape == (2, 4, 9, 6, 7)
    assert memory.absorb(torch.rand(2, 64, 6, 7), state).shape == state.shape


def test_in_single_precision_a_stream_of_thousands_of_frames_stays_exact(
    double_precision: None,
) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3000, 2)
    for k in (4, 50):
        exact = LogMemory(6, 1, 1000, k)
        torch.testing.assert_close(
            exact.float()(x.float()).double(), LogMemory(6, 1, 1000, k)(x), rtol=0, atol=1e-5
        )
