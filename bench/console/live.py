"""A run on a terminal: finished cells scroll up above bars for the suite and the running cells."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.console.plain import PlainDisplay
from bench.console.words import figures, one_line, outcome, share_done, spent, time_left
from bench.records import Status
from bench.run.display import PlannedCell, RunSettings
from bench.run.events import Finished, Note, Progress

if TYPE_CHECKING:
    from bench.report.table import Table as ReportTable

MARKS: dict[str, tuple[str, str]] = {
    Status.DONE: ("✓ ", "bold green"),
    Status.SKIPPED: ("· ", "bold yellow"),
}
WORDS_WIDTH = 32  # 12/24, 1 failed, 1 h 12 min left
BAR_WIDTHS = (8, 60)
FIGURE_WIDTHS = {"loss": 12, "validation": 30, "waiting": 20, "speed": 14, "memory": 7}


class LiveDisplay(PlainDisplay):
    """Bars that redraw themselves; they come with the first cell and leave nothing behind."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._suite = ""
        self._name_width = 0
        self._running: dict[str, Progress] = {}
        self._live = Live(
            console=console, get_renderable=self.bars, refresh_per_second=5, transient=True
        )

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def plan(self, cells: Sequence[PlannedCell], settings: RunSettings) -> None:
        """Prints the plan; no bars yet, for a dry run ends here."""
        super().plan(cells, settings)
        self._suite = settings.suite
        self._name_width = max(len(name) for name in (settings.suite, *(c.name for c in cells)))

    def cell_started(self, name: str) -> None:
        """Adds the cell's bar."""
        self._tally.start(name)
        self._running[name] = Progress("setup", 0.0)
        self._live.start()

    def event(self, name: str, event: Progress | Note) -> None:
        """Moves the cell's bar, or prints the note above the bars."""
        if isinstance(event, Note):
            self._console.print(Text.assemble((f"{one_line(name)}: ", "dim"), one_line(event.text)))
        else:
            self._running[name] = event

    def cell_finished(
        self, name: str, finished: Finished, command: str, log: Path | None = None
    ) -> None:
        """Prints the cell's line above the bars and takes its bar away."""
        ended = self._tally.end(name, finished, command, log)
        self._running.pop(name, None)
        mark = MARKS.get(ended.status, ("✗ ", "bold red"))
        words = "  ".join(word.ljust(10) for word in outcome(ended)).rstrip()
        self._console.print(
            Text.assemble(mark, one_line(name).ljust(self._name_width), "  ", words)
        )
        if ended.failed:
            if log is not None:
                self._print(Text.assemble(("  log    ", "dim"), shlex.quote(str(log))))
            self._print(Text.assemble(("  again  ", "dim"), command))

    def all_ended(self) -> None:
        """Takes the bars away."""
        self._live.stop()

    def summary(
        self, tables: Mapping[str, ReportTable], report: Path | None, ui_command: str
    ) -> None:
        """Takes the bars away, then the tables, where to look further and what failed."""
        self.all_ended()
        super().summary(tables, report, ui_command)

    def bars(self) -> Group:
        """The current bars."""
        return Group(*self._rows())

    def _rows(self) -> Iterator[RenderableType]:
        whole = ProgressBar(max(1, self._tally.total), self._tally.finished)
        yield self._row(Text(one_line(self._suite), "bold"), whole, time_left(self._tally))
        for name, progress in tuple(self._running.items()):  # the screen's thread reads it too
            counts = progress.phase in ("fit", "train", "validate", "test")
            bar = ProgressBar(1.0, share_done(progress), pulse=not counts)
            yield self._row(Text(one_line(name)), bar, spent(progress))
            yield Text(self._figures(progress), no_wrap=True, overflow="ellipsis")

    def _figures(self, progress: Progress) -> str:
        """The figures of a cell, in columns; what the terminal has no room for is left out."""
        line = ""
        for key, word in figures(progress).items():
            longer = f"{line}  {word.ljust(FIGURE_WIDTHS[key])}"
            line = longer if len(longer.rstrip()) <= self._console.width else line
        return line.rstrip()

    def _row(self, name: Text, bar: ProgressBar, words: str) -> Table:
        """Name, bar and words in columns that depend on the width of the terminal alone."""
        room = self._console.width - WORDS_WIDTH - 4
        name_width = max(1, min(self._name_width, room - BAR_WIDTHS[0]))
        bar.complete_style, bar.finished_style = "cyan", "green"
        bar.width = max(1, min(room - name_width, BAR_WIDTHS[1]))
        name.truncate(name_width, overflow="ellipsis")
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=name_width, no_wrap=True)
        row.add_column(width=bar.width)
        row.add_column(no_wrap=True)
        row.add_row(name, bar, words)
        return row
