"""The look of all tables, and how one that is wider than the terminal is cut into parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Column = TypeVar("Column")


class Output(Console):
    """rich's console, for which a reader that has gone is an error as for all other output."""

    def on_broken_pipe(self) -> None:
        """Let the program end as it does."""
        raise BrokenPipeError


def empty_table() -> Table:
    """A table with a ruled heading and nothing around it; two spaces part its columns."""
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        header_style="bold",
    )


def in_parts(
    columns: Sequence[Column], table_of: Callable[[Sequence[Column]], Table], console: Console
) -> list[Table | Text]:
    """As few tables as hold all `columns` in order at the width of `console`, spaced apart."""
    parts = parted(columns, table_of, console)
    return [item for part in parts for item in (table_of(part), Text())]


def parted(
    columns: Sequence[Column], table_of: Callable[[Sequence[Column]], Table], console: Console
) -> list[list[Column]]:
    """The `columns` in order, in as few parts as make tables no wider than `console`."""
    taken: list[list[Column]] = [list(columns[:1])]
    for column in columns[1:]:
        if _width(table_of([*taken[-1], column]), console) <= console.width:
            taken[-1].append(column)
        else:
            taken.append([column])
    return taken


def _width(table: Table, console: Console) -> int:
    unlimited = console.options.update_width(10_000)
    return Measurement.get(console, unlimited, table).maximum
