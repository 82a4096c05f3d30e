"""Profiles training steps with `torch.profiler`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

WAIT_STEPS = 1
WARM_UP_STEPS = 1
COSTLIEST = 10
TABLE = "costliest_operations.txt"


def profile_steps(step: Callable[[int], object], numbers: Sequence[int], folder: Path) -> list[str]:
    """The ten costliest operations of the steps `numbers`, one line each, the costliest first.

    `folder` gets a trace for TensorBoard's profiler tab (torch-tb-profiler) and for Perfetto, and
    the full table of operations. The first two steps are left out.
    """
    cuda = torch.cuda.is_available()
    recorded = len(numbers) - WAIT_STEPS - WARM_UP_STEPS
    with profile(
        activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])],
        schedule=schedule(wait=WAIT_STEPS, warmup=WARM_UP_STEPS, active=recorded, repeat=1),
        on_trace_ready=tensorboard_trace_handler(str(folder)),
        record_shapes=True,
    ) as profiler:
        for number in numbers:
            step(number)
            profiler.step()
    averages = profiler.key_averages()
    time = "self_device_time_total" if cuda else "self_cpu_time_total"
    (folder / TABLE).write_text(averages.table(sort_by=time, row_limit=100), encoding="utf-8")
    return [
        f"{share:.1%} {name}, {calls / recorded:g} calls a step"
        for share, name, calls in _costliest(averages, time)
    ]


def _costliest(averages: Sequence[FunctionEventAvg], time: str) -> list[tuple[float, str, int]]:
    """Share of the time, name and calls of the costliest operations.

    The device's time is kept twice: with the operation that launched a kernel and with the kernel.
    Only the first counts; annotations such as `ProfilerStep` span operations.
    """
    operations = [
        (float(getattr(row, time)), str(row.key), int(row.count))
        for row in averages
        if row.device_type == DeviceType.CPU and not row.is_user_annotation
    ]
    total = sum(spent for spent, _, _ in operations) or 1.0
    ranked = sorted(operations, reverse=True)[:COSTLIEST]
    return [(spent / total, name, calls) for spent, name, calls in ranked]
