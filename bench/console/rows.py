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

from bench.console.tables import Output, empty_table
from bench.console.words import one_line
from bench.escape import csv_cell
from bench.units import figure

Format = Literal["table", "json", "csv"]

GAP = 2  # between columns
FEW_WORDS = 3  # of what is no sentence
SENTENCE = 24  # characters of a line of one, at least


def print_rows(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    format: Format = "table",  # noqa: A002  (the option's name on the command line)
    stream: TextIO | None = None,
) -> None:
    """Prints `columns` of `rows`; what is missing or no finite number is empty (JSON: null).

    Tables round figures, wrap sentences, leave out columns that hold nothing, and those of the last
    that do not fit, which they name; JSON and CSV hold the values as they are, but for a text in
    CSV that a spreadsheet would compute.
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


def print_lines(text: str, stream: TextIO | None = None) -> None:
    """Prints `text`, whose lines wrap between words at a terminal."""
    _console(stream or sys.stdout).print(Text(text))


def _console(stream: TextIO) -> Console:
    terminal = stream.isatty()
    width = None if terminal else 10_000  # a pipe has no edge
    return Output(file=stream, force_terminal=terminal, width=width, highlight=False)


def _table(picked: Sequence[Sequence[object]], columns: Sequence[str], stream: TextIO) -> None:
    console = _console(stream)
    columns, picked = _told(columns, picked)
    texts = [[_words(value) for value in row] for row in picked]
    cells = [[heading, *(row[index] for row in texts)] for index, heading in enumerate(columns)]
    shown = _fitting(cells, console.width)
    table = empty_table()
    for index in shown:
        numbers = all(isinstance(row[index], int | float | None) for row in picked)
        table.add_column(
            columns[index],
            justify="right" if numbers else "left",
            overflow="fold",
            no_wrap=not _has_sentences(cells[index]) and len(shown) > 1,
        )
    for row in texts:
        table.add_row(*(Text(row[index]) for index in shown))
    console.print(table)
    left_out = [name for index, name in enumerate(columns) if index not in shown]
    if left_out:
        console.print(f"too wide for {console.width} columns: {', '.join(left_out)}")


def _told(
    columns: Sequence[str], picked: Sequence[Sequence[object]]
) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
    """The columns, and their rows, that hold anything; all where there are no rows."""
    told = [
        index
        for index in range(len(columns))
        if not picked or any(row[index] not in (None, "") for row in picked)
    ]
    return [columns[index] for index in told], [[row[index] for index in told] for row in picked]


def _fitting(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Which of the `columns` of cells fit into `width` characters, the first ones before others.

    A column of sentences may wrap between words, others must not.
    """
    kept: list[int] = []
    used = 0
    for index, cells in enumerate(columns):
        longest = max(map(len, cells))
        least = max(len(word) for cell in cells for word in cell.split() or [""])
        needed = max(least, min(longest, SENTENCE)) if _has_sentences(cells) else longest
        if not kept or used + GAP + needed <= width:
            kept.append(index)
            used += needed + (GAP if len(kept) > 1 else 0)
    return kept


def _has_sentences(cells: Sequence[str]) -> bool:
    """Whether a column may wrap between words."""
    return any(len(cell.split()) > FEW_WORDS for cell in cells)


def _known(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _words(value: object) -> str:
    if value is None:
        return ""
    return figure(value) if isinstance(value, float) else one_line(str(value))
