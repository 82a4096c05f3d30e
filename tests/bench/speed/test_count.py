from dataclasses import dataclass, field

import pytest
import torch
from torch._C._autograd import DeviceType

from bench.speed.count import Operations, device_work

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


@dataclass
class Interval:
    start: float
    end: float


@dataclass
class Event:
    name: str
    time_range: Interval
    device_type: DeviceType = field(default_factory=lambda: DeviceType.CUDA)
    is_user_annotation: bool = False


def test_kernels_are_counted_and_time_in_which_two_overlap_once() -> None:
    events = [
        Event("gemm", Interval(0, 400)),
        Event("add", Interval(300, 500)),  # on another stream
        Event("Memcpy HtoD", Interval(1000, 1100)),
        Event("inside", Interval(50, 60)),
        Event("a step", Interval(0, 5000), is_user_annotation=True),
        Event("aten::add", Interval(0, 9000), DeviceType.CPU),
    ]
    work = device_work(events, steps=2)
    assert work.kernels == 1.5
    assert work.busy_seconds == pytest.approx(600e-6 / 2)
    assert work.idle_share(600e-6) == pytest.approx(0.5)
    assert work.idle_share(100e-6) == 0.0  # steps ran faster than in the profile
