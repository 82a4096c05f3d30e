"""Intervals of differences between means over test sequences, which come in clusters, and seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from bench.report.statistics.clusters import Clusters
from bench.report.statistics.interval import CONFIDENCE

SMALLEST = 1e-12  # a mean of 0 stands as this, so that two perfect models are alike
DECIMALS = 9  # of a difference; what is smaller is rounding

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scale:
    """How means are compared: the unit, where they are subtracted, and back into the unit."""

    unit: str
    of: Callable[[Any], Any]
    back: Callable[[Any], Any]


RELATIVE = Scale(
    "%", lambda mean: np.log(np.maximum(mean, SMALLEST)), lambda change: 100 * np.expm1(change)
)
"""In per cent of the second; of means that are not negative."""
POINTS = Scale("points", lambda share: 100 * share, lambda change: change)
"""Of shares in [0,1], in percentage points."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of one model against another's with its 95 % interval, in the scale's unit.

    The bounds are NaN where there is no interval: one seed of a trained model, or too few clusters.
    """

    value: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        """Whether there is an interval and it leaves out 0."""
        return self.low > 0 or self.high < 0

    def is_surely_better(self, sign: int) -> bool:
        """Whether it is sure, and a gain in a measure whose gains have that `sign`."""
        return self.is_sure and sign * self.value > 0

    @property
    def has_interval(self) -> bool:
        """Whether there is one."""
        return not np.isnan(self.low)


@dataclass(frozen=True, slots=True)
class Variance:
    """An estimated variance and its degrees of freedom; NaN where it cannot be estimated."""

    value: float
    freedom: float


@dataclass(frozen=True, slots=True)
class Contrast:
    """A sum and difference of means with what is known of its errors, on the scale.

    Attributes:
        scale: how the means are compared.
        centre: the estimate.
        without: how far it moves when a cluster is left out, [clusters], by sample of sequences.
        freedom: the degrees of freedom of the variance that these give, by sample.
        seeds: of each mean the variance that is its seeds' own.
        pairs: how many such contrasts are to hold together.
    """

    scale: Scale
    centre: float
    without: Mapping[int, Floats]
    freedom: Mapping[int, float]
    seeds: tuple[Variance, ...]
    pairs: int = 1

    def __sub__(self, other: Contrast) -> Contrast:
        """This less `other`; where both are of one sample of sequences these stay paired."""
        nothing = np.zeros(())
        without = {
            sample: self.without.get(sample, nothing) - other.without.get(sample, nothing)
            for sample in {**self.without, **other.without}
        }
        return Contrast(
            self.scale,
            self.centre - other.centre,
            without,
            {**self.freedom, **other.freedom},
            self.seeds + other.seeds,
            max(self.pairs, other.pairs),
        )

    @property
    def difference(self) -> Difference:
        """The estimate with its interval."""
        clusters = [
            Variance(float((len(moved) - 1) / len(moved) * (moved**2).sum()), self.freedom[sample])
            for sample, moved in self.without.items()
        ]
        reach = np.hypot(_reach(clusters, self.pairs), _reach(self.seeds, self.pairs))
        bounds = np.array([self.centre, self.centre - reach, self.centre + reach])
        return Difference(*np.round(self.scale.back(bounds), DECIMALS).tolist())


class Pairs:
    """All pairs of the models of one table; the same scores give the same figures.

    The estimate is the mean over test sequences and seeds. Two things make it err, crossed with
    each other: which sequences were tested, and which seeds were trained (Owen, "The pigeonhole
    bootstrap", Annals of Applied Statistics 1, 2007).

    Sequences: whole clusters are left out, one after the other, the same for all models, so that
    what makes a sequence hard for all cancels. The jackknife's variance of what that changes holds
    for clusters of different sizes (Cameron, Gelbach & Miller, Review of Economics and Statistics
    90, 2008; MacKinnon, Nielsen & Webb, Journal of Applied Econometrics 38, 2023). Its degrees of
    freedom are those of Bell & McCaffrey (Survey Methodology 28, 2002): clusters less one where
    all are as large as each other, else fewer.

    Seeds: the variance of their means, less the part that is due to the sequences, with seeds less
    one degrees of freedom; those of two models add up as Welch has it (Biometrika 34, 1947).

    Each of the two gives a t-interval, and the interval of the estimate is the root of the sum of
    their squares (Banerjee, Sankhya 22, 1960): it covers 95 % or more, whatever the share of each.
    Degrees of freedom shared by both (Satterthwaite, Biometrics Bulletin 2, 1946) promise less:
    where the variance of two seeds happens to be small, it is trusted as much as that of a thousand
    clusters. A trained model with one seed has no interval, nor have too few clusters.

    Where the pairs of a table are `simultaneous`, all of their intervals hold together, whichever
    are looked at: what is allowed to fail is shared among all pairs (Dunn, Journal of the American
    Statistical Association 56, 1961). So in 95 % of tables no model is called better than its
    equal. The studentized range asks for less, but errs where each pair has a variance of its own
    with few degrees of freedom.

    results/reference/statistics.md has the coverage by simulation.
    """

    def __init__(
        self,
        scores: pd.DataFrame,
        scale: Scale,
        sample: int = 0,
        *,
        clusters: Clusters | None = None,
        fixed: Collection[str] = (),
        simultaneous: bool = False,
        fewest: int = 2,
    ) -> None:
        """Leave out each cluster of `scores`.

        Args:
            scores: one row a test sequence, one column a (label, seed), no NaN.
            scale: how means are compared.
            sample: tells tables of different test sequences apart, whose means are compared; those
                of the same sequences share a number.
            clusters: of the sequences (default: each is its own).
            fixed: the labels of models that owe nothing to a seed.
            simultaneous: whether all pairs are to hold together.
            fewest: clusters of which there is an interval.
        """
        self.scale = scale
        self.clusters = clusters or Clusters.single(len(scores))
        labels, values = [*scores.columns.get_level_values(0)], scores.to_numpy(np.float64)
        self.seeds = Counter(labels)
        self.fixed = frozenset(fixed)
        self._sample = sample
        means, without, sizes = values.mean(axis=0), *_left_out(values, self.clusters.of)
        self._enough = self.clusters.count >= fewest
        self._freedom = _freedom(sizes) if self._enough else np.nan
        of = {label: [n for n, its in enumerate(labels) if its == label] for label in self.seeds}
        self._centre = {label: float(scale.of(means[its].mean())) for label, its in of.items()}
        self._without = {
            label: scale.of(without[:, its].mean(axis=1)) - self._centre[label]
            for label, its in of.items()
        }
        self._variance = {
            label: Variance(0.0, 1.0)
            if label in self.fixed
            else _of_seeds(scale.of(means[its]), scale.of(without[:, its]))
            for label, its in of.items()
        }
        known = sum(not np.isnan(variance.value) for variance in self._variance.values())
        self._pairs = max(1, known * (known - 1) // 2) if simultaneous else 1

    def mean(self, label: str) -> Contrast:
        """The mean of one model, to be compared."""
        return Contrast(
            self.scale,
            self._centre[label],
            {self._sample: self._without[label]},
            {self._sample: self._freedom},
            (self._variance[label],),
            self._pairs,
        )

    def difference(self, first: str, second: str) -> Difference:
        """The mean of `first` against that of `second`."""
        return (self.mean(first) - self.mean(second)).difference

    def has_interval(self, label: str) -> bool:
        """Whether differences to other such models have an interval."""
        return self._enough and not np.isnan(self._variance[label].value)


def _left_out(values: Floats, clusters: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The means of `values` [N,columns] without each cluster [clusters,columns], and their sizes.

    The means are NaN where there is but one cluster.
    """
    order = np.argsort(clusters, kind="stable")
    _, starts, sizes = np.unique(clusters[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(values[order], starts, axis=0)
    rest = (len(values) - sizes)[:, None].astype(float)
    rest[rest == 0] = np.nan
    return (values.sum(axis=0) - sums) / rest, sizes.astype(np.float64)


def _freedom(sizes: Floats) -> float:
    """The degrees of freedom of the jackknife's variance over clusters of these `sizes`.

    Bell & McCaffrey's, where sequences are independent and spread alike: the variance is a
    quadratic form in the clusters' means, whose eigenvalues sum to its trace.
    """
    if len(sizes) < 2:
        return float("nan")
    share = sizes / sizes.sum()
    weight = (share / (1 - share)) ** 2
    trace = (weight * (1 / share - 1)).sum()
    of_square = (weight**2 * (1 / share**2 - 2 / share)).sum() + weight.sum() ** 2
    return float(trace**2 / of_square)


def _of_seeds(means: Floats, without: Floats) -> Variance:
    """The variance of the mean over seeds that is the seeds' own; NaN for one seed.

    Part of what the seeds' `means` [seeds] differ by is that each does better on other sequences;
    that part is in the jackknife's variance already, and is taken off. `without` [clusters,seeds]
    are the same without each cluster.
    """
    clusters, seeds = without.shape
    if seeds < 2 or clusters < 2:
        return Variance(float("nan"), float("nan"))
    moved = without - means
    own = moved - moved.mean(axis=1, keepdims=True)
    by_sequences = (clusters - 1) / clusters * (own**2).sum() / (seeds - 1)
    left = max(0.0, float(np.var(means, ddof=1) - by_sequences))
    return Variance(left / seeds, seeds - 1.0)


def _reach(variances: Iterable[Variance], pairs: int) -> float:
    """Half the t-interval of an error whose variance is the sum of `variances` (Welch).

    So many `pairs` are to hold together.
    """
    there = [its for its in variances if its.value != 0 or np.isnan(its.freedom)]
    total = sum(variance.value for variance in there)
    if not there or np.isnan(total):
        return float(total)
    freedom = total**2 / sum(variance.value**2 / variance.freedom for variance in there)
    tail = (1 - CONFIDENCE) / 2 / pairs
    return float(stdtrit(freedom, 1 - tail) * np.sqrt(total))
