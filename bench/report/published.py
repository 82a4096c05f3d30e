"""Published figures beside those measured here under the same convention."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench import units
from bench.errors import UserError
from bench.escape import markdown as plain
from bench.literature.conventions import CONVENTIONS, NOT_STORED, described, figures
from bench.literature.published import CERTAINTY, FIGURES, PublishedRow
from bench.report.cells import ONE_SIZE, each
from bench.report.columns import PARAMETERS
from bench.report.scores import SequenceScores
from bench.report.section import Section, headings
from bench.suite.reference import Reference

if TYPE_CHECKING:  # the report needs no torch
    from models.contract import FrameShape

OF_THE_TASK = {"context_frames", "horizon"}
"""Options of a data set that change nothing else than what is asked, which is compared apart."""

SAME_SIZE = 0.1
"""Share by which the parameters of one architecture may differ: not all count norms and biases."""

LONG = 6  # rows from which on a table is folded away


@dataclass(frozen=True, slots=True)
class Beside:
    """A published figure and ours, as they are printed; the ratio is "" where it would mislead."""

    published: str
    measured: str
    ratio: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One published row beside a model of the section; the entries follow the table's figures.

    Attributes:
        label: the model here.
        model: the same without its size.
        row: what was published.
        entries: None where that has no such figure.
        differs: what keeps the two from being compared.
    """

    label: str
    model: str
    row: PublishedRow
    entries: tuple[Beside | None, ...]
    differs: tuple[str, ...]

    @property
    def comparable(self) -> str:
        """Whether the two can be compared, and why not."""
        return f"not comparable ({'; '.join(self.differs)})" if self.differs else "comparable"


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """The published rows of a section's data set and models."""

    title: str
    setting: str
    figures: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def headings(self) -> tuple[str, ...]:
        """The names of the figures as they are read."""
        return tuple(heading(name) for name in self.figures)

    @property
    def is_long(self) -> bool:
        """Whether it should be folded away."""
        return len(self.rows) >= LONG

    @property
    def conventions(self) -> list[str]:
        """How the figures were computed, a line for each convention in the table."""
        return described(row.row.convention for row in self.rows if row.row.convention)


def heading(figure: str) -> str:
    """A figure of a convention as it is read: `MSE`, `MSE per frame`."""
    first, _, rest = figure.partition("_")
    return f"{first.upper()} {rest.replace('_', ' ')}".strip()


def published_tables(
    rows: Sequence[PublishedRow], sections: Sequence[Section], scores: SequenceScores
) -> list[PublishedTable]:
    """One table for each section that has a finished model with published figures of its task."""
    tables = []
    for section, title in zip(sections, headings(sections), strict=True):
        found = [row for row in rows if _is_of(row, section)]
        done = section.done[section.done["model"].isin({row.model for row in found})]
        beside = [
            _beside(section, seeds, row, scores)
            for _, seeds in done.groupby("label")
            for row in found
            if row.model == seeds.iloc[0]["model"]
        ]
        if beside:
            tables.append(_table(section, title, beside))
    return tables


def _is_of(row: PublishedRow, section: Section) -> bool:
    """Whether the section has the task of the row, and models to compare with."""
    return bool(row.model) and row.is_of(section.dataset, section.context_frames, section.horizon)


def _beside(
    section: Section, seeds: pd.DataFrame, row: PublishedRow, scores: SequenceScores
) -> Row:
    cell = next(each(seeds))
    differs = tuple(_differences(section, cell, row))
    measured = _measured(seeds, row.convention, scores) if row.convention else {}
    entries = [_entry(row, name, measured, not differs) for name in FIGURES]
    return Row(cell["label"], cell["model"], row, tuple(entries), differs)


def _differences(section: Section, cell: dict[str, Any], row: PublishedRow) -> Iterator[str]:
    """How the published row's setting differs from the section's, beyond what `_is_of` checks."""
    if row.doubt:
        yield f"doubtful: {row.doubt}"
    if not row.convention:
        yield "convention: not known"
    if section.budget != f"{row.samples} samples":
        yield f"budget: {row.budget}, here {units.budget(section.budget)}"
    clips = cell["facts"].get("test_clips", "some")
    try:
        options = set(Reference.parse(section.dataset).options)
    except UserError:  # a name that is no reference
        options = {section.dataset}
    same_data = row.test_data == section.dataset.partition("(")[0] and options <= OF_THE_TASK
    if not (same_data and row.test_clips == clips):
        yield f"test: {row.split}, here {clips} clips of {section.dataset}"
    if cell["size"] not in ("published", ONE_SIZE):
        yield f"size: published, here {cell['size']}"
    elif row.params_m and not math.isclose(
        cell[PARAMETERS] / 1e6, float(row.params_m), rel_tol=SAME_SIZE
    ):
        yield f"size: {row.params_m} M parameters, here {cell[PARAMETERS] / 1e6:.3g} M"


def _measured(
    seeds: pd.DataFrame, convention: str, scores: SequenceScores
) -> dict[str, float | None]:
    """The mean over seeds of each figure of the convention; None where it was not stored."""
    of_seeds = []
    for cell in each(seeds):
        table = scores.by_frame(cell["run_id"])
        shape = _frame_shape(cell["facts"].get("frame_shape", ""))
        if table is not None and shape is not None:
            of_seeds.append(figures(table, shape, convention))
    names = CONVENTIONS[convention].figures if of_seeds else ()
    return {name: _mean([found[name] for found in of_seeds]) for name in names}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _frame_shape(text: str) -> FrameShape | None:
    """The shape written as `1x64x64`."""
    sides = [int(side) for side in text.split("x") if side.isdecimal() and len(side) < 10]
    return (sides[0], sides[1], sides[2]) if len(sides) == 3 and text.count("x") == 2 else None


def _entry(
    row: PublishedRow, name: str, measured: dict[str, float | None], comparable: bool
) -> Beside | None:
    if name not in row.figures:
        return None
    published, ours = row.figures[name], measured.get(name)
    if not row.convention or name not in CONVENTIONS[row.convention].figures:
        return Beside(published, "—")
    if ours is None:
        return Beside(published, NOT_STORED)
    if math.isnan(ours):
        return Beside(published, "not measured")
    ratio = f"{ours / float(published):.2f}" if comparable and float(published) else ""
    return Beside(published, f"{ours:.4g}", ratio)


def _table(section: Section, title: str, rows: Sequence[Row]) -> PublishedTable:
    """The rows with those figures that one of them has."""
    used = [place for place in range(len(FIGURES)) if any(row.entries[place] for row in rows)]
    return PublishedTable(
        title,
        section.setting,
        tuple(FIGURES[place] for place in used),
        tuple(
            Row(row.label, row.model, row.row, tuple(row.entries[p] for p in used), row.differs)
            for row in rows
        ),
    )


def markdown(tables: Sequence[PublishedTable]) -> Iterator[str]:
    """The section of report.md, line by line; nothing without a table."""
    if tables:
        marks = "; ".join(f"[{mark}] {meaning}" for mark, meaning in CERTAINTY.items())
        yield (
            "\n## Published beside measured\n\n"
            "Each figure as published / ours under the same convention, the mean over seeds. A"
            " ratio, ours by theirs, stands where budget, test clips and size agree; elsewhere"
            f" *what differs* says why there is none. {marks}."
        )
    for table in tables:
        yield f"\n### {plain(table.title)}\n\n{plain(table.setting)}\n"
        yield from (f"- Convention {plain(line)}" for line in table.conventions)
        headings = " | ".join(table.headings)
        yield f"\n| model | published as | convention | {headings} | what differs | source |"
        yield "|---|---|---|" + "--:|" * len(table.figures) + "---|---|"
        for row in table.rows:
            entries = " | ".join(_plain_entry(entry) for entry in row.entries)
            who = f"{plain(row.label)} | {plain(row.row.published_as)}"
            why = f"{plain(row.comparable)} | {plain(row.row.source)} [{row.row.certainty}]"
            yield f"| {who} | {row.row.convention or '—'} | {entries} | {why} |"


def _plain_entry(entry: Beside | None) -> str:
    if entry is None:
        return ""
    ratio = f" (ratio {entry.ratio})" if entry.ratio else ""
    return f"{entry.published} / {entry.measured}{ratio}"
