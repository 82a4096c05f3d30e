"""How long cells will train whose budget is an amount of work, not of time."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch

from bench import records

if TYPE_CHECKING:
    from bench.run.display import Basis
    from bench.run.recorded import Recorded
    from bench.store.mlflow import RecordedCell
    from bench.suite.cell import Cell

SHARE_OF_CONVOLUTION = 0.8
"""Of the FLOP/s of a convolution, what a model is taken to reach: the median of fifteen predictors
at their small sizes on one core, which reach 0.4 to 1.8 (docs/budgets.md)."""
QUICKLY_COUNTED = 60
"""Frames of a clip up to which a plan may count FLOPs: for a thousand that takes minutes."""
CALIBRATION_SECONDS = 0.12
_CLIPS, _CHANNELS, _KERNEL, _SIDE = 8, 64, 5, 16  # about what the small sizes convolve


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
    run = recorded.newest(lambda run: _is_alike(run, cell))
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
    work = {"flops": amount, "steps": amount * batch * flops, "samples": amount * flops}[kind]
    return Estimate(work / usual_flops_per_second(), "speed")


def _is_alike(run: RecordedCell, cell: Cell) -> bool:
    spec = cell.data.spec
    alike = {
        "model": cell.model_name,
        "size": cell.size,
        "precision": cell.precision,
        "context_frames": spec.context_frames,
        "horizon": spec.horizon,
        "frame_shape": "x".join(map(str, spec.frame_shape)),
    }
    same = all(run.params.get(name) == str(value) for name, value in alike.items())
    on_this = run.tags.get(records.DEVICE) == cell.tags[records.DEVICE]
    counted = cell.budget.kind != "flops" or _flops_per_sample(run) > 0
    return same and on_this and counted and _samples_per_second(run) > 0


def _samples_per_second(run: RecordedCell) -> float:
    seconds = run.metrics.get(records.TRAIN_SECONDS, 0.0)
    return run.metrics.get("train/samples", 0.0) / seconds if seconds > 0 else 0.0


def _flops_per_sample(run: RecordedCell) -> float:
    samples = run.metrics.get("train/samples", 0.0)
    return run.metrics.get("train/flops", 0.0) / samples if samples > 0 else 0.0


def usual_flops_per_second() -> float:
    """FLOP/s that a model is taken to reach in training on this CPU, were it otherwise idle."""
    return SHARE_OF_CONVOLUTION * torch.get_num_threads() * convolution_flops_per_second()


@cache
def convolution_flops_per_second() -> float:
    """FLOP/s of a convolution on one core, by the time that it had the CPU.

    So that what else the machine does now counts little. Forward alone, for the first backward pass
    of a process takes half a second.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _convolved_per_second()
    finally:
        torch.set_num_threads(threads)


def _convolved_per_second() -> float:
    maps = torch.ones(_CLIPS, _CHANNELS, _SIDE, _SIDE)
    filters = torch.ones(_CHANNELS, _CHANNELS, _KERNEL, _KERNEL)
    convolve = torch.nn.functional.conv2d
    convolve(maps, filters, padding=_KERNEL // 2)  # the first one also sets up
    turns, began = 0, time.process_time()
    while (elapsed := time.process_time() - began) < CALIBRATION_SECONDS:
        convolve(maps, filters, padding=_KERNEL // 2)
        turns += 1
    return 2 * maps.numel() * _CHANNELS * _KERNEL**2 * turns / elapsed
