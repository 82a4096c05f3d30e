"""Bootstrap intervals of differences between means over test sequences and seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri, stdtrit

from bench.report.statistics.interval import CONFIDENCE

RESAMPLES = 2000
SEED = 0
DRAWS_AT_ONCE = 2_000_000
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
    """The mean of one model against another's with its 95 % interval, in the scale's unit."""

    value: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class Contrast:
    """A sum and difference of means with what is known of its errors, on the scale.

    Attributes:
        scale: how the means are compared.
        centre: the estimate.
        draws: the same of resampled test sequences, [RESAMPLES].
        seeds: of each mean the variance that is its seeds' own, and their number.
    """

    scale: Scale
    centre: float
    draws: Floats
    seeds: tuple[tuple[float, int], ...]

    def __sub__(self, other: Contrast) -> Contrast:
        """This less `other`; sequences that were drawn alike for both stay paired."""
        centre, draws = self.centre - other.centre, self.draws - other.draws
        return Contrast(self.scale, centre, draws, self.seeds + other.seeds)

    @property
    def difference(self) -> Difference:
        """The estimate with its interval."""
        by_seeds = self._by_seeds()
        # both signs: the contrast turned round has the same interval, turned round
        both = np.concatenate([self.draws + by_seeds, self.draws - by_seeds])
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(both, [tail, 1 - tail])
        figures = self.scale.back(np.array([self.centre, low, high]))
        return Difference(*np.round(figures, DECIMALS).tolist())

    def _by_seeds(self) -> Floats:
        """Draws of the error that the choice of seeds adds to the estimate, [RESAMPLES]."""
        variances, counts = np.array(self.seeds).T
        if not variances.any():
            return np.zeros(RESAMPLES)
        freedom = np.maximum(counts - 1, 1)
        welch = variances.sum() ** 2 / (variances**2 / freedom).sum()
        drawn = np.random.default_rng(SEED).standard_t(welch, RESAMPLES)
        return np.asarray(np.sqrt(variances.sum()) * drawn)


class Pairs:
    """All pairs of the models of one table; the same scores give the same figures.

    Test sequences are resampled with replacement, the same for every model, so that what makes a
    sequence hard for all cancels; the interval is the percentile one, widened for few sequences.
    Other seeds would give other models, so the seeds' spread belongs to it too. Sequences and seeds
    are crossed, not nested: they are drawn apart from each other (Owen, "The pigeonhole bootstrap",
    Annals of Applied Statistics 1, 2007). To resample three seeds covers 81 % where 95 % is said,
    so what they add is drawn from Student's t with Welch's degrees of freedom (Biometrika 34,
    1947), as for the mean of a few seeds. With one seed of a trained model the interval does not
    cover the spread of its seeds.

    Means of several tables are compared through `mean`: tables of the same test sequences are
    resampled alike where they share a `stream`, those of different ones need a stream each.
    """

    def __init__(self, scores: pd.DataFrame, scale: Scale, stream: int = 0) -> None:
        """Resample `scores`: one row a test sequence, one column a (label, seed), no NaN."""
        self.scale = scale
        labels, values = scores.columns.get_level_values(0), scores.to_numpy(np.float64)
        self.seeds = Counter(labels)
        by_label = {label: values[:, labels == label] for label in self.seeds}
        self._place = {label: place for place, label in enumerate(by_label)}
        means = np.column_stack([seeds.mean(axis=1) for seeds in by_label.values()])
        self._centres: Floats = scale.of(means.mean(axis=0))
        around = scale.of(_resampled_means(means, stream)) - self._centres
        self._draws: Floats = self._centres + _widening(len(means)) * around
        self._spreads = {label: _seed_variance(seeds, scale) for label, seeds in by_label.items()}

    def mean(self, label: str) -> Contrast:
        """The mean of one model, to be compared."""
        place, seeds = self._place[label], (self._spreads[label], self.seeds[label])
        return Contrast(self.scale, self._centres[place], self._draws[:, place], (seeds,))

    def difference(self, first: str, second: str) -> Difference:
        """The mean of `first` against that of `second`."""
        return (self.mean(first) - self.mean(second)).difference


def _resampled_means(scores: Floats, stream: int) -> Floats:
    """The means of `scores` [N,models] over N rows drawn with replacement: [RESAMPLES,models]."""
    count, random = len(scores), np.random.default_rng(SEED + stream)
    block = max(1, DRAWS_AT_ONCE // count)
    found = []
    for start in range(0, RESAMPLES, block):
        rows = min(block, RESAMPLES - start)
        drawn = random.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        found.append(times @ scores / count)
    return np.concatenate(found)


def _widening(count: int) -> float:
    """The factor that widens a percentile interval over `count` values to the t-interval.

    Source: T. Hesterberg, "What teachers should know about the bootstrap" (2014), the expanded
    percentile interval, in width where that has it in level.
    """
    if count < 2:
        return float("nan")
    upper = (1 + CONFIDENCE) / 2
    ratio = stdtrit(count - 1, upper) / ndtri(upper)
    return float(ratio * np.sqrt(count / (count - 1)))


def _seed_variance(scores: Floats, scale: Scale) -> float:
    """The variance of the mean of `scores` [N,seeds] that is the seeds' own; 0 for one seed.

    Part of what the seeds' means differ by is that each does better on other sequences; that part
    is in the resampling of the sequences already, and is taken off.
    """
    sequences, seeds = scores.shape
    if seeds < 2 or sequences < 2:
        return 0.0
    means = scores.mean(axis=0)
    rest = scores - means - scores.mean(axis=1, keepdims=True) + scores.mean()
    by_sequence = (rest**2).sum() / ((seeds - 1) * (sequences - 1))
    share = by_sequence / sequences / means.var(ddof=1) if means.var() > 0 else 1.0
    return float(np.var(scale.of(means), ddof=1) / seeds * max(0.0, 1 - share))
