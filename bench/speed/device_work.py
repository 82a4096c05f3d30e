"""Counts what a step had the device do: kernels, and time in which there were none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

NOT_KERNELS = ("Memcpy", "Memset")
"""How CUPTI's names begin of what occupies the device but is no kernel."""


class Interval(Protocol):
    """From when to when, in microseconds."""

    start: float
    end: float


class Activity(Protocol):
    """An event of the profiler."""

    name: str
    device_type: DeviceType
    time_range: Interval


@dataclass(frozen=True, slots=True)
class DeviceWork:
    """What a device did in a step, on average."""

    kernels: float
    busy_seconds: float

    def idle_share(self, step_seconds: float) -> float:
        """The share of a step of `step_seconds` in which the device ran nothing."""
        return max(0.0, 1 - self.busy_seconds / step_seconds)


def device_work(events: Iterable[Activity], steps: int) -> DeviceWork:
    """The work on the device in a profile of so many `steps`."""
    ran = [
        event
        for event in events
        if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    ]
    kernels = sum(not event.name.startswith(NOT_KERNELS) for event in ran)
    busy = _covered((event.time_range.start, event.time_range.end) for event in ran)
    return DeviceWork(kernels / steps, busy / 1e6 / steps)


def _covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of the union of `intervals`: kernels of two streams may run side by side."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def profiled(step: Callable[[int], object], steps: int) -> DeviceWork:
    """The device's work in so many `steps` on CUDA, whose host is not slowed by a trace of it."""
    step(0)
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for number in range(1, steps + 1):
            step(number)
        torch.cuda.synchronize()
    return device_work(profiler.events() or [], steps)
