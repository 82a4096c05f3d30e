"""The table over all sections of a report: the leading figure of every model in each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.escape import markdown as plain
from bench.report.confidence import Confidence
from bench.report.table import Entry

if TYPE_CHECKING:
    from bench.records import Measure
    from bench.report.page import Chapter


@dataclass(frozen=True, slots=True)
class OverviewColumn:
    """A section: its heading, the measure that ranks its table, and how sure that is."""

    heading: str
    measure: Measure
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """A model and its figure in every section, empty where it has none."""

    label: str
    model: str
    baseline: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """The table; the entries of every row follow `columns`."""

    columns: tuple[OverviewColumn, ...]
    rows: tuple[OverviewRow, ...]


def overview(chapters: Sequence[Chapter]) -> Overview | None:
    """The models in the order of the first section that has them; None of a single section."""
    if len(chapters) < 2:
        return None
    tables = [chapter.table for chapter in chapters]
    columns = tuple(
        OverviewColumn(chapter.heading, table.columns[0].measure, chapter.confidence)
        for chapter, table in zip(chapters, tables, strict=True)
    )
    found = [{row.label: row for row in table.rows if row.done} for table in tables]
    first = {label: row for of_table in reversed(found) for label, row in of_table.items()}
    labels = dict.fromkeys(label for of_table in found for label in of_table)
    rows = []
    for label in labels:
        entries = []
        for of_table in found:
            row = of_table.get(label)
            entry = row.entries[0] if row else Entry("")
            marks = row.name.removeprefix(row.label) if row else ""
            entries.append(replace(entry, text=entry.text + marks))
        rows.append(OverviewRow(label, first[label].model, first[label].baseline, tuple(entries)))
    return Overview(columns, tuple(rows))


def markdown(table: Overview) -> Iterator[str]:
    """The lines of report.md."""
    headings = (f"{plain(c.heading)}: {c.measure.heading}" for c in table.columns)
    yield "\n## Overview\n"
    yield f"| model | {' | '.join(headings)} |"
    yield "|---|" + "--:|" * len(table.columns)
    for row in table.rows:
        figures = (f"**{e.text}**" if e.best else e.text for e in row.entries)
        spreads = (entry.half_width for entry in row.entries)
        cells = (" ".join(pair).strip() for pair in zip(figures, spreads, strict=True))
        yield f"| {plain(row.label)} | {' | '.join(cells)} |"
    yield f"| confidence | {' | '.join(c.confidence.level for c in table.columns)} |"
