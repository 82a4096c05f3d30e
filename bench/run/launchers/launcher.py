"""What every launcher does: it runs the processes of cells somewhere, and tells what happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench import PACKAGE
from bench.run.events import Event

if TYPE_CHECKING:
    from bench.suite.cell import Cell


@dataclass(frozen=True, slots=True)
class Job:
    """A cell to run as a child process, and when it counts as hung."""

    name: str
    arguments: Sequence[str]
    log: Path  # gets what it prints
    silence_seconds: float
    total_seconds: float | None = None
    key: str = ""
    """Of the cell: that of its checkpoint."""
    program: Sequence[str] = ("-m", PACKAGE)
    """What Python runs with the arguments."""
    devices: int = 1
    """That the cell is on."""

    @classmethod
    def of(cls, cell: Cell, arguments: Sequence[str], log: Path) -> Job:
        """The job of `cell`, with the limits that its suite sets, or the usual ones."""
        seconds = cell.budget.amount if cell.budget.kind == "seconds" else None
        total = cell.limits.cell_seconds or default_total_seconds(seconds)
        silence = cell.limits.silence_seconds
        key, devices = cell.trained, cell.devices
        return cls(cell.name, arguments, log, silence, total, key, devices=devices)


class Started:
    """The cell's process has been started."""


class Launcher(Protocol):
    """Runs jobs where and when there is room. One file of this folder is one launcher."""

    @property
    def workers(self) -> int:
        """How many jobs run at the same time."""

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for."""

    def stop(self) -> None:
        """Start no more jobs and ask those that run to stop; the second time, kill them."""

    def leave(self) -> None:
        """End this process, and leave the jobs running where they can do without it."""

    def holds(self, key: str) -> bool:
        """Whether a job of that cell, by this process or an earlier one, waits or runs."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Event | Started]]:
        """What happens to each job, as it happens; the last of each is a `Finished`."""


def default_total_seconds(budget_seconds: float | None) -> float | None:
    """The hard limit where the suite names none: ten budgets and an hour.

    None for a budget of work, which takes long on a slow machine that is not hung: there silence
    alone is the limit.
    """
    return None if budget_seconds is None else 10 * budget_seconds + 3600
