"""Measures one settled cell in this process: its own training step and prediction, timed."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from bench import records
from bench.console.rows import print_rows
from bench.errors import described
from bench.records import Status
from bench.run.events import Event, Finished, Note, Progress, encode
from bench.run.status import status_of
from bench.run.stop import StopRequest
from bench.run.streams import lasting, lasting_output
from bench.speed import device as device_peak
from bench.speed.device_work import profiled
from bench.speed.literal import ComparableCell, LiteralCell, has_transcription
from bench.speed.turns import Turn, Turns, ratios, spread
from bench.suite.cell import Cell
from bench.train import hardware
from bench.train.allocator import keep_freed_memory
from bench.train.held_out import shown
from bench.train.loop import Loop, LoopPhase
from bench.train.operations import Operations

PROFILED_STEPS = 10
LATENCY_SHARE = 0.25  # of the seconds that steps are timed for
TOLERANCE = {"32": 1e-4, "bf16": 1e-2}
"""By precision, how far the transcription's loss may be from ours before the first step."""
HEARTBEAT_SECONDS = 5.0

Rival = Literal["literal"]


def wall(turn: Turn) -> float:
    """Seconds of a call by the wall."""
    return turn.wall_seconds


def cpu(turn: Turn) -> float:
    """Seconds of a call that the process had the CPU, all threads together."""
    return turn.cpu_seconds


class Mismatch(Exception):
    """The two sides of a pair do not compute the same."""


class Measurement:
    """The figures of one cell, as far as they are measured, and what tells of it.

    Attributes:
        metrics: by their names in MLflow.
        tags: what is true of the process that measured them.
    """

    def __init__(
        self,
        cell: Cell,
        seconds: float,
        emit: Callable[[Event], None],
        stop_asked: Callable[[], bool],
    ) -> None:
        """What to measure.

        Args:
            cell: its model, data, recipe, device and precision count.
            seconds: about how long steps are timed, of each side of a pair.
            emit: called with each event.
            stop_asked: whether to stop.
        """
        self._cell, self._seconds = cell, seconds
        self._emit, self._stop_asked = emit, stop_asked
        self._told = time.monotonic()
        self.metrics: dict[str, float] = {}
        self.tags: dict[str, str] = {}

    def run(self, against: Rival | None) -> None:
        """Measure the cell alone, then the device, then the cell `against` its rival.

        Raises:
            Mismatch: the losses of both differ before the first step.
        """
        device = self._alone()
        self._device(device)
        if against and has_transcription(self._cell.model_class):
            self._pairs()

    def _turns(self, device: torch.device, share: float = 1.0) -> Turns:
        synchronize = partial(hardware.synchronize, device)
        return Turns(share * self._seconds, synchronize, self._pause)

    def _alone(self) -> torch.device:
        """Measure step, memory and latency; the device."""
        cell = self._cell
        self.tags[records.ALLOCATOR] = keep_freed_memory()
        loop = Loop(cell, self)
        self.tags |= {
            records.DEVICE: hardware.device_name(cell.device),
            records.THREADS: str(torch.get_num_threads()),
            records.KERNELS: loop.kernels,
        }
        self.metrics["model/parameters"] = loop.cost.parameters
        if loop.trains:
            self._steps(loop)
        self._latency(loop)
        return loop.device

    def _steps(self, loop: Loop) -> None:
        cell, metrics = self._cell, self.metrics
        # Before the warm-up, after which a step may be one replay. The first makes the state of
        # the optimiser; what both do is undone by nobody, and no figure depends on it.
        loop.step_again(0)
        with Operations() as operations:
            loop.step_again(1)
        metrics[records.OPERATIONS_PER_STEP] = operations.count
        metrics[records.BYTES_PER_STEP] = operations.bytes
        loop.warm_up()
        self.tags[records.STEP] = loop.steps_run_as
        (turns,) = self._turns(loop.device).take(loop.step_again)
        metrics["memory/peak_bytes"] = hardware.peak_memory_bytes(cell.device)
        metrics |= spread(records.STEP_SECONDS, map(wall, turns))
        metrics |= spread(records.STEP_CPU_SECONDS, map(cpu, turns))
        metrics[records.TURNS] = len(turns)
        seconds, samples = metrics[records.STEP_SECONDS], cell.recipe.batch_size
        metrics["speed/train_samples_per_second"] = samples / seconds
        metrics[records.FRAMES_PER_SECOND] = samples * cell.data.spec.clip_frames / seconds
        if loop.cost.train_flops:
            flops = samples * loop.cost.train_flops
            metrics[records.FLOPS_PER_STEP] = flops
            metrics[records.FLOPS_PER_SECOND] = flops / seconds
        if cell.device == "cuda":
            work = profiled(loop.step_again, PROFILED_STEPS)
            metrics[records.KERNELS_PER_STEP] = work.kernels
            metrics[records.IDLE_SHARE] = work.idle_share(seconds)

    def _latency(self, loop: Loop) -> None:
        stored = loop.held_out("validation", lambda _: None).stored(0)
        one = tuple(part[:1] for part in stored)
        given = shown(one, self._cell.data.spec.context_frames, loop.device)

        @torch.no_grad()
        def predict(_: int) -> Tensor:
            return loop.forward(*given)

        (turns,) = self._turns(loop.device, LATENCY_SHARE).take(predict, one_by_one=True)
        self.metrics |= spread(records.LATENCY_SECONDS, map(wall, turns))
        peak = hardware.peak_memory_bytes(self._cell.device)
        self.metrics.setdefault("memory/peak_bytes", peak)  # that of training, where there is one

    def _device(self, device: torch.device) -> None:
        """Measure what the device can do, in this process and now."""
        metrics = self.metrics
        peak = device_peak.peak_flops_per_second(device, self._cell.precision)
        metrics[records.PEAK_FLOPS_PER_SECOND] = peak
        metrics[records.PEAK_BYTES_PER_SECOND] = device_peak.peak_bytes_per_second(device)
        if records.FLOPS_PER_SECOND in metrics:
            metrics[records.SHARE_OF_PEAK] = metrics[records.FLOPS_PER_SECOND] / peak
        self._pause()

    def _pairs(self) -> None:
        """Time steps of the cell and of its transcription in turn, from equal losses on."""
        settled = self._cell.model_dump_json()
        kinds = (ComparableCell, LiteralCell)
        ours, theirs = (Loop(kind.model_validate_json(settled), self) for kind in kinds)
        for loop in (ours, theirs):
            loop.warm_up()
        self.tags[records.LITERAL_STEP] = theirs.steps_run_as
        loss, expected = (float(loop.step_again(0)) for loop in (ours, theirs))
        if not abs(loss - expected) <= TOLERANCE[self._cell.precision] * abs(expected):
            raise Mismatch(
                f"not compared: before the first step the loss is {loss:.6g}, that of the literal"
                f" transcription {expected:.6g}"
            )
        mine, others = self._turns(ours.device).take(ours.step_again, theirs.step_again)
        self.metrics |= spread(records.LITERAL_STEP_SECONDS, map(wall, others))
        self.metrics |= spread(records.LITERAL_RATIO, ratios(wall, mine, others))
        self.metrics |= spread(records.LITERAL_CPU_RATIO, ratios(cpu, mine, others))
        self.metrics[records.PAIRS] = len(mine)

    def _pause(self) -> None:
        if self._stop_asked():
            raise KeyboardInterrupt
        if time.monotonic() - self._told > HEARTBEAT_SECONDS:
            self._told = time.monotonic()
            self._emit(Progress("profile", 0.0))

    # --- called by the loop ----------------------------------------------------------------------

    def heartbeat(self, phase: LoopPhase, fraction: float) -> None:
        """Stop where that was asked for."""
        self._pause()

    def stretch_done(self) -> None:
        """Stop where that was asked for."""
        self._pause()

    def warn(self, text: str) -> None:
        """Pass `text` on to the user."""
        self._emit(Note(text))


def measured(
    cell: Cell,
    seconds: float,
    against: Rival | None,
    emit: Callable[[Event], None],
    stop_asked: Callable[[], bool] = lambda: False,
) -> Finished:
    """How measuring the cell ended, with all figures there are: what fails keeps none from that."""
    measurement = Measurement(cell, seconds, emit, stop_asked)
    status, error = Status.DONE, ""
    try:
        measurement.run(against)
    except Mismatch as raised:
        status, error = Status.FAILED, str(raised)
    except (Exception, SystemExit) as raised:
        traceback.print_exc()
        status, error = status_of(raised), described(raised)
    return Finished(status, error, "", measurement.metrics, measurement.tags)


def run_alone(cell: Cell, seconds: float, against: Rival | None, events: int | None) -> int:
    """Measure `cell` in this process; the exit code.

    With the descriptor `events` it sends JSON lines there to a parent process, and ends when that
    does; without, it prints the figures.
    """
    stop = StopRequest()
    stop.on_signals()
    with lasting_output():
        if events is None:
            finished = measured(cell, seconds, against, _print_note, stop)
            figures = finished.metrics.items()
            print_rows([{"figure": k, "value": v} for k, v in figures], ("figure", "value"))
            sys.stderr.write(f"{finished.status}: {finished.error}\n" if finished.error else "")
            return finished.status.exit_code
        os.set_inheritable(events, False)
        stop.on_end_of(sys.stdin)
        with contextlib.closing(lasting(events)) as parent:

            def emit(event: Event) -> None:
                parent.write(encode(event) + "\n")
                parent.flush()

            finished = measured(cell, seconds, against, emit, stop)
            emit(finished)
    return finished.status.exit_code


def _print_note(event: Event) -> None:
    if isinstance(event, Note):
        sys.stderr.write(f"{event.text}\n")
