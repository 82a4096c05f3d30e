"""How models do on data sets that they were not trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.escape import markdown as plain
from bench.report.columns import COLUMNS, Column
from bench.report.section import Section
from bench.report.statistics.interval import half_width

SHOWN = ("mse", "skill")
TITLE = "Tested on data sets that they were not trained on"


@dataclass(frozen=True, slots=True)
class ElsewhereRow:
    """A model trained on one data set, with its figure on each that it was tested on."""

    label: str
    model: str
    trained_on: str
    entries: tuple[str, ...]
    """"" where it was not tested."""

    @property
    def name(self) -> str:
        """As the other tables call it."""
        return self.label


@dataclass(frozen=True, slots=True)
class ElsewhereTable:
    """One figure of all models under one setting, by where they were trained and tested."""

    column: Column
    setting: str
    tested_on: tuple[str, ...]
    rows: tuple[ElsewhereRow, ...]


def elsewhere_tables(sections: Sequence[Section]) -> list[ElsewhereTable]:
    """Tables of MSE and skill for each setting under which a model was tested elsewhere, too.

    Of each data set the newest section counts.
    """
    alike: dict[tuple[str, ...], dict[str, Section]] = {}
    for section in sections:
        if section.task == "prediction" and not section.done.empty:
            alike.setdefault(section.conditions, {}).setdefault(section.dataset, section)
    return [
        _table(column, members)
        for members in ([*by_dataset.values()] for by_dataset in alike.values())
        if any(part.done["elsewhere"].map(bool).any() for part in members)
        for column in COLUMNS["prediction"]
        if column.name in SHOWN
    ]


def _table(column: Column, sections: Sequence[Section]) -> ElsewhereTable:
    own = [section.dataset for section in sections]
    further = [name for part in sections for found in part.done["elsewhere"] for name in found]
    tested_on = tuple(dict.fromkeys([*own, *further]))
    rows = [
        ElsewhereRow(
            str(label),
            str(seeds["model"].iloc[0]),
            section.dataset,
            tuple(_entry(column, section, seeds, name) for name in tested_on),
        )
        for section in sections
        for label, seeds in section.done[~section.done["baseline"]].groupby("label", sort=True)
    ]
    rows.sort(key=lambda row: row.label)
    return ElsewhereTable(column, sections[0].common_setting, tested_on, tuple(rows))


def _entry(column: Column, section: Section, seeds: pd.DataFrame, name: str) -> str:
    """The mean over `seeds` on the data set `name`, with half its 95 % t-interval."""
    if name == section.dataset:
        values = seeds[column.measure.key].tolist()
    else:
        values = [found.get(name, {}).get(column.name, math.nan) for found in seeds["elsewhere"]]
    mean = sum(values) / len(values)
    if math.isnan(mean):
        return ""
    half = half_width(values)
    return column.write(mean) + ("" if math.isnan(half) else f" ± {column.write(half, mean)}")


def markdown(tables: Sequence[ElsewhereTable]) -> Iterator[str]:
    """The section of report.md, line by line; nothing without a table."""
    if tables:
        yield f"\n## {TITLE}"
    for table in tables:
        yield f"\n### {plain(table.column.heading)}\n\n{plain(table.setting)}\n"
        yield f"| model | trained on | {' | '.join(map(plain, table.tested_on))} |"
        yield "|---|---|" + "--:|" * len(table.tested_on)
        for row in table.rows:
            entries = " | ".join(entry or "—" for entry in row.entries)
            yield f"| {plain(row.label)} | {plain(row.trained_on)} | {entries} |"
