"""The progress of a run: cells ended and failed, time left, results against the baseline."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records import Status
from bench.run.display import PENDING, PlannedCell
from bench.score.metrics import LEADING, REFERENCE

if TYPE_CHECKING:
    from bench.run.events import Finished
    from datasets.contract import TaskName


@dataclass(frozen=True, slots=True)
class Ended:
    """A cell that ended in this run."""

    name: str
    status: str
    seconds: float
    error: str
    command: str
    log: Path | None
    task: TaskName
    result: float | None
    """The leading measure of its task."""
    versus_baseline: float | None
    """That as a multiple of the baseline's on the same data set, where that is known."""

    @property
    def failed(self) -> bool:
        """Whether it should have a result, has none, and does not go on by the same line."""
        return self.status not in (Status.DONE, Status.SKIPPED, Status.INTERRUPTED)


class Tally:
    """Counts the cells of a plan as they start and end; `clock` gives seconds."""

    def __init__(
        self,
        cells: Sequence[PlannedCell],
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cells = {cell.name: cell for cell in cells}
        self._workers = workers
        self._clock = clock
        self._started: dict[str, float] = {}
        self._baseline = {
            cell.dataset: cell.result
            for cell in cells
            if cell.model == REFERENCE[cell.task] and cell.result is not None
        }
        self._trained: list[tuple[PlannedCell, float]] = []
        self.ended: list[Ended] = []

    @property
    def total(self) -> int:
        """Cells that are done or can be run."""
        return sum(cell.state != "blocked" for cell in self._cells.values())

    @property
    def finished(self) -> int:
        """Cells that ended, now or earlier, well or badly."""
        return len(self.ended) + sum(cell.state == "done" for cell in self._cells.values())

    @property
    def skipped(self) -> dict[str, str]:
        """Why cells were skipped, by cell."""
        planned = {c.name: c.reason for c in self._cells.values() if c.state == "blocked"}
        met = {ended.name: ended.error for ended in self.ended if ended.status == Status.SKIPPED}
        return planned | met

    @property
    def failures(self) -> list[Ended]:
        """The cells that failed, in the order in which they did."""
        return [ended for ended in self.ended if ended.failed]

    @property
    def interrupted(self) -> int:
        """How many cells were stopped before their end."""
        return sum(ended.status == Status.INTERRUPTED for ended in self.ended)

    def start(self, name: str) -> None:
        """The cell runs from now on."""
        self._started[name] = self._clock()

    def end(self, name: str, finished: Finished, command: str, log: Path | None) -> Ended:
        """The cell ended; its result is compared with the baseline's where that has one."""
        seconds = self._clock() - self._started.pop(name, self._clock())
        cell = self._cells[name]
        result = finished.metrics.get(LEADING[cell.task].key)
        if finished.status == Status.DONE and finished.metrics.get("train/steps"):
            self._trained.append((cell, seconds))
        baseline, ratio = self._baseline.get(cell.dataset), None
        if result is not None and cell.model == REFERENCE[cell.task]:
            self._baseline[cell.dataset] = result
        elif result is not None and baseline and math.isfinite(result / baseline):
            ratio = result / baseline
        how = name, finished.status, seconds, finished.error, command, log
        self.ended.append(Ended(*how, cell.task, result, ratio))
        return self.ended[-1]

    def seconds_left(self) -> float | None:
        """Time until the last cell ends, None while no duration is known.

        Cells that trained to their end correct the estimates of the others by the seconds they
        took more or less, for what an estimate misses is much the same for each: imports, set-up,
        evaluation. Where there is no estimate, the others will take as long as they did.
        """
        now, ended = self._clock(), {ended.name for ended in self.ended}
        left = []
        for name, cell in self._cells.items():
            if cell.state in PENDING and name not in ended:
                expected = self._expected_seconds(cell)
                if expected is None:
                    return None
                left.append(max(0.0, expected - (now - self._started.get(name, now))))
        return max(sum(left) / self._workers, max(left, default=0.0))

    def _expected_seconds(self, cell: PlannedCell) -> float | None:
        estimate = cell.estimated_seconds
        misses = [
            seconds - (trained.estimated_seconds or 0.0)
            for trained, seconds in self._trained
            if (trained.estimated_seconds is None) == (estimate is None)
        ]
        miss = sum(misses) / len(misses) if misses else None
        return miss if estimate is None else estimate + (miss or 0.0)
