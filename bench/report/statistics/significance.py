"""How sure the ranking of a table is, in plain sentences about pairs of models."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

import pandas as pd

from bench import records
from bench.records import Measure
from bench.report.columns import COLUMNS
from bench.report.load import Section
from bench.report.statistics.bootstrap import POINTS, RELATIVE, Difference, Pairs


def paired(section: Section, scores: pd.DataFrame) -> Pairs | None:
    """The models of `section` by their `SequenceScores`; None where fewer than two are stored."""
    if len(scores) < 2 or scores.columns.empty:
        return None
    is_share = COLUMNS[section.task][0].measure.unit == "%"
    return Pairs(scores, POINTS if is_share else RELATIVE)


def neighbours(section: Section, summary: pd.DataFrame, pairs: Pairs | None) -> tuple[str, ...]:
    """A sentence on each finished model that is not marked against the next, best first.

    Args:
        section: the cells of the table.
        summary: the table, which is the ranking.
        pairs: the models' scores by sequence; where some have none, the last sentence says so.
    """
    if pairs is None:
        return ()
    done = summary[(summary["status"] == records.Status.DONE) & (summary["marked"] == "")]
    measure = COLUMNS[section.task][0].measure
    trained = set(done.loc[~done["baseline"], "label"])
    ranking = [label for label in done["label"] if label in pairs.seeds]
    said = [sentence(pairs, *pair, measure, trained) for pair in pairwise(ranking)]
    without = [label for label in done["label"] if label not in pairs.seeds]
    if without:
        said.append(f"Not compared, for lack of scores by sequence: {', '.join(without)}")
    return tuple(said)


def sentence(
    pairs: Pairs, first: str, second: str, measure: Measure, trained: Collection[str]
) -> str:
    """A sentence on which of two models is better by `measure` and by how much, if any surely is.

    Args:
        pairs: the resampled scores.
        first: a model.
        second: the other; the better of the two by its mean is named first.
        measure: what is compared; its better direction decides.
        trained: the models whose result depends on a seed.
    """
    sign = -1 if measure.better == "lower" else 1
    difference = pairs.difference(first, second)
    if sign * difference.value < 0:
        first, second, difference = second, first, pairs.difference(second, first)
    unit, (gain, low, high) = pairs.scale.unit, written(difference, sign)
    interval = f"95 % interval {low} to {high} {unit}"
    seeds = {label: pairs.seeds[label] for label in (first, second) if label in trained}
    aside = caveat(seeds)
    if difference.is_sure:
        verb = "is ahead of" if 1 in seeds.values() else "beats"
        said = f"{first} {verb} {second} on {measure.label}: {gain} {unit} {measure.better}"
        return f"{said}, {interval}{counted(seeds)}{aside}"
    enough = ("with these seeds " if max(seeds.values()) > 1 else "with one seed ") if seeds else ""
    said = f"{first} and {second} cannot be told apart on {measure.label} {enough}"
    return f"{said}({first} {gain} {unit} {measure.better}, {interval}{aside})"


def written(difference: Difference, sign: int) -> tuple[str, str, str]:
    """The gain and its bounds, from low to high, with decimals enough that none reads 0."""
    bounds = sorted((sign * difference.low, sign * difference.high))
    figures = (sign * difference.value, *bounds)
    enough = (places for places in (0, 1) if all(round(f, places) or f == 0 for f in figures))
    decimals = next(enough, 2)
    gain, low, high = (f"{round(f, decimals) + 0.0:.{decimals}f}" for f in figures)  # no "-0"
    return gain, low, high


def counted(seeds: dict[str, int]) -> str:
    """`, 3 seeds`, or how many each has; "" of none."""
    if not seeds:
        return ""
    counts = list(dict.fromkeys(seeds.values()))
    return f", {' and '.join(map(str, counts))} seed{'s' if counts != [1] else ''}"


def caveat(seeds: dict[str, int]) -> str:
    """The remark that an interval with one seed does not cover the spread of seeds."""
    single = [label for label, count in seeds.items() if count == 1]
    return f"; it does not cover the spread of seeds of {' and '.join(single)}" if single else ""
