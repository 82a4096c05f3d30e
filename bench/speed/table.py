"""The table of speeds in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.console import UNLIMITED_WIDTH
from bench.console.summary import pointers
from bench.console.tables import Output, empty_table, in_parts
from bench.console.words import one_line
from bench.report.speed import Column, Section


def print_sections(sections: Sequence[Section], stream: TextIO) -> None:
    """Print the table of each section, in parts where it is wider than the terminal."""
    console = _console(stream)
    for section in sections:
        console.print(Text(f"{section.title} · {section.setting}\n", style="bold"))
        for part in in_parts(section.columns, partial(_table, section), console):
            console.print(part)
        for row in section.rows:
            if row.trouble:
                console.print(Text(f"{one_line(row.label)}: {one_line(row.trouble)}"))


def print_pointers(report: Path, ui_command: str, stream: TextIO) -> None:
    """Print where the report is, and what opens MLflow's pages."""
    console = _console(stream)
    for line in pointers(report, ui_command):
        console.print(line, soft_wrap=True)


def _console(stream: TextIO) -> Console:
    terminal = stream.isatty()
    width = None if terminal else UNLIMITED_WIDTH
    return Output(file=stream, force_terminal=terminal, width=width, highlight=False)


def _table(section: Section, columns: Sequence[Column]) -> Table:
    table = empty_table()
    table.add_column("model", no_wrap=True)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for row in section.rows:
        table.add_row(Text(one_line(row.label)), *(column.text(row) for column in columns))
    return table
