"""The comparison report of a suite, made from MLflow alone and without torch."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from bench.claims import all_claims
from bench.errors import UserError
from bench.published import all_rows
from bench.report.claims import findings
from bench.report.classes import class_table, confusions
from bench.report.collect import Section, cells, curves, horizon, named_videos, sections, showcases
from bench.report.frames import strips
from bench.report.page import Chapter, write
from bench.report.plots import Style, horizon_panels, learning_panels, speed_panels, styles
from bench.report.published import published_tables
from bench.report.scores import SequenceScores
from bench.report.sure import neighbours
from bench.report.table import Table, printed, summary

if TYPE_CHECKING:
    from bench.tracking import Store


def build(store: Store, suite: str, out: Path) -> Path:
    """The path of the written report.html; report.md, table.csv and plots/*.png lie beside it.

    Raises:
        UserError: the store holds no cell of `suite`.
    """
    found = cells(store, suite)
    if found.empty:
        raise UserError(f"no cell of the suite {suite!r} is recorded in this store")
    looks, scores = styles(found), SequenceScores(store)
    chapters, parts = [], sections(found)
    for number, section in enumerate(parts, start=1):
        prefix = re.sub(r"[^\w.-]", "_", f"{number}-{section.dataset}")
        chapters.append(_chapter(store, scores, section, looks, prefix))
    claims = findings(all_claims(), parts, scores)
    return write(suite, chapters, looks, out, claims, published_tables(all_rows(), parts, store))


def tables(store: Store, suite: str, keys: Collection[str]) -> dict[str, Table]:
    """The printed tables by title that hold the cells with these `keys`, newest first.

    A baseline, which stands in many tables, counts only where no trained cell is asked for.
    """
    found = cells(store, suite)
    if found.empty:
        return {}
    asked = found[found["key"].isin(keys)]
    runs = set((asked if asked["baseline"].all() else asked[~asked["baseline"]])["run_id"])
    return {
        f"{section.title} · {section.setting}": printed(section, summary(section))
        for section in sections(found)
        if runs & set(section.cells["run_id"])
    }


def _chapter(
    store: Store, scores: SequenceScores, section: Section, looks: dict[str, Style], prefix: str
) -> Chapter:
    figures = summary(section)
    sure = neighbours(section, figures, scores.of(section))
    plots = [
        *learning_panels(curves(store, section), looks, prefix),
        *horizon_panels(horizon(store, section), looks, prefix),
        *speed_panels(section, figures, looks, prefix),
    ]
    if section.task == "recognition":
        named = named_videos(store, section)
        classes, pictures = class_table(named), confusions(named, prefix)
        return Chapter(section, figures, plots, sure, classes=classes, confusions=pictures)
    return Chapter(section, figures, plots, sure, strips(showcases(store, section), looks, prefix))
