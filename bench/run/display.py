"""How a run reports to its user: the protocol that displays implement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, TextIO

if TYPE_CHECKING:
    from bench.report.table import Table
    from bench.run.events import Finished, Note, Progress
    from datasets.contract import TaskName

State = Literal["done", "run", "resume", "rescore", "blocked"]
Basis = Literal["budget", "earlier", "speed"]
"""What expected seconds of training are reckoned from: a budget in seconds, an earlier cell, or the
speed of this machine."""
PENDING: tuple[State, ...] = ("run", "resume", "rescore")


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One cell of the plan and what `run` will do with it."""

    name: str
    """How the later calls name the cell."""
    model: str
    size: str
    dataset: str
    seed: int
    """Or the number of a trial."""
    state: State
    estimated_seconds: float | None
    """Expected duration from now; None where unknown or done."""
    reason: str = ""
    """Why it is blocked."""
    result: float | None = None
    """Of a cell that is done, the leading measure of its task."""
    task: TaskName = "prediction"
    weights_of: str = ""
    """Of a cell that is only scored again, the run that has its weights."""
    training_seconds: float | None = None
    """Expected seconds of training, where the budget is in something else and they can be told."""
    basis: Basis = "budget"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The settings common to all cells of a run, as people read them: `cpu`, `small`, `120 s`."""

    suite: str
    device: str
    precision: str
    size: str
    budget: str
    workers: int = 1
    """How many cells run at the same time."""
    remarks: tuple[str, ...] = ()
    """What makes the comparison unequal between models, a sentence each."""


class Display(Protocol):
    """A view of a run. Its context manager restores the terminal on exit."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

    def plan(self, cells: Sequence[PlannedCell], settings: RunSettings) -> None:
        """Shows the plan; called before all others."""

    def cell_started(self, name: str) -> None:
        """Shows that the cell has started."""

    def event(self, name: str, event: Progress | Note) -> None:
        """Shows an event of a running cell."""

    def cell_finished(
        self, name: str, finished: Finished, command: str, log: Path | None = None
    ) -> None:
        """Shows how a cell ended; where it failed, also `log` and the `command` that re-runs it."""

    def all_ended(self) -> None:
        """No cell runs any more: what is printed from now on stands by itself."""

    def summary(self, tables: Mapping[str, Table], report: Path | None, ui_command: str) -> None:
        """Shows tables by title, the report's path, MLflow's command, failed and skipped cells."""


@dataclass(frozen=True, slots=True)
class Screen:
    """How to speak to the user.

    Attributes:
        display: opens the display on a stream; a log file has one, too.
        announce: prints a line beside the display.
        waiting: says during a block what takes so long, before the display shows anything.
    """

    display: Callable[[TextIO], Display]
    announce: Callable[[str], None]
    waiting: Callable[[str], AbstractContextManager[None]]
