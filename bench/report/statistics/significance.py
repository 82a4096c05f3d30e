"""How sure the ranking of a table is, in plain sentences about pairs of models."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import isnan
from typing import Any

import pandas as pd

from bench import records
from bench.records import Measure
from bench.report.columns import COLUMNS
from bench.report.section import Section
from bench.report.statistics.clusters import FEW, Clusters
from bench.report.statistics.jackknife import POINTS, RELATIVE, Difference, Pairs, Scale
from bench.score.metric import Metric
from bench.score.metrics import METRICS

MOST = 999  # of a unit, such as per cent, beyond which a difference has no figure


def paired(
    section: Section, scores: pd.DataFrame, clusters: Clusters, score: str = ""
) -> Pairs | None:
    """The models of `section` by their `SequenceScores`; None where fewer than two are stored.

    Args:
        section: the cells of the table.
        scores: by sequence.
        clusters: of the sequences.
        score: what the scores are (default: what ranks the table).
    """
    if len(scores) < 2 or scores.columns.empty:
        return None
    metric = METRICS[section.task][score or COLUMNS[section.task][0].name]
    return Pairs(
        scores,
        scale_of(metric),
        clusters=clusters,
        fixed=fixed(section),
        simultaneous=True,
        fewest=FEW,
    )


def scale_of(metric: Metric) -> Scale:
    """How means of `metric` are compared: errors in per cent, shares in points, others as they are.

    A figure such as SSIM may be 0 or less, of which nothing is so many per cent.
    """
    if metric.better == "lower":
        return RELATIVE
    return POINTS if metric.perfect == 1 else Scale(metric.unit, _itself, _itself)


def _itself(value: Any) -> Any:
    return value


def fixed(section: Section) -> set[str]:
    """The labels of the models of `section` that owe nothing to a seed.

    These are not trained and ran once: one with several seeds draws samples.
    """
    done = section.done
    alone = ~done["label"].duplicated(keep=False)
    return set(done.loc[done["baseline"] & alone, "label"])


def neighbours(section: Section, summary: pd.DataFrame, pairs: Pairs | None) -> tuple[str, ...]:
    """A sentence on each finished model that is not marked against the next, best first.

    Args:
        section: the cells of the table.
        summary: the table, which is the ranking.
        pairs: the models' scores by sequence; where some have none or no interval, the last
            sentences say so.
    """
    if pairs is None:
        return ()
    is_compared = (summary["status"] == records.Status.DONE) & (summary["marked"] == "")
    done = summary.loc[is_compared, "label"]
    measure = COLUMNS[section.task][0].measure
    stored = [label for label in done if label in pairs.seeds]
    ranking = [label for label in stored if pairs.has_interval(label)]
    said = [sentence(pairs, *pair, measure) for pair in pairwise(ranking)]
    if said:
        said.append(
            f"All these intervals hold together with 95 % confidence, over {pairs.clusters.said}"
        )
    alone = [label for label in stored if label not in ranking]
    if alone and pairs.clusters.count >= FEW:
        said.append(f"One seed, so no interval, only figures: {', '.join(alone)}")
    elif alone:
        said.append(f"No interval, only figures: the test has {pairs.clusters.said}")
    without = [label for label in done if label not in pairs.seeds]
    if without:
        said.append(f"Not compared, for lack of scores by sequence: {', '.join(without)}")
    return tuple(said)


def sentence(pairs: Pairs, first: str, second: str, measure: Measure) -> str:
    """A sentence on which of two models is better by `measure` and by how much, if any surely is.

    Args:
        pairs: the models' scores.
        first: a model.
        second: the other; the better of the two by its mean is named first.
        measure: what is compared; its better direction decides.
    """
    sign = sign_of(measure)
    difference = pairs.difference(first, second)
    if sign * difference.value < 0:
        first, second, difference = second, first, pairs.difference(second, first)
    unit, (gain, low, high) = pairs.scale.unit, written(difference, sign)
    trained = [label for label in (first, second) if label not in pairs.fixed]
    basis = counted({label: pairs.seeds[label] for label in trained}, pairs.clusters)
    if not difference.has_interval and difference.value == 0:
        return f"{first} and {second} have the same {measure.label}{basis}: no interval"
    if not difference.has_interval:
        said = f"{first} has the better {measure.label}, {gain} {unit} {measure.better} than"
        return f"{said} {second}{basis}: no interval"
    interval = f"95 % interval {low} to {high} {unit}"
    if difference.is_sure:
        said = f"{first} beats {second} on {measure.label}: {gain} {unit} {measure.better}"
        return f"{said}, {interval}{basis}"
    said = f"{first} and {second} cannot be told apart on {measure.label}"
    return f"{said} ({first} {gain} {unit} {measure.better}, {interval}{basis})"


def sign_of(measure: Measure) -> int:
    """What a difference is multiplied by so that a gain by `measure` is above 0."""
    return -1 if measure.better == "lower" else 1


def written(difference: Difference, sign: int) -> tuple[str, str, str]:
    """The gain and its bounds, from low to high, with decimals enough that none reads 0.

    Nor does an interval read as one number. What is beyond `MOST` is told as that: of two seeds
    that differ the bound of a ratio may have fifty digits.
    """
    bounds = sorted((sign * difference.low, sign * difference.high))
    figures = (sign * difference.value, *bounds)
    known = [figure for figure in figures if not isnan(figure)]

    def tell(places: int) -> bool:
        low, high = (round(bound, places) for bound in bounds)
        apart = low != high or bounds[0] == bounds[1]
        return apart and all(round(f, places) or f == 0 for f in known)

    decimals = next(filter(tell, (0, 1)), 2)
    gain, low, high = (_short(figure, decimals) for figure in figures)
    return gain, low, high


def _short(figure: float, decimals: int) -> str:
    if abs(figure) > MOST:
        return f"more than {MOST}" if figure > 0 else f"less than -{MOST}"
    return f"{round(figure, decimals) + 0.0:.{decimals}f}"  # no "-0"


def counted(seeds: Mapping[str, int], clusters: Clusters | None) -> str:
    """Such as `, 3 seeds, 42 groups`; of models that owe nothing to a seed, the clusters alone."""
    counts = list(dict.fromkeys(seeds.values()))
    said = f", {' and '.join(map(str, counts))} seed{'s' if counts != [1] else ''}" if seeds else ""
    return f"{said}, {clusters.said}" if clusters else said
