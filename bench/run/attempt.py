"""One cell from start to end: train and test, with checkpoints on the way."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from safetensors.torch import load_file

from bench import records
from bench.errors import described
from bench.records import Point
from bench.run import artifacts
from bench.run.checkpoint import Checkpoint
from bench.run.elsewhere import tested_elsewhere
from bench.run.events import Event, Note, Phase, Progress
from bench.run.profile import profile_steps
from bench.run.record import Record
from bench.score.measure import measure
from bench.score.metrics import RECORDED
from bench.score.result import Result
from bench.score.samples import Draws
from bench.suite import data
from bench.suite.cell import Cell
from bench.train import hardware
from bench.train.loop import Loop, LoopPhase, going_on
from bench.train.team import Team

SAVING_SHARE = 0.01  # of the run time, for checkpoints and sending points
LONGEST_SECONDS_AT_STAKE = 120.0  # between two checkpoints at most
PROFILED_STEPS = 10


class Interrupted(Exception):
    """The cell was asked to stop; its state is kept."""


class Attempt:
    """A running cell: follows the training loop and gathers what there is to record of it."""

    def __init__(
        self,
        cell: Cell,
        record: Record,
        checkpoint: Checkpoint,
        emit: Callable[[Event], None],
        stop_asked: Callable[[], bool],
        send: Callable[[Sequence[Point]], None],
        team: Team,
    ) -> None:
        """Build the model on the cell's device.

        Args:
            cell: what to run.
            record: gets points, tags and figures.
            checkpoint: where its state is kept; the caller holds its lock.
            emit: called with each event.
            stop_asked: whether the cell should stop at the next opportunity.
            send: sends points to the cell's MLflow run, where they can be followed; may fail.
            team: the processes that run the cell; this is rank 0.
        """
        self.cell, self.record, self.checkpoint = cell, record, checkpoint
        self._emit, self._stop_asked, self._send = emit, stop_asked, send
        self._saved_at, self._save_seconds = time.monotonic(), 0.0
        self._earlier_seconds = 0.0
        self._sent = self._saved = 0  # points
        self._troubles: set[str] = set()
        emit(Progress("setup", 0.0))
        self.loop = Loop(cell, self, team)
        record.tags[records.KERNELS] = self.loop.kernels
        if self.loop.padded_from:
            record.tags[records.PADDED] = self.loop.padded_from

    def run(self, state: dict[str, Any] | None, same_run: bool) -> dict[str, float]:
        """Train and test the cell; its final metrics.

        Args:
            state: what to go on from.
            same_run: whether the points that were sent when it was saved are in the MLflow run.

        Raises:
            Diverged: the loss is no longer a number.
            Interrupted: a stop was asked for.
            Unrestorable: the `state` does not fit.
        """
        if state is not None:
            with going_on():
                self._go_on_from(state, same_run)
        try:
            self.loop.run(state)
            if self.loop.trains:
                self.record.tags[records.STEP] = self.loop.steps_run_as
                self._save()
            peak_bytes = self.loop.peak_memory_bytes
            result = self._test() if self.cell.trial is None else None
            elsewhere = self._test_elsewhere()
        except Interrupted:  # what is not in the state comes again when the cell goes on
            self.record.points = self.loop.curves.points[: self._saved]
            raise
        except BaseException:
            self.record.points = self.loop.curves.points
            raise
        self.record.points = list(self.loop.curves.points)
        final = self._spent(peak_bytes)
        if result is not None:
            final |= self._tested(result) | elsewhere
        self._record(result, final)
        return final

    def _go_on_from(self, state: dict[str, Any], same_run: bool) -> None:
        clock = state["clock"]
        self._emit(Note(f"going on from step {clock['steps']:.0f}, {clock['seconds']:.0f} s"))
        self._earlier_seconds = state["earlier_seconds"]
        self._saved = len(state["curves"]["points"])
        self._sent = state["sent"] if same_run else 0

    def rescore(self, weights: Path) -> dict[str, float]:
        """Test the weights of an earlier run again; its final metrics.

        Raises:
            Interrupted: a stop was asked for.
        """
        self.loop.weights = load_file(weights, device=str(self.loop.device))
        result, elsewhere = self._test(), self._test_elsewhere()
        final = self._tested(result) | elsewhere
        self._record(result, final)
        return final

    def _test(self) -> Result:
        self._progress("test", 0.0)
        with self.loop.timed("test"):
            return tested(self.loop, self.cell, partial(self.heartbeat, "test"))

    def _test_elsewhere(self) -> dict[str, float]:
        """The figures on further data sets, whose tables by frame become artifacts."""
        if self.cell.trial is not None or not self.cell.elsewhere:
            return {}
        with self.loop.timed("test"):
            found = tested_elsewhere(self.loop, self.cell, partial(self.heartbeat, "test"))
        figures: dict[str, float] = {}
        for place, result in enumerate(found.values()):
            folder = self.checkpoint.artifacts / "elsewhere" / str(place)
            folder.mkdir(parents=True, exist_ok=True)
            result.write(folder)
            figures |= {
                records.elsewhere(place, name): value for name, value in result.means().items()
            }
        return figures

    def _record(self, result: Result | None, final: dict[str, float]) -> None:
        """Add the result, where there was a test, and the `final` figures to the record."""
        self._progress("record", 1.0)
        if result is not None:
            self._keep(result)
        steps = self.loop.clock.steps
        tested = [] if result is None else result.points()
        points = tested + [(key, value, steps) for key, value in final.items()]
        there = {(point.key, point.step) for point in self.record.points}  # the ends of curves
        self.record.points += [Point.now(k, v, n) for k, v, n in points if (k, n) not in there]

    def _keep(self, result: Result) -> None:
        """Add what the result says to the record; its files and the weights become artifacts."""
        folder, tags = self.checkpoint.artifacts, self.record.tags
        classes = self.cell.data.spec.classes
        artifacts.write(result, self.loop.weights, classes, folder)
        for name, reason in result.not_measured.items():
            if RECORDED[self.cell.task][name].shown == "table":
                self._emit(Note(f"{name} not measured: {reason}"))
            tags[records.NOT_MEASURED + name] = reason
        tags[records.WEIGHTS_BYTES] = str((folder / records.CHECKPOINT).stat().st_size)

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
        """The ten costliest operations of a training step as lines; `folder` gets the trace.

        The steps are eager ones: the kernels of a CUDA graph belong to no operation.
        """
        self._progress("profile", 1.0)
        first = self.loop.clock.steps
        return profile_steps(self.loop.step_again, range(first, first + PROFILED_STEPS), folder)

    # --- called by the loop ----------------------------------------------------------------------

    def heartbeat(self, phase: LoopPhase, fraction: float) -> None:
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
        """Save the state, then send the points; a kill in between sends them again.

        Only points that are in a saved state are sent: those after it come again when the cell goes
        on from it. What fails is tried again the next time.
        """
        began = time.monotonic()
        state = self.loop.state() | {"earlier_seconds": self._wall_seconds, "sent": self._sent}
        with self._surviving("its state cannot be saved, it trains on", OSError, RuntimeError):
            self.checkpoint.save(state)
            self._saved = len(self.loop.curves.points)
        points = self.loop.curves.points[self._sent : self._saved]
        # Whatever a store raises: the points are in the state.
        with self._surviving("its points cannot be sent yet, they are kept", Exception):
            self._send(points)
            self._sent += len(points)
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - began

    @contextlib.contextmanager
    def _surviving(self, what: str, *kinds: type[Exception]) -> Iterator[None]:
        """Tell of a failure of the block in a note, once, and go on."""
        try:
            yield
        except kinds as error:
            if what not in self._troubles:
                self._troubles.add(what)
                self._emit(Note(f"{what}: {described(error)}"))

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
                spent=str(clock) if self.loop.trains else "",
                loss=_finite(curves.last_loss),
                task=self.cell.task,
                validation=_finite(curves.last_validation),
                best_validation=_finite(curves.best_validation),
                waiting_share=min(1.0, clock.waiting_seconds / seconds) if frames else None,
                frames_per_second=frames / seconds if frames else None,
                memory_bytes=hardware.peak_memory_bytes(self.cell.device),
            )
        )


def tested(loop: Loop, cell: Cell, heartbeat: Callable[[float], None]) -> Result:
    """What the test of `cell` finds; each process of a team calls this."""
    return measure(
        loop.task,
        loop.forward,
        loop.held_out("test", heartbeat),
        cell.evaluation.showcase_clips,
        cell.compared,
        cell.clusters,
        data.climatology(cell.dataset),
        Draws(loop.sample, cell.evaluation.samples) if cell.draws else None,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _process_seconds() -> float:
    """Wall time since this process was started, its imports included."""
    return time.monotonic() - _STARTED


# The calendar's clock may be set: it is read once, soon after the start.
_STARTED = time.monotonic() - max(0.0, time.time() - psutil.Process().create_time())
