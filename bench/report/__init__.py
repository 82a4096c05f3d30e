"""The comparison report of a suite, made from MLflow alone and without torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import records
from bench.escape import file_stem
from bench.literature.claims import all_claims
from bench.literature.published import all_rows
from bench.report import recipes, speed
from bench.report.cells import cell_table
from bench.report.claims.outcomes import findings
from bench.report.classes import class_table, confusions, named_videos
from bench.report.confidence import confidence
from bench.report.curves import Curves
from bench.report.elsewhere import elsewhere_tables
from bench.report.frames import strips
from bench.report.page import Chapter, Report, write
from bench.report.plots.canvas import Style, styles
from bench.report.plots.fronts import speed_plots
from bench.report.plots.horizons import horizon_plots
from bench.report.plots.ladders import ladders
from bench.report.plots.learning import learning_plots
from bench.report.plots.profiles import with_profiles
from bench.report.plots.seeds import seed_plots
from bench.report.plots.sweeps import sweep_plots
from bench.report.published import published_tables
from bench.report.scores import SequenceScores
from bench.report.section import Section, headings, sections
from bench.report.showcase import showcases
from bench.report.statistics.best import best
from bench.report.statistics.predictability import with_predictability
from bench.report.statistics.ranks import ranks
from bench.report.statistics.significance import neighbours, paired
from bench.report.statistics.target import to_target
from bench.report.table import Table, printed, summary
from bench.report.verdict import verdict
from bench.report.viewer import viewers

if TYPE_CHECKING:
    import pandas as pd

    from bench.report.artifacts import Artifacts
    from bench.store.mlflow import Store


def build(
    store: Store,
    suite: str,
    out: Path,
    other: str | None = None,
    cells: pd.DataFrame | None = None,
    scores: SequenceScores | None = None,
    latex: bool = False,
) -> Path:
    """The path of the written report.html; beside it report.md, table.csv, scores.parquet, plots.

    Args:
        store: where the cells are recorded.
        suite: whose cells to show.
        out: the folder to write to.
        other: a suite whose trained cells are shown beside them, wherever they may be compared.
        cells: what `cell_table` says of them, where it has been read already.
        scores: where scores of the store may have been read already; keeps what is read.
        latex: whether to write tables.tex and plots as PDF, too.

    Raises:
        UserError: the store holds no cell of one of them.
    """
    if suite == records.SPEED and not other and not store.cells(suite):  # no suite of that name
        return speed.build(store, out)
    found = cell_table(store, suite, other) if cells is None else cells
    looks, scores = styles(found), scores or SequenceScores(store)
    parts, learning = sections(found), Curves(store)
    names = headings(parts)
    shown = [showcases(scores.artifacts, part) for part in parts]
    chapters = []
    for number, (section, view) in enumerate(zip(parts, viewers(shown), strict=True)):
        prefix = file_stem(f"{number + 1}-{section.dataset}")
        chapter = _chapter(learning, scores, section, looks, prefix)
        frames = strips(shown[number], looks, prefix, len(parts))
        chapters.append(replace(chapter, heading=names[number], strips=frames, viewer=view))
    tables = [(chapter.section, chapter.summary) for chapter in chapters]
    ranked = ranks(*zip(*tables, strict=True))
    return write(
        Report(
            suite=suite,
            other=other,
            chapters=chapters,
            ranks=[with_profiles(one, looks, f"0-{place}") for place, one in enumerate(ranked)],
            sweeps=[*ladders(tables, scores, looks), *sweep_plots(tables, looks)],
            elsewhere=elsewhere_tables(parts),
            claims=findings(all_claims(), parts, scores, learning),
            published=published_tables(all_rows(), parts, scores),
            styles=looks,
            scores=scores.table(parts),
            latex=latex,
        ),
        out,
    )


def tables(cells: pd.DataFrame, keys: Collection[str], scores: SequenceScores) -> dict[str, Table]:
    """The printed tables by title that hold those of the `cells` with these `keys`, newest first.

    A baseline, which stands in many tables, counts only where no trained cell is asked for.
    """
    asked = cells[cells["key"].isin(keys)]
    meant = set((asked if asked["baseline"].all() else asked[~asked["baseline"]])["key"])
    found = {}
    for section in sections(cells):
        if meant & set(section.cells["key"]):
            figures = summary(section)
            marks = best(section, figures, scores)
            found[f"{section.title} · {section.setting}"] = printed(section, figures, marks)
    return found


def _chapter(
    curves: Curves, scores: SequenceScores, section: Section, looks: dict[str, Style], prefix: str
) -> Chapter:
    pairs = paired(section, scores.of(section), scores.clusters(section))
    section = _with_damage(with_predictability(section, scores), scores.artifacts)
    figures = summary(section)
    said = verdict(section, figures, pairs)
    if apart := recipes.beside(section.cells, figures):
        said = (*said, apart)
    trusted = confidence(section, figures, pairs)
    sure, marks = neighbours(section, figures, pairs), best(section, figures, scores)
    learning = curves.of(section)
    target = to_target(section, figures, learning)
    plots = [
        *learning_plots(
            learning, looks, prefix, set(figures.loc[figures["marked"] != "", "label"])
        ),
        *speed_plots(section, figures, looks, prefix),
        *horizon_plots(scores.horizon(section), looks, prefix),
        *seed_plots(section, figures, looks, prefix),
    ]
    chapter = Chapter(section, figures, said, trusted, plots, best=marks, sure=sure, target=target)
    if section.task == "recognition":
        named = named_videos(scores.artifacts, section)
        classes, pictures = class_table(named), confusions(named, prefix)
        return replace(chapter, classes=classes, confusions=pictures)
    return chapter


def _with_damage(section: Section, artifacts: Artifacts) -> Section:
    """`section` with the column `damaged`: why artifacts that were read cannot be used, or ""."""
    damaged = [artifacts.damage(run_id) for run_id in section.cells["run_id"]]
    return replace(section, cells=section.cells.assign(damaged=damaged))
