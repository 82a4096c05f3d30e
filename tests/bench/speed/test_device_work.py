from dataclasses import dataclass, field

import pytest
from torch._C._autograd import DeviceType

from bench.speed.device_work import device_work


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
