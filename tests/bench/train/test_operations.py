import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.train.operations import Operations

FLOAT_BYTES = 4


def test_an_operation_reads_its_inputs_and_writes_its_output() -> None:
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    with Operations() as seen:
        _ = a @ b
    assert seen.count == 1
    assert seen.bytes == FLOAT_BYTES * (15 + 35 + 21)


def test_another_look_at_a_tensor_is_free_and_an_expanded_one_is_read_once() -> None:
    a, b = torch.ones(3, 5), torch.ones(1)
    with Operations() as seen:
        _ = a.t().reshape(5, 3)[:2].unsqueeze(0).expand(6, 2, 3)
        _ = torch.empty(1000)
    assert (seen.count, seen.bytes) == (0, 0)
    with Operations() as seen:
        _ = b.expand(3, 5) + a
    assert seen.bytes == FLOAT_BYTES * (1 + 15 + 15)


def test_what_is_changed_in_place_is_read_and_written() -> None:
    a = torch.ones(8)
    with Operations() as seen:
        a.add_(1.0)
    assert (seen.count, seen.bytes) == (1, FLOAT_BYTES * 16)
    with Operations() as seen:
        torch._foreach_add_([a, torch.ones(4)], 1.0)
    assert (seen.count, seen.bytes) == (2, FLOAT_BYTES * (4 + 2 * (8 + 4)))  # and the ones


def test_the_backward_pass_and_the_update_count() -> None:
    weight = torch.ones(64, requires_grad=True)
    optimizer = torch.optim.Adam([weight], fused=True)

    def operations(*, backward: bool, update: bool) -> int:
        with Operations() as seen:
            loss = (weight * weight).sum()
            if backward:
                loss.backward()  # type: ignore[no-untyped-call]
            if update:
                optimizer.step()
        return seen.count

    forward = operations(backward=False, update=False)
    both = operations(backward=True, update=False)
    assert 0 < forward < both < operations(backward=True, update=True)


def test_flops_are_those_of_pytorchs_own_counter() -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    convolution, linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def step() -> None:
        x = convolution(torch.randn(2, 3, 6, 6)).flatten(2).transpose(1, 2)
        y, _ = attention(x, x, x, need_weights=False)
        (linear(y) @ linear(y).transpose(1, 2)).sum().backward()

    with FlopCounterMode(display=False) as theirs:
        step()
    with Operations() as ours:
        step()
    assert ours.flops == theirs.get_total_flops() > 0


def test_samples_of_shapes_alone_have_the_shape_of_real_ones() -> None:
    frames, grid = torch.rand(2, 3, 5, 7), torch.rand(2, 4, 6, 2)
    sampled = F.grid_sample(frames, grid, align_corners=True)
    frames, grid = frames.to("meta"), grid.to("meta")
    with Operations() as seen:
        shape = F.grid_sample(frames, grid, align_corners=True)
    assert (shape.shape, shape.dtype, shape.is_meta) == (sampled.shape, sampled.dtype, True)
    assert seen.count == 1


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 4, 8])
def test_each_gradient_of_a_convolution_costs_as_much_as_it(
    kind: type[nn.Conv2d] | type[nn.ConvTranspose2d], groups: int
) -> None:
    convolution = kind(8, 16, 3, stride=2, groups=groups, device="meta")
    x = torch.rand(2, 8, 9, 9, device="meta", requires_grad=True)
    with Operations() as forward:
        y = convolution(x)
    with Operations() as backward:
        y.sum().backward()
    pixels = math.prod((x if kind is nn.ConvTranspose2d else y).shape[2:])
    assert forward.flops == 2 * 2 * pixels * 9 * 8 * 16 / groups
    assert backward.flops == 2 * forward.flops
    with Operations() as of_weights:
        convolution(x.detach()).sum().backward()
    assert of_weights.flops == 2 * forward.flops  # with the convolution itself
