"""Rows of plain values as a table, JSON or CSV on standard output."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Literal, TextIO

from rich.console import Console
from rich.text import Text

from bench.console.tables import empty_table
from bench.console.words import one_line
from bench.escape import csv_cell
from bench.units import figure

Format = Literal["table", "json", "csv"]


def print_rows(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    format: Format = "table",  # noqa: A002  (the option's name on the command line)
    stream: TextIO | None = None,
) -> None:
    """Prints `columns` of `rows`; what is missing or no finite number is empty (JSON: null).

    Tables round figures and wrap what is too wide; JSON and CSV hold the values as they are, but
    for a text in CSV that a spreadsheet would compute.
    """
    stream = stream or sys.stdout
    picked = [[_known(row.get(column)) for column in columns] for row in rows]
    if format == "json":
        records = [dict(zip(columns, values, strict=True)) for values in picked]
        stream.write(json.dumps(records, indent=2, default=str) + "\n")
    elif format == "csv":
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([columns, *([csv_cell(value) for value in row] for row in picked)])
    else:
        _table(picked, columns, stream)


def _table(picked: Sequence[Sequence[object]], columns: Sequence[str], stream: TextIO) -> None:
    terminal = stream.isatty()
    width = None if terminal else 10_000  # a pipe has no edge at which to wrap
    console = Console(file=stream, force_terminal=terminal, width=width, highlight=False)
    table = empty_table()
    for index, column in enumerate(columns):
        values = [row[index] for row in picked]
        numbers = all(isinstance(value, int | float | None) for value in values)
        longest = max((len(_words(value)) for value in values), default=0)
        table.add_column(
            column,
            justify="right" if numbers else "left",
            overflow="fold",
            no_wrap=index == 0 and longest <= console.width // 2,  # names before all else
        )
    for row in picked:
        table.add_row(*(Text(_words(value)) for value in row))
    console.print(table)


def _known(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _words(value: object) -> str:
    if value is None:
        return ""
    return figure(value) if isinstance(value, float) else one_line(str(value))
