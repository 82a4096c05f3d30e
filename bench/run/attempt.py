"""One cell from start to end: train, test, record, with checkpoints on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from safetensors.torch import load_file

from bench import records
from bench.records import Point
from bench.run import artifacts
from bench.run.checkpoint import Checkpoint
from bench.run.events import Event, Note, Phase, Progress
from bench.run.profile import profile_steps
from bench.score.measure import measure
from bench.score.result import Result
from bench.store.mlflow import RunLog
from bench.suite.cell import Cell
from bench.train import hardware
from bench.train.loop import Loop
from bench.train.step import seed_of

SAVING_SHARE = 0.01  # of the run time, for checkpoints and sending points
LONGEST_SECONDS_AT_STAKE = 120.0  # between two checkpoints at most
PROFILED_STEPS = 10


class Interrupted(Exception):
    """The cell was asked to stop; its state is kept."""


class Attempt:
    """A running cell: follows the training loop and records its results."""

    def __init__(
        self,
        cell: Cell,
        log: RunLog,
        checkpoint: Checkpoint,
        emit: Callable[[Event], None],
        stop_asked: Callable[[], bool],
    ) -> None:
        """Build the model on the cell's device.

        Args:
            cell: what to run.
            log: its MLflow run.
            checkpoint: where its state is kept; the caller holds its lock.
            emit: called with each event.
            stop_asked: whether the cell should stop at the next opportunity.
        """
        self.cell, self.log, self.checkpoint = cell, log, checkpoint
        self._emit, self._stop_asked = emit, stop_asked
        self._saved_at, self._save_seconds = time.monotonic(), 0.0
        self._earlier_seconds = 0.0
        emit(Progress("setup", 0.0))
        self.loop = Loop(cell, self)
        log.tag({records.KERNELS: self.loop.kernels})

    def run(self) -> dict[str, float]:
        """Train, test and record the cell; its final metrics.

        Raises:
            Diverged: the loss is no longer a number.
            Interrupted: a stop was asked for.
        """
        state = self.checkpoint.load(self.loop.device)
        if state is not None:
            self._earlier_seconds = state.pop("earlier_seconds")
            clock = state["clock"]
            self._emit(Note(f"going on from step {clock['steps']:.0f}, {clock['seconds']:.0f} s"))
        try:
            self.loop.run(state)
        finally:
            self._send_points()  # also those of a cell that fails
        if self.loop.trains:
            self._save()
        peak_bytes = hardware.peak_memory_bytes(self.cell.device)
        result = self._test()
        final = self._tested(result) | self._spent(peak_bytes)
        self._record(result, final)
        return final

    def rescore(self, weights: Path) -> dict[str, float]:
        """Test the weights of an earlier run again; all final metrics, its costs included.

        Raises:
            Interrupted: a stop was asked for.
        """
        self.loop.weights = load_file(weights, device=str(self.loop.device))
        result = self._test()
        final = self._tested(result)
        self._record(result, final)
        return self.log.metrics() | final

    def _test(self) -> Result:
        self._progress("test", 0.0)
        with self.loop.timed("test"):
            held_out = self.loop.held_out("test", partial(self.heartbeat, "test"))
            showcase_clips = self.cell.evaluation.showcase_clips
            torch.manual_seed(seed_of(self.cell.seed, "test"))
            return measure(self.loop.task, self.loop.forward, held_out, showcase_clips)

    def _record(self, result: Result, final: dict[str, float]) -> None:
        """Record the result in MLflow."""
        self._progress("record", 1.0)
        folder = self.checkpoint.folder / "artifacts"
        classes = self.cell.data.spec.classes
        artifacts.write(result, self.loop.weights, classes, folder)
        self.log.attach(folder)
        for name, reason in result.not_measured.items():
            self._emit(Note(f"{name} not measured: {reason}"))
            self.log.tag({records.NOT_MEASURED + name: reason})
        size = (folder / records.CHECKPOINT).stat().st_size
        self.log.tag({records.WEIGHTS_BYTES: str(size)})
        steps = self.loop.clock.steps
        points = result.points() + [(key, value, steps) for key, value in final.items()]
        self.log.points([Point.now(*point) for point in points])

    def _tested(self, result: Result) -> dict[str, float]:
        """The figures of the test and what it took."""
        return {
            **artifacts.quality(result),
            "time/test_seconds": self.loop.seconds["test"],
            "speed/predict_frames_per_second": result.frames_per_second,
        }

    def _spent(self, peak_bytes: int) -> dict[str, float]:
        seconds = self.loop.seconds
        return {
            **artifacts.spent(self.loop.clock, self.loop.cost),
            **self.loop.curves.validation(),
            "time/setup_seconds": seconds["setup"],
            "time/validation_seconds": seconds["validation"],
            "time/wall_seconds": self._wall_seconds,
            "memory/peak_bytes": peak_bytes,
        }

    def profile(self, folder: Path) -> list[str]:
        """The ten costliest operations of a training step as lines; `folder` gets the trace."""
        self._progress("profile", 1.0)
        first = self.loop.clock.steps
        return profile_steps(self.loop.step_again, range(first, first + PROFILED_STEPS), folder)

    # --- called by the loop ----------------------------------------------------------------------

    def heartbeat(self, phase: Literal["train", "validate", "test"], fraction: float) -> None:
        """Report progress; raise `Interrupted` where a stop was asked for."""
        self._progress(phase, fraction)
        if self._stop_asked():
            raise Interrupted

    def stretch_done(self) -> None:
        """Report progress, save the state where that is due, and stop where asked."""
        self._progress("train", self.loop.clock.progress)
        stop = self._stop_asked()
        if stop or self._save_is_due:
            self._save()
        if stop:
            raise Interrupted

    def warn(self, text: str) -> None:
        """Pass `text` on to the user."""
        self._emit(Note(text))

    # --- state, points, progress -----------------------------------------------------------------

    @property
    def _save_is_due(self) -> bool:
        waited = time.monotonic() - self._saved_at
        return waited > min(self._save_seconds / SAVING_SHARE, LONGEST_SECONDS_AT_STAKE)

    def _save(self) -> None:
        """Save the state, then send the points; a kill in between sends them again."""
        began = time.monotonic()
        state: dict[str, Any] = self.loop.state()
        self.checkpoint.save(state | {"earlier_seconds": self._wall_seconds})
        self._send_points()
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - began

    def _send_points(self) -> None:
        self.log.points(self.loop.curves.take_pending())

    @property
    def _wall_seconds(self) -> float:
        return self._earlier_seconds + _process_seconds()

    def _progress(self, phase: Phase, fraction: float) -> None:
        clock, curves = self.loop.clock, self.loop.curves
        frames, seconds = clock.samples * self.cell.data.spec.clip_frames, clock.seconds
        self._emit(
            Progress(
                phase,
                fraction,
                spent=str(clock),
                loss=_finite(curves.last_loss),
                task=self.cell.task,
                validation=_finite(curves.last_validation),
                best_validation=_finite(curves.best_validation),
                waiting_share=clock.waiting_seconds / seconds if frames else None,
                frames_per_second=frames / seconds if frames else None,
                memory_bytes=hardware.peak_memory_bytes(self.cell.device),
            )
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _process_seconds() -> float:
    """Wall time since this process was started, its imports included."""
    return time.time() - psutil.Process().create_time()
