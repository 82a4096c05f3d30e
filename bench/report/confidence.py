"""How much a table's answer rests on: a level, and the reasons for it in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from bench import records
from bench.report import recipes
from bench.report.cells import each
from bench.report.marks import DISTURBED
from bench.report.section import Section
from bench.report.statistics.clusters import FEW
from bench.report.statistics.jackknife import Pairs

Level = Literal["high", "medium", "low"]

ENOUGH_SEEDS = 3
ENOUGH_STEPS = 1000  # as many as claims ask for


@dataclass(frozen=True, slots=True)
class Confidence:
    """How far the answer of a table can be trusted, and why, what weakens it first."""

    level: Level
    reasons: tuple[str, ...]

    @property
    def label(self) -> str:
        """Such as `Low confidence`."""
        return f"{self.level.capitalize()} confidence"

    @property
    def said(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


def confidence(section: Section, summary: pd.DataFrame, pairs: Pairs | None) -> Confidence:
    """The confidence in the table: low where it has no interval, high where nothing weakens it.

    Args:
        section: the cells of the table.
        summary: the table, which is the ranking.
        pairs: the models' scores by sequence, where any are stored.
    """
    trained = summary[~summary["baseline"].astype(bool)]
    done = trained[trained["status"] == records.Status.DONE]
    counted = done[done["marked"] == ""]
    if counted.empty:
        reasons = dict.fromkeys(done["marked"])
        why = f"every trained model is marked {DISTURBED}: {'; '.join(reasons)}"
        return Confidence("low", (why if len(done) else "no trained model has finished",))
    found: list[tuple[Level, str]] = [
        _of_seeds(counted["n"].tolist()),
        _of_clusters(pairs),
        *_of_scores(pairs, dict(zip(counted["label"], counted["n"], strict=True))),
        *_of_steps(counted["steps"].dropna().tolist()),
        _of_marks(len(done) - len(counted), len(done)),
        _of_recipes(section.done, counted["label"].tolist()),
        *_of_unfinished(int(trained["n"].sum() - done["n"].sum())),
    ]
    order: Sequence[Level] = ("low", "medium", "high")
    found.sort(key=lambda reason: order.index(reason[0]))
    return Confidence(found[0][0], tuple(reason for _, reason in found))


def _of_seeds(counts: Sequence[int]) -> tuple[Level, str]:
    fewest, most = min(counts), max(counts)
    said = f"{fewest} to {most} seeds" if fewest < most else f"{most} seed{'s' * (most > 1)}"
    if fewest == 1:
        return "low", f"{said}, so chance is unknown"
    return ("high", said) if fewest >= ENOUGH_SEEDS else ("medium", f"only {said}")


def _of_clusters(pairs: Pairs | None) -> tuple[Level, str]:
    if pairs is None:
        return "low", "no scores by test sequence, so no interval"
    clusters = pairs.clusters
    if clusters.count < FEW:
        return "low", f"{clusters.said}, fewer than {FEW}, so no interval"
    return "medium" if clusters.unrecorded else "high", f"{clusters.said} tested"


def _of_scores(pairs: Pairs | None, seeds: Mapping[str, int]) -> Iterator[tuple[Level, str]]:
    """The models that are compared by fewer seeds than their figures are of, or by none."""
    if pairs is None:
        return
    for label, count in seeds.items():
        if (stored := pairs.seeds[label]) < count:
            said = f"scores by sequence of {stored} of {count} seeds of {label}"
            yield ("low", f"{said}, so no interval") if stored < 2 else ("medium", said)


def _of_steps(steps: Sequence[float]) -> Iterator[tuple[Level, str]]:
    if not steps:
        return
    few, many = f"{min(steps):,.0f}", f"{max(steps):,.0f}"
    said = f"{few} steps of training" if few == many else f"{few} to {many} steps of training"
    if min(steps) < ENOUGH_STEPS:
        yield "medium", f"{said}, fewer than {ENOUGH_STEPS:,}"
    else:
        yield "high", said


def _of_marks(marked: int, trained: int) -> tuple[Level, str]:
    if marked:
        return "medium", f"{marked} of {trained} trained models marked {DISTURBED}"
    return "high", f"no model marked {DISTURBED}"


def _of_recipes(cells: pd.DataFrame, labels: Sequence[str]) -> tuple[Level, str]:
    of_models = cells[cells["label"].isin(labels)]
    trials = {recipes.trials(cell["facts"]) for cell in each(of_models)}
    if trials == {0}:
        return "medium", "not tuned"
    if 0 in trials:
        return "medium", "only some models tuned"
    if len(trials) > 1:
        return "medium", "tuned by unequal numbers of trials"
    many = trials.pop()
    return "high", f"all tuned by {many} trial{'s' * (many > 1)}"


def _of_unfinished(cells: int) -> Iterator[tuple[Level, str]]:
    if cells:
        yield "medium", f"{cells} cell{'s' * (cells > 1)} without a result"
