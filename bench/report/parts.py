"""A table in parts: its quality, what it cost, and what is the same in every row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.report.columns import Column
from bench.report.table import Entry, Row, Table


@dataclass(frozen=True, slots=True)
class Parts:
    """A printed table as page and report.md show it.

    Attributes:
        quality: the figures that say how good a model is, with the rows that have none.
        cost: what the finished models cost; None where nothing tells them apart.
        same: the figures that all trained models share, in a sentence; "" of none.
    """

    quality: Table
    cost: Table | None
    same: str


def parts(table: Table) -> Parts:
    """`table` without the columns that say the same of every model, costs apart.

    The column that ranks stays. A baseline costs nothing, so trained models alone share a cost.
    """
    lead, *others = table.columns
    places = {column.name: place for place, column in enumerate(table.columns)}
    done = [row for row in table.rows if row.done]
    shared: dict[str, str] = {}
    for column in others:
        rows = done if column.is_quality else [row for row in done if not row.baseline]
        entries = [row.entries[places[column.name]] for row in rows]
        if len(entries) > 1 and _are_alike(entries):
            unit = f" {column.measure.unit}" if column.measure.unit else ""
            shared[column.name] = f"{column.measure.label} {entries[0].text}{unit}"
    left = [column for column in others if column.name not in shared]
    quality = _of(table, (lead, *(column for column in left if column.is_quality)), table.rows)
    costs = tuple(column for column in left if not column.is_quality)
    cost = replace(_of(table, costs, done), remark="", bold="") if costs and done else None
    said = f"The same for all trained models: {', '.join(shared.values())}." if shared else ""
    return Parts(quality, cost, said)


def _are_alike(entries: Iterable[Entry]) -> bool:
    """Whether they print alike and are figures."""
    texts = {(entry.text, entry.half_width) for entry in entries}
    return len(texts) == 1 and all(entry.value is not None for entry in entries)


def _of(table: Table, columns: tuple[Column, ...], rows: Iterable[Row]) -> Table:
    """The `columns` and `rows` of the table."""
    places = [table.columns.index(column) for column in columns]
    kept = (replace(row, entries=tuple(row.entries[place] for place in places)) for row in rows)
    return replace(table, columns=columns, rows=tuple(kept))
