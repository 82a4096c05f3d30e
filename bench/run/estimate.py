"""How long cells will train whose budget is an amount of work, not of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F

from bench import records
from bench.train import hardware

if TYPE_CHECKING:
    from bench.run.display import Basis
    from bench.run.recorded import Recorded
    from bench.store.mlflow import RecordedCell
    from bench.suite.cell import Cell

SHARE_OF_CONVOLUTION = 0.8
"""Of the FLOP/s of a convolution, what those of a model are taken to reach (docs/budgets.md)."""
SHARE_OF_GELU = 0.5
"""Of the bytes a second of GELU on a map of 4 MiB, what the operations of a model reach."""
CALLS_OF_AN_OPERATION = 2
"""Smallest additions that take as long as what an operation of a model costs beside its work."""
QUICKLY_COUNTED = 60
"""Frames of a clip up to which a plan may count FLOPs: for a thousand that takes minutes."""
CALIBRATION_SECONDS = 0.08  # of each of the three
_CLIPS, _CHANNELS, _KERNEL, _SIDE = 8, 64, 5, 16  # about what the small sizes convolve
_WIDE_BYTES = 4 << 20


class Estimate(NamedTuple):
    """Expected seconds of training, and what they are reckoned from."""

    seconds: float
    basis: Basis


def training_seconds(cell: Cell, recorded: Recorded) -> Estimate | None:
    """How long the trained `cell` will train; None where nothing tells.

    Reckoned from the samples a second of the newest finished cell of the same model, size, shape of
    clips, precision and device, by name; without one, on a CPU, from the speed of its cores now.
    """
    if cell.budget.kind == "seconds":
        return Estimate(cell.budget.amount, "budget")
    amount, kind, batch = cell.budget.amount, cell.budget.kind, cell.recipe.batch_size
    run = recorded.newest(_alike(cell))
    if run is not None:
        per_sample = {"flops": _flops_per_sample(run), "steps": 1 / batch, "samples": 1.0}[kind]
        return Estimate(amount / per_sample / _samples_per_second(run), "earlier")
    # A GPU belongs to the cells that run on it, and a user's own training to its cell.
    if cell.device != "cpu" or not cell.is_of_the_house:
        return None
    if cell.data.spec.clip_frames > QUICKLY_COUNTED:
        return None
    try:
        flops = cell.cost.train_flops
    except (Exception, SystemExit):  # it cannot be built: its cell fails and says why
        return None
    if not flops:
        return None
    samples = {"flops": amount / flops, "steps": amount * batch, "samples": amount}[kind]
    speed, threads = speed_of_a_core(), torch.get_num_threads()
    per_sample = flops * speed.per_flop + cell.cost.train_bytes * speed.per_byte
    per_step = cell.cost.train_operations * speed.per_operation
    return Estimate(samples * (per_sample / threads + per_step / batch), "speed")


def _alike(cell: Cell) -> Callable[[RecordedCell], bool]:
    """Whether a run says how fast `cell` will train."""
    spec, device = cell.data.spec, cell.tags[records.DEVICE]
    elsewhere = cell.on + hardware.ELSEWHERE  # any of the kind tells a little
    alike = {
        "device": cell.device,
        "model": cell.model_name,
        "size": cell.size,
        "precision": cell.precision,
        "context_frames": str(spec.context_frames),
        "horizon": str(spec.horizon),
        "frame_shape": "x".join(map(str, spec.frame_shape)),
    }

    def is_alike(run: RecordedCell) -> bool:
        same = all(run.params.get(name) == value for name, value in alike.items())
        on_this = same and device in (run.tags.get(records.DEVICE), elsewhere)
        counted = cell.budget.kind != "flops" or _flops_per_sample(run) > 0
        return on_this and counted and _samples_per_second(run) > 0

    return is_alike


def _samples_per_second(run: RecordedCell) -> float:
    seconds = run.metrics.get(records.TRAIN_SECONDS, 0.0)
    return run.metrics.get("train/samples", 0.0) / seconds if seconds > 0 else 0.0


def _flops_per_sample(run: RecordedCell) -> float:
    samples = run.metrics.get("train/samples", 0.0)
    return run.metrics.get("train/flops", 0.0) / samples if samples > 0 else 0.0


class Speed(NamedTuple):
    """Seconds that work takes on one core, were it otherwise idle."""

    per_flop: float
    per_byte: float
    per_operation: float


@cache
def speed_of_a_core() -> Speed:
    """What a core takes for a model's FLOPs, bytes and calls.

    By the time that it had the CPU, so that what else the machine does now counts little. Forward
    alone, for the first backward pass of a process takes half a second.
    """
    maps = torch.ones(_CLIPS, _CHANNELS, _SIDE, _SIDE)
    filters = torch.ones(_CHANNELS, _CHANNELS, _KERNEL, _KERNEL)
    flops = 2 * maps.numel() * _CHANNELS * _KERNEL**2
    wide, small = torch.ones(_WIDE_BYTES // maps.element_size()), torch.ones(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        convolution = _seconds(lambda: F.conv2d(maps, filters, padding=_KERNEL // 2))
        gelu = _seconds(lambda: F.gelu(wide))
        addition = _seconds(lambda: small + small)
    finally:
        torch.set_num_threads(threads)
    return Speed(
        per_flop=convolution / flops / SHARE_OF_CONVOLUTION,
        per_byte=gelu / (2 * _WIDE_BYTES) / SHARE_OF_GELU,
        per_operation=CALLS_OF_AN_OPERATION * addition,
    )


def _seconds(work: Callable[[], object]) -> float:
    work()  # the first one also sets up
    turns, began = 0, time.process_time()
    while (elapsed := time.process_time() - began) < CALIBRATION_SECONDS:
        work()
        turns += 1
    return elapsed / turns
