"""Which models share the mark of the best in each column of a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from bench import records
from bench.report.columns import COLUMNS, SKILLS, Column, further
from bench.report.scores import SequenceScores
from bench.report.section import Section
from bench.report.statistics.clusters import FEW, Clusters
from bench.report.statistics.jackknife import Pairs
from bench.report.statistics.significance import paired, sign_of
from bench.score.metric import Metric
from bench.score.metrics import METRICS, RECORDED, REFERENCE

if TYPE_CHECKING:  # the report needs no torch
    from datasets.contract import TaskName


@dataclass(frozen=True, slots=True)
class Best:
    """Which models are marked, and what the mark rests on.

    Attributes:
        labels: by name of a column of quality, all models that cannot be told from the best one;
            none where nothing tells.
        note: what the mark means, in a sentence; "" where nothing competes.
    """

    labels: Mapping[str, frozenset[str]] = field(default_factory=dict)
    note: str = ""

    def is_marked(self, label: str, column: Column) -> bool:
        """Whether that model has the mark in a column of quality."""
        return label in self.labels.get(column.name, ())


def best(section: Section, summary: pd.DataFrame, scores: SequenceScores) -> Best:
    """The marks of the tables of `section`, by comparisons that hold together over each column.

    A model of a marked cell competes in nothing. Where trained models have one seed only, nothing
    is marked, for there is no interval between them; nor is a column of which no scores by sequence
    are stored.
    """
    is_rival = (summary["status"] == records.Status.DONE) & (summary["marked"] == "")
    rivals = summary[is_rival].set_index("label")
    if len(rivals) < 2:
        return Best()
    clusters = scores.clusters(section)
    trained = rivals.index[~rivals["baseline"].astype(bool)]
    pairs: dict[str, Pairs | None] = {}
    labels = {}
    for column, score in _compared(section.task):
        if score not in pairs:
            pairs[score] = paired(section, scores.of(section, score), clusters, score)
        sign = sign_of(METRICS[section.task][score])
        found = _sharing(rivals[column.name].dropna(), column, pairs[score], sign, trained)
        if found := found - _without_skill(rivals, column):
            labels[column.name] = found
    lead = pairs[COLUMNS[section.task][0].name]
    has_reference = bool((rivals["model"] == REFERENCE["prediction"]).any())
    return Best(labels, _said(clusters, has_reference) if labels else _unsaid(clusters, lead))


def _compared(task: TaskName) -> Iterator[tuple[Column, str]]:
    """The columns that compete in quality, and the score by sequence that tells models apart in it.

    A ratio of means is no mean of scores. But what it is divided by is a mean of the truth alone,
    the same for all models: so they stand to each other as the means that are divided. Skill
    against copy-last is its metric on another scale.
    """
    of_skills = {column.name: name for name, column in SKILLS.items()}
    for column in (*COLUMNS[task], *further(task)):
        metric = RECORDED[task].get(of_skills.get(column.name, column.name))
        if metric is not None and metric.better is not None:
            yield column, metric.parts[0]


def _sharing(
    figures: pd.Series[float],
    column: Column,
    pairs: Pairs | None,
    sign: int,
    trained: Collection[str],
) -> frozenset[str]:
    """The labels of `figures` that cannot be told from the best; none where that is not known.

    Nor is it known where the scores, whose gains have that `sign`, say that another is better: a
    seed may have none.
    """
    if pairs is None or len(figures) < 2:
        return frozenset()
    first = str(figures.idxmin() if column.measure.better == "lower" else figures.idxmax())
    told = [label for label in figures.index if label in pairs.seeds and pairs.has_interval(label)]
    competing = [label for label in figures.index if label in trained]
    if first not in told or (competing and not {*competing} & {*told}):
        return frozenset()
    gains = {label: pairs.difference(label, first) for label in told}
    if any(gain.is_surely_better(sign) for gain in gains.values()):
        return frozenset()
    return frozenset(label for label, gain in gains.items() if not gain.is_sure)


def _without_skill(rivals: pd.DataFrame, column: Column) -> frozenset[str]:
    """The labels whose figure is worse than that of the trivial prediction: never marked."""
    figures = rivals[column.name]
    threshold = 0.0
    if not _is_skill(column):
        reference = figures[rivals["model"] == REFERENCE["prediction"]].dropna()
        if reference.empty:
            return frozenset()
        threshold = reference.iloc[0]
    is_worse = figures > threshold if column.measure.better == "lower" else figures < threshold
    return frozenset(figures.index[is_worse])


def _is_skill(column: Column) -> bool:
    """Whether 0 is what the trivial prediction has."""
    ratio = column.measure.ratio if isinstance(column.measure, Metric) else None
    return column in SKILLS.values() or (ratio is not None and ratio.is_gain)


def _said(clusters: Clusters, lost: bool) -> str:
    how = f"at 95 % confidence, over {clusters.said}"
    but = ", but nothing worse than copying the last frame" if lost else ""
    said = f"Bold: the best and all that cannot be told from it {how}{but}"
    return f"{said}; of costs the best figure."


def _unsaid(clusters: Clusters, pairs: Pairs | None) -> str:
    why = "no scores by sequence are stored"
    if pairs is not None:
        why = "a model of one seed has no interval"
        why = f"the test has {clusters.said}" if clusters.count < FEW else why
    return f"No quality is bold, for {why}; of costs the best figure is."
