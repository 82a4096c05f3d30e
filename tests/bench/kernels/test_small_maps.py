"""Convolutions of maps smaller than their kernel, in mixed precision on a CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from bench.kernels.fit import fit

SMALL = [
    (nn.Conv3d(16, 16, 3, padding=1), (2, 4, 4)),
    (nn.Conv3d(64, 64, 3, padding=1), (2, 1, 2)),
    (nn.Conv3d(32, 32, (5, 3, 3), padding=(2, 1, 1)), (4, 8, 8)),
    (nn.Conv2d(32, 32, 3, stride=2, padding=1), (4, 1)),
    (nn.Conv2d(32, 32, 3, padding=2, dilation=2), (4, 8)),
    (nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular"), (2, 8)),
    (nn.Conv1d(32, 32, 3, stride=2, padding=1), (1,)),
]
"""The gradients of the first four and the last were wrong."""


def output_and_gradients(conv: nn.Module, x: Tensor, *, rounded: bool) -> list[Tensor]:
    conv.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
        y: Tensor = conv(x)
    y.float().square().sum().backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad.clone() for p in (x, *conv.parameters()) if p.grad is not None]
    return [y.detach(), *gradients]


@pytest.mark.parametrize(("conv", "sides"), SMALL, ids=str)
def test_gradients_of_small_maps_are_those_of_float32(
    conv: nn.Conv2d, sides: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    served, x = copy.deepcopy(conv), torch.randn(2, conv.in_channels, *sides)
    assert fit(served, "cpu", "bf16") == "direct"
    ours = output_and_gradients(served, x, rounded=True)
    exact = output_and_gradients(conv, x, rounded=False)
    assert ours[0].dtype == torch.bfloat16
    for mine, right in zip(ours, exact, strict=True):
        assert (mine.float() - right).norm() <= 0.01 * right.norm()


@pytest.mark.parametrize(("frames", "rounded"), [(3, True), (2, False)])
def test_larger_maps_and_float32_are_left_as_they_were(frames: int, rounded: bool) -> None:
    conv, x = nn.Conv3d(16, 16, 3, padding=1), torch.randn(2, 16, frames, 4, 4)
    served = copy.deepcopy(conv)
    fit(served, "cpu", "bf16")
    ours, plain = (output_and_gradients(each, x, rounded=rounded) for each in (served, conv))
    assert all(map(torch.equal, ours, plain))


def test_a_copy_of_a_served_model_uses_its_own_weights() -> None:
    model, x = nn.Sequential(nn.Conv3d(16, 16, 3, padding=1)), torch.randn(2, 16, 2, 4, 4)
    fit(model, "cpu", "bf16")
    other = copy.deepcopy(model)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = model(x)
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(other(x), before)
        assert not model(x).any()
