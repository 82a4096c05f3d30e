"""The comparison report of a suite, made from MLflow alone and without torch."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.report.classes import class_table, confusions
from bench.report.collect import Section, cells, curves, horizon, named_videos, sections, showcases
from bench.report.frames import strips
from bench.report.fronts import speed_plots
from bench.report.horizons import horizon_plots
from bench.report.learning import learning_plots
from bench.report.page import Chapter, write
from bench.report.plots import Style, styles
from bench.report.scores import SequenceScores
from bench.report.seeds import seed_plots
from bench.report.sure import neighbours
from bench.report.sweeps import sweep_plots
from bench.report.table import Table, printed, summary
from bench.report.viewer import viewers

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
    parts = sections(found)
    shown = [[held for held in showcases(store, part) if len(held.sequence)] for part in parts]
    chapters = []
    for number, (section, view) in enumerate(zip(parts, viewers(shown), strict=True)):
        prefix = re.sub(r"[^\w.-]", "_", f"{number + 1}-{section.dataset}")
        chapter = _chapter(store, scores, section, looks, prefix)
        frames = strips(shown[number], looks, prefix, len(parts))
        chapters.append(replace(chapter, strips=frames, viewer=view))
    swept = sweep_plots([(chapter.section, chapter.summary) for chapter in chapters], looks)
    return write(suite, chapters, swept, looks, out)


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
        *learning_plots(curves(store, section), looks, prefix),
        *speed_plots(section, figures, looks, prefix),
        *horizon_plots(horizon(store, section), looks, prefix),
        *seed_plots(section, figures, looks, prefix),
    ]
    if section.task == "recognition":
        named = named_videos(store, section)
        classes, pictures = class_table(named), confusions(named, prefix)
        return Chapter(section, figures, plots, sure, classes=classes, confusions=pictures)
    return Chapter(section, figures, plots, sure)
