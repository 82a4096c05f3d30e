"""Winograd's convolution against the direct one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.kernels.winograd import shared_filters, winograd

Convolve = Callable[[Tensor, Tensor, Tensor | None], Tensor]

few = st.integers(1, 3)
frames = st.integers(1, 4)
side = st.integers(1, 13) | st.integers(14, 37)  # in one block, and in several
kernel = st.sampled_from([3, 5])


def direct(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def leaves(
    batch: int,
    inputs: int,
    outputs: int,
    height: int,
    width: int,
    dtype: torch.dtype,
    kernel: int = 5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Input in [-1,1], weight and bias at their usual start."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1

    x = uniform(batch, inputs, height, width)
    weight = uniform(outputs, inputs, kernel, kernel) / (kernel**2 * inputs) ** 0.5
    x, weight, bias = (t.to(dtype).requires_grad_() for t in (x, weight, uniform(outputs)))
    return x, weight, bias


@settings(max_examples=40, deadline=None)
@given(kernel, few, few, few, side, side, st.booleans())
def test_output_and_gradients_are_the_direct_convolutions(
    kernel: int, batch: int, inputs: int, outputs: int, height: int, width: int, biased: bool
) -> None:
    x, weight, bias = leaves(batch, inputs, outputs, height, width, torch.float64, kernel)
    given_bias = bias if biased else None
    wanted = [x, weight, bias] if biased else [x, weight]
    y, expected = winograd(x, weight, given_bias), direct(x, weight, given_bias)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
    grad = torch.randn_like(y)
    ours, theirs = (torch.autograd.grad(out, wanted, grad) for out in (y, expected))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert all(g.is_contiguous() for g in ours)


@pytest.mark.parametrize(("kernel", "largest", "norm"), [(3, 1.5e-5, 2e-6), (5, 6e-5, 8e-6)])
@pytest.mark.parametrize("channels", [(96, 128), (256, 512)])
def test_float32_is_close_to_float64(
    kernel: int, largest: float, norm: float, channels: tuple[int, int]
) -> None:
    shape = (2, *channels, 18, 16)
    single = leaves(*shape, torch.float32, kernel)
    double = leaves(*shape, torch.float64, kernel)
    y, expected = winograd(*single), direct(*double)
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=largest)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)) / len(y)
    ours = torch.autograd.grad(y, single, grad)
    theirs = torch.autograd.grad(expected, double, grad.double())
    for one, other in zip((y, *ours), (expected, *theirs), strict=True):
        assert (one - other).norm() < norm * other.norm()


def test_strided_inputs_and_gradients() -> None:
    x, weight, bias = leaves(2, 3, 4, 6, 10, torch.float64)
    x, weight = x.mT[:, :, ::2].detach(), weight.transpose(2, 3).detach()
    x.requires_grad_()
    weight.requires_grad_()
    grad = torch.randn(4, 2, 6, 5).double().permute(1, 0, 3, 2)
    y, expected = winograd(x, weight, bias), direct(x, weight, bias)
    for g in (grad, torch.ones(()).double().expand_as(y)):
        ours = torch.autograd.grad(y, (x, weight, bias), g, retain_graph=True)
        theirs = torch.autograd.grad(expected, (x, weight, bias), g, retain_graph=True)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1, 3, 5]), kernel, few, few, few, frames, side, st.integers(1, 13))
def test_convolutions_over_time_are_the_direct_ones(
    taps: int,
    kernel: int,
    batch: int,
    inputs: int,
    outputs: int,
    time: int,
    height: int,
    width: int,
) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, inputs, time, height, width), (outputs, inputs, taps, kernel, kernel)
    x, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in (*shapes, (outputs,))
    )
    y = winograd(x, weight, bias)
    expected = F.conv3d(x, weight, bias, padding=(taps // 2, kernel // 2, kernel // 2))
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    grad = torch.randn_like(y)
    ours, theirs = (torch.autograd.grad(out, (x, weight, bias), grad) for out in (y, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def unroll(convolve: Convolve, x: Tensor, weight: Tensor) -> Tensor:
    """A recurrence of three steps."""
    y = convolve(x, weight, None)
    for _ in range(2):
        y = convolve(torch.cat((x[:, : x.shape[1] - y.shape[1]], y.tanh()), 1), weight, None)
    return y


def test_shared_filters_gather_the_gradients_of_all_calls() -> None:
    x, weight, _ = leaves(2, 5, 3, 6, 7, torch.float64)
    with shared_filters():
        y = unroll(winograd, x, weight)
    expected = unroll(direct, x, weight)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
    theirs = torch.autograd.grad(expected.square().sum(), (x, weight))
    loss = y.square().sum()
    torch.testing.assert_close(
        torch.autograd.grad(loss, x, retain_graph=True)[0], theirs[0], rtol=0, atol=1e-10
    )
    for _ in range(2):  # a gradient may be asked for again
        ours = torch.autograd.grad(loss, (x, weight), retain_graph=True)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_shared_filters_follow_a_weight_that_changes_or_wants_no_gradient() -> None:
    x, weight, _ = leaves(1, 4, 4, 5, 4, torch.float64)
    with shared_filters():
        with torch.no_grad():
            unroll(winograd, x, weight)
        weight.requires_grad_(False)
        frozen = unroll(winograd, x, weight)
        weight.requires_grad_(True)
        y = unroll(winograd, x, weight)
        torch.testing.assert_close(frozen, y, rtol=0, atol=1e-10)
        assert torch.autograd.grad(y.sum(), weight)[0].any()
        with torch.no_grad():
            weight.mul_(2)
        y = unroll(winograd, x, weight)
    torch.testing.assert_close(y, unroll(direct, x, weight), rtol=0, atol=1e-10)


def test_gradients_can_be_differentiated_again() -> None:
    x, weight, _ = leaves(1, 3, 3, 6, 5, torch.float64)

    def penalties(convolve: Convolve) -> tuple[Tensor, ...]:
        loss = unroll(convolve, x, weight).square().sum()
        of_x, of_weight = torch.autograd.grad(loss, (x, weight), create_graph=True)
        return torch.autograd.grad(of_x.square().sum() + of_weight.square().sum(), (x, weight))

    with shared_filters():
        ours = penalties(winograd)
    torch.testing.assert_close(ours, penalties(direct), rtol=1e-10, atol=1e-10)


def test_gradients_over_time_can_be_differentiated_again() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((2, 2, 3, 5, 6), (2, 2, 3, 3, 3))
    )

    def penalties(convolve: Convolve) -> tuple[Tensor, ...]:
        y = convolve(convolve(x, weight, None).tanh(), weight, None)
        of_x, of_weight = torch.autograd.grad(y.square().sum(), (x, weight), create_graph=True)
        return torch.autograd.grad(of_x.square().sum() + of_weight.square().sum(), (x, weight))

    with shared_filters():
        ours = penalties(winograd)
    theirs = penalties(lambda x, weight, bias: F.conv3d(x, weight, bias, padding=1))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
