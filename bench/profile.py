"""Where the time of a training step goes, by `torch.profiler`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

WAIT_STEPS = 1
WARM_UP_STEPS = 1
COSTLIEST = 10


def profile_steps(step: Callable[[int], object], numbers: Sequence[int], folder: Path) -> str:
    """The ten costliest operations of the steps `numbers`, as a table.

    A trace for TensorBoard's profiler tab (torch-tb-profiler) and for Perfetto is written to
    `folder`. The first two steps are left out of it.
    """
    cuda = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    recorded = len(numbers) - WAIT_STEPS - WARM_UP_STEPS
    with profile(
        activities=activities,
        schedule=schedule(wait=WAIT_STEPS, warmup=WARM_UP_STEPS, active=recorded, repeat=1),
        on_trace_ready=tensorboard_trace_handler(str(folder)),
        record_shapes=True,
    ) as profiler:
        for number in numbers:
            step(number)
            profiler.step()
    order = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    return str(profiler.key_averages().table(sort_by=order, row_limit=COSTLIEST))
