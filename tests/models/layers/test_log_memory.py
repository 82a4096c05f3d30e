"""The log-compressed memory against its continuous kernel and against literal loops over time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from models.layers.log_memory import CHUNK, LogMemory, Rollout, time_constants


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


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


def test_delays_are_in_geometric_progression() -> None:
    assert time_constants(5, 1, 20) == pytest.approx([1, 2.11, 4.47, 9.46, 20], abs=0.01)
    assert time_constants(1, 3, 20) == [3]


@pytest.mark.parametrize("k", [4, 12, 50])
def test_filters_are_the_continuous_kernel(k: int) -> None:
    """Area 1, peak at tau and mean tau (k+1)/k, for delays of many frames."""
    taus = time_constants(3, 20, 60)
    filters = impulse_response(LogMemory(3, 20, 60, k), 900)
    lags = torch.arange(1.0, 901)
    for tau, row in zip(taus, filters, strict=True):
        torch.testing.assert_close(row, kernel(tau, k, lags), rtol=1e-7, atol=1e-9)
        assert row.sum().item() == pytest.approx(1, abs=1e-9)
        assert lags[row.argmax()].item() == pytest.approx(tau, abs=0.5)
        assert (row @ lags).item() == pytest.approx(tau * (k + 1) / k, rel=1e-6)


def test_filters_at_short_delays_sum_to_one_where_the_kernel_does_not() -> None:
    raw = kernel(1.0, 50, torch.arange(1.0, 50)).sum().item()
    assert raw == pytest.approx(2.82, abs=0.01)
    filters = impulse_response(LogMemory(5, 1, 20, 50), 60)
    torch.testing.assert_close(filters.sum(1), torch.ones(5))
    assert filters[0, 0].item() > 0.999


@pytest.mark.parametrize("k", [1, 4, 10])
def test_memory_is_the_literal_recursion(k: int) -> None:
    torch.manual_seed(0)
    memory = LogMemory(4, 1, 12, k)
    x = torch.randn(2 * CHUNK + 22, 3)
    expected = laplace_memory(memory, time_constants(4, 1, 12), x)
    torch.testing.assert_close(memory(x[None])[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("k", [4, 50])
def test_however_a_stream_is_cut_its_memory_is_the_same(k: int) -> None:
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


def test_gradients_are_those_of_the_sum_over_lags() -> None:
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


def test_the_state_does_not_grow_with_the_stream() -> None:
    memory = LogMemory(4, 1, 1000, 8)
    state = memory.absorb(torch.rand(2, 5, 6, 7), None)
    assert state.shape == (2, 4, 9, 6, 7)
    assert memory.absorb(torch.rand(2, 64, 6, 7), state).shape == state.shape


def test_in_single_precision_a_stream_of_thousands_of_frames_stays_exact() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3000, 2)
    for k in (4, 50):
        exact = LogMemory(6, 1, 1000, k)
        torch.testing.assert_close(
            exact.float()(x.float()).double(), LogMemory(6, 1, 1000, k)(x), rtol=0, atol=1e-5
        )
