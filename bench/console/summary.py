"""What a run leaves on the terminal: its tables, where the report lies, and what failed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from bench.console.tables import empty_table, in_parts
from bench.console.tally import Ended
from bench.console.words import last_line

if TYPE_CHECKING:
    from bench.report.table import Entry, Row


def summary(tables: Mapping[str, Sequence[Row]], console: Console) -> Group:
    """Each table under its title, with the reasons for what is missing in it."""
    lines: list[Table | Text] = []
    for title, rows in tables.items():
        missing = list(_missing(rows))
        lines += [Text(f"\n{title}\n", "bold"), *_parts(rows, console), *missing]
        lines += [Text()] if missing else []
    return Group(*lines)


def pointers(report: Path | None, ui_command: str) -> Iterator[Text]:
    """Where to look further, a line each."""
    if report is not None:
        yield Text.assemble(("report  ", "bold"), str(report))
    yield Text.assemble(("MLflow  ", "bold"), ui_command)


def failures(ended: Sequence[Ended]) -> Iterator[Text]:
    """Each failed cell, and below it the line that runs it again."""
    if ended:
        yield Text(f"\n{len(ended)} failed; to run one again:", "bold red")
    for cell in ended:
        yield Text.assemble((f"{cell.status}  ", "red"), cell.name)
        yield Text(f"  {cell.command}")


def _parts(rows: Sequence[Row], console: Console) -> list[Table | Text]:
    from bench.report.table import COLUMNS  # brings pandas, which a plan need not wait for

    def table_of(columns: Sequence[int]) -> Table:
        table = empty_table()
        table.add_column("model", overflow="fold")
        table.add_column("seed")
        for column in columns:
            table.add_column(_wrapped(COLUMNS[column].heading), justify="right")
        for row in rows:
            figures = [_figure(row.entries[column]) for column in columns]
            if not row.done:
                figures[0] = Text(row.status, "red")
            table.add_row(row.label, row.seeds, *figures)
        return table

    return in_parts(range(len(COLUMNS)), table_of, console)


def _wrapped(heading: str) -> str:
    """The heading on lines of about a figure's width, its arrow kept with its last word."""
    words, _, last = heading.rpartition(" ")
    bound = f"{words}\u00a0{last}" if last in ("↓", "↑") else heading
    return "\n".join(textwrap.wrap(bound, 8, break_long_words=False, break_on_hyphens=False))


def _figure(entry: Entry) -> Text:
    style = "bold green" if entry.best else ("" if entry.value is not None else "dim")
    return Text(f"{entry.text} {entry.half_width}".strip(), style)


def _missing(rows: Sequence[Row]) -> Iterator[Text]:
    from bench.report.table import COLUMNS

    for row in rows:
        if not row.done:
            cell = f"{row.label}, seed {row.seeds}"
            yield Text(f"{cell}: {row.status}: {last_line(row.reason)}", "red")
    whys = {
        (column.measure.label, entry.reason): None
        for row in rows
        for column, entry in zip(COLUMNS, row.entries, strict=True)
        if entry.reason
    }
    for label, reason in whys:
        yield Text(f"{label} not measured: {last_line(reason)}", "dim")
