"""A run as plain lines, one an event: for log files, pipes and continuous integration."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.text import Text

from bench.console.plan import plan
from bench.console.summary import failures, pointers, skipped, stopped, summary
from bench.console.tally import Tally
from bench.console.words import figures, one_line, outcome, share_done, spent, time_left
from bench.run.display import PlannedCell, RunSettings
from bench.run.events import Finished, Note, Progress

if TYPE_CHECKING:
    from bench.report.table import Table


class PlainDisplay:
    """Lines without colour or cursor movement; a training cell says where it is ten times."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._tally = Tally([], clock=clock)
        self._said: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to give back."""

    def plan(self, cells: Sequence[PlannedCell], settings: RunSettings) -> None:
        """Prints the plan."""
        self._tally = Tally(cells, settings.workers, self._clock)
        self._console.print(plan(cells, settings, self._console))

    def cell_started(self, name: str) -> None:
        """One line."""
        self._tally.start(name)
        self._print(Text(f"{one_line(name)}: started"))

    def event(self, name: str, event: Progress | Note) -> None:
        """One line for a note, a new phase, or another tenth of the budget; else nothing."""
        if isinstance(event, Note):
            self._print(Text(f"{one_line(name)}: {one_line(event.text)}"))
            return
        trains = event.phase in ("train", "validate")
        place = ("train", int(share_done(event) * 10)) if trains else (event.phase, 0)
        if self._said.get(name) != place:
            self._said[name] = place
            said = f"{one_line(name)}: {spent(event)}"
            self._print(Text(", ".join((said, *figures(event).values()))))

    def cell_finished(
        self, name: str, finished: Finished, command: str, log: Path | None = None
    ) -> None:
        """One line, with the way to the log and the command where the cell failed."""
        ended = self._tally.end(name, finished, command, log)
        parts = [f"{one_line(name)}: {', '.join(outcome(ended))}"]
        if ended.failed:
            parts += [f"log: {shlex.quote(str(log))}"] if log else []
            parts += [f"run it again: {command}"]
        self._print(Text("; ".join((*parts, time_left(self._tally)))))

    def all_ended(self) -> None:
        """Nothing: lines stand as they are."""

    def summary(self, tables: Mapping[str, Table], report: Path | None, ui_command: str) -> None:
        """Prints the tables, pointers, failed cells and skipped cells."""
        self._console.print(summary(tables, self._console), end="")
        self._print_all(pointers(report, ui_command))
        self._print_all(failures(self._tally.failures))
        self._print_all(skipped(self._tally.skipped))
        self._print_all(stopped(self._tally.interrupted))

    def _print_all(self, texts: Iterable[Text]) -> None:
        for text in texts:
            self._print(text)

    def _print(self, text: Text) -> None:
        # A path or a command broken into lines could not be copied: a terminal wraps it itself.
        self._console.print(text, soft_wrap=True)
