"""The statistics of the report, as functions of DataFrames and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.errors import UserError, unknown
from nextframe.records import COMPARABLE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bench.report.statistics.jackknife import Pairs
    from bench.report.statistics.skills import Estimate, Skills

__all__ = ["differences", "half_width", "interquartile_mean", "probability_of_improvement"]


def half_width(values: Sequence[float]) -> float:
    """Half the 95 % t-interval of the mean of `values`, such as of seeds; NaN for fewer than two.

    Source: Student, "The probable error of a mean", Biometrika 6, 1908.
    """
    from bench.report.statistics import interval

    return interval.half_width(values)


def differences(scores: pd.DataFrame, metric: str = "mse") -> pd.DataFrame:
    """Each two models compared: the mean of `first` against that of `second`, 95 % intervals.

    A row has `first`, `second`, `difference`, its bounds `low` and `high`, their `unit` (% for
    errors, in per cent of the second) and `is_sure`, whether the interval leaves out 0; of a model
    that has a `marked` cell, such as one trained too briefly, nothing is sure. The intervals are a
    jackknife over clusters of test sequences, paired by sequence, and the spread of seeds; all of
    them hold together. The bounds are NaN where there is no interval: one seed of a trained model,
    or under ten clusters. `bench.report.statistics.jackknife` names the sources.

    Args:
        scores: rows of `nextframe.scores` by sequence, of one data set and one setting.
        metric: the column to compare.

    Raises:
        UserError: there is no such column, it is a ratio of means, or the rows are of several data
            sets, test clips, budgets, recipes, devices or precisions.
    """
    import pandas as pd

    pairs = _pairs(scores, metric)
    labels = [*pairs.seeds]
    marked = {*scores.loc[scores["marked"] != "", "label"]}
    rows = []
    for place, first in enumerate(labels):
        for second in labels[place + 1 :]:
            found = pairs.difference(first, second)
            bounds = (found.value, found.low, found.high)
            is_sure = found.is_sure and not {first, second} & marked
            rows.append((first, second, *bounds, pairs.scale.unit, is_sure))
    columns = ["first", "second", "difference", "low", "high", "unit", "is_sure"]
    return pd.DataFrame(rows, columns=columns)


def _pairs(scores: pd.DataFrame, metric: str) -> Pairs:
    """The models of `scores`, to be compared by `metric`."""
    import numpy as np

    from bench.report.statistics.clusters import FEW, Clusters
    from bench.report.statistics.jackknife import Pairs
    from bench.report.statistics.significance import scale_of
    from bench.score.metrics import METRICS

    missing = {"sequence", "cluster", "run_id", "seed", "marked", *COMPARABLE} - {*scores.columns}
    if missing or scores.empty:
        raise UserError("there are no scores to compare: give rows of nextframe.scores by sequence")
    known = METRICS["recognition"] | METRICS["prediction"]
    if metric not in known or metric not in scores:
        raise unknown("metric of these scores", metric, known.keys() & {*scores.columns})
    if known[metric].ratio:
        raise UserError(f"{metric} is a ratio of means, which no sequence has: compare the means")
    trained = scores[~scores["baseline"].astype(bool)]
    for column in ("dataset", *COMPARABLE):
        of = scores if column in ("dataset", "data_digest") else trained
        found = of[column].unique()
        if len(found) > 1:
            several = ", ".join(map(str, found))
            raise UserError(f"these scores have several {column}s ({several}): choose one")
    scores = scores.drop_duplicates(["run_id", "sequence"])  # suites may share cells
    table = scores.pivot(index="sequence", columns=["label", "seed"], values=metric)
    if table.isna().to_numpy().any():
        raise UserError(f"some cells have no {metric} of some sequences: leave these cells out")
    seeds = scores.groupby("label")["seed"].nunique()
    baselines = scores.loc[scores["baseline"].astype(bool), "label"].unique()
    clusters = scores.groupby("sequence")["cluster"].first().reindex(table.index)
    return Pairs(
        table,
        scale_of(known[metric]),
        clusters=Clusters(clusters.to_numpy(np.int64)),
        fixed=[label for label in baselines if seeds[label] == 1],
        simultaneous=True,
        fewest=FEW,
    )


def interquartile_mean(skills: Sequence[NDArray[np.float64]]) -> Estimate:
    """The mean of the middle half of a model's `skills`, with its 95 % interval over seeds.

    Source: R. Agarwal et al., "Deep reinforcement learning at the edge of the statistical
    precipice", NeurIPS 2021, section 4.3; the interval is a bootstrap stratified by array.

    Args:
        skills: an array of the seeds' for each family of data sets; each family weighs the same.

    Raises:
        UserError: there is no family, or one without a finite skill.
    """
    return _skills(skills).iqm


def probability_of_improvement(
    first: Sequence[NDArray[np.float64]], second: Sequence[NDArray[np.float64]]
) -> Estimate:
    """The probability that a seed of `first` has more skill than one of `second`, with interval.

    Source: as of `interquartile_mean`, section 4.3; ties count half.

    Args:
        first: an array of the seeds' skills for each family of data sets.
        second: the other model's, families in the same order.

    Raises:
        UserError: as of `interquartile_mean`, or the two have not the same number of families.
    """
    if len(first) != len(second):
        raise UserError(f"one model has {len(first)} families of skills, the other {len(second)}")
    return _skills(first).improvement(_skills(second))


def _skills(skills: Sequence[NDArray[np.float64]]) -> Skills:
    import numpy as np

    from bench.report.statistics.skills import Skills

    families = [np.asarray(seeds) for seeds in skills]
    whole = (seeds.ndim == 1 and len(seeds) and np.isfinite(seeds).all() for seeds in families)
    if not families or not all(whole):
        raise UserError("skills are an array of finite numbers for each family: those of the seeds")
    return Skills(families)
