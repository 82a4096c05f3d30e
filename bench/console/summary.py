"""The summary of a run: its tables, the path of the report, failed and skipped cells."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from bench.console.tables import empty_table, parted
from bench.console.tally import Ended
from bench.console.words import last_line, one_line

if TYPE_CHECKING:
    from bench.report.table import Entry
    from bench.report.table import Table as ReportTable


def summary(tables: Mapping[str, ReportTable], console: Console) -> Group:
    """Each table under its title, with the reasons for what is missing in it."""
    lines: list[Table | Text] = []
    for title, content in tables.items():
        missing = list(_missing(content))
        lines += [Text(f"\n{one_line(title)}\n", "bold"), *_fitting(content, console), *missing]
        lines += [Text()] if missing else []
    return Group(*lines)


def pointers(report: Path | None, ui_command: str) -> Iterator[Text]:
    """The report's path and MLflow's command, one line each."""
    if report is not None:
        yield Text.assemble(("report  ", "bold"), shlex.quote(str(report)))
    yield Text.assemble(("MLflow  ", "bold"), ui_command)


def failures(ended: Sequence[Ended]) -> Iterator[Text]:
    """Each failed cell, and below it the line that runs it again."""
    if ended:
        yield Text(f"\n{len(ended)} failed; to run one again:", "bold red")
    for cell in ended:
        yield Text.assemble((f"{cell.status}  ", "red"), one_line(cell.name))
        yield Text(f"  {cell.command}")


def stopped(cells: int) -> Iterator[Text]:
    """That the same line goes on, where `cells` were stopped before their end."""
    if cells:
        what = "a cell is not done" if cells == 1 else f"{cells} cells are not done"
        yield Text(f"\nstopped, {what}: the same line goes on", "bold yellow")


def skipped(reasons: Mapping[str, str]) -> Iterator[Text]:
    """The cells without data, below each reason that keeps them from running."""
    if reasons:
        text = "skipped; once the reason is gone, the same line runs them:"
        yield Text(f"\n{len(reasons)} {text}", "bold yellow")
    for reason in dict.fromkeys(reasons.values()):
        yield Text.assemble(("skipped  ", "yellow"), last_line(reason))
        for name in (name for name, why in reasons.items() if why == reason):
            yield Text(f"  {one_line(name)}")


def _fitting(content: ReportTable, console: Console) -> list[Table | Text]:
    """The table with the first columns, as many as fit, and the names of the others."""

    def table_of(columns: Sequence[int]) -> Table:
        table = empty_table()
        table.add_column("model", overflow="fold")
        table.add_column("seed")
        for column in columns:
            table.add_column(_wrapped(content.columns[column].heading), justify="right")
        for row in content.rows:
            figures = [_figure(row.entries[column]) for column in columns]
            if not row.done:
                figures[0] = Text(one_line(row.status), "red")
            table.add_row(Text(one_line(row.name)), row.seeds, *figures)
        return table

    shown, *others = parted(range(len(content.columns)), table_of, console)
    lines: list[Table | Text] = [table_of(shown), Text()]
    if others:
        names = ", ".join(content.columns[index].heading for part in others for index in part)
        lines.append(Text(f"too wide for {console.width} columns, in the report: {names}", "dim"))
    return lines


def _wrapped(heading: str) -> str:
    """The heading on lines of about a figure's width, its arrow kept with its last word."""
    words, _, last = heading.rpartition(" ")
    bound = f"{words}\u00a0{last}" if last in ("↓", "↑") else heading
    return "\n".join(textwrap.wrap(bound, 8, break_long_words=False, break_on_hyphens=False))


def _figure(entry: Entry) -> Text:
    style = "bold green" if entry.best else ("" if entry.value is not None else "dim")
    return Text(f"{entry.text} {entry.half_width}".strip(), style)


def _missing(content: ReportTable) -> Iterator[Text]:
    if content.note:
        yield Text(one_line(content.note), "yellow")
    for row in content.rows:
        if not row.done:
            cell = f"{one_line(row.label)}, seed {row.seeds}"
            why = f": {last_line(row.reason)}" if row.reason else ""
            yield Text(f"{cell}: {one_line(row.status)}{why}", "red")
    whys = {
        (column.measure.label, entry.reason): None
        for row in content.rows
        for column, entry in zip(content.columns, row.entries, strict=True)
        if entry.reason
    }
    for label, reason in whys:
        yield Text(f"{label} not measured: {last_line(reason)}", "dim")
