"""Counts what a step asks of the device: operations and their bytes, kernels and idle time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NOT_KERNELS = ("Memcpy", "Memset")
"""How CUPTI's names begin of what occupies the device but is no kernel."""


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts PyTorch's operations in its block, and the bytes of their inputs and outputs.

    Operations that only look at a tensor in another way, or make an empty one, are left out. The
    bytes are what moves where no cache keeps anything from one operation to the next.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        schema = func._schema
        given = _tensors((args, kwargs))
        # Before the call, which may change what it is given.
        read = sum(map(_bytes, given))
        places = {tensor.untyped_storage()._cdata for tensor in given}
        by_name = dict(zip((known.name for known in schema.arguments), args, strict=False)) | kwargs
        changed = [
            by_name.get(known.name)
            for known in schema.arguments
            if known.alias_info is not None and known.alias_info.is_write
        ]
        result = func(*args, **kwargs)
        made = [t for t in _tensors(result) if t.untyped_storage()._cdata not in places]
        if changed or (made and "empty" not in schema.name):
            self.count += 1
            self.bytes += read + sum(map(_bytes, [*made, *_tensors(changed)]))
        return result


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    """The bytes behind the elements of `tensor`: those of one that is expanded count once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


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
