"""Skill over families of data sets and seeds, which no single data set or lucky seed decides.

The interquartile mean, the probability of improvement and the performance profile, with intervals
by a bootstrap stratified by family. Source: R. Agarwal et al., "Deep reinforcement learning at the
edge of the statistical precipice", NeurIPS 2021, sections 4.1 to 4.3. A task there is a family of
data sets here, a run a seed; where families have different numbers of seeds, each family still
weighs the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.report.section import Section
from bench.report.statistics.interval import CONFIDENCE
from bench.score.metrics import RECORDED

RESAMPLES = 2000
SEED = 0
_TAILS = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval over seeds; the bounds are NaN where one seed tells none."""

    value: float
    low: float
    high: float


class Skills:
    """The skill of one model: an array of its seeds' for each family, of the same order for all."""

    def __init__(self, by_family: Sequence[Floats]) -> None:
        self.by_family = tuple(by_family)
        self.values = np.concatenate(self.by_family)
        self.weights = np.concatenate(
            [np.full(len(seeds), 1 / len(seeds) / len(by_family)) for seeds in by_family]
        )
        random = np.random.default_rng(SEED)
        self._draws = [random.choice(seeds, (RESAMPLES, len(seeds))) for seeds in self.by_family]

    @property
    def has_interval(self) -> bool:
        """Whether every family has several seeds, without which there is no spread to resample."""
        return min(map(len, self.by_family)) > 1

    @cached_property
    def iqm(self) -> Estimate:
        """The interquartile mean: the mean of the middle half of all seeds of all families."""
        draws = interquartile_mean(np.concatenate(self._draws, axis=1), self.weights)
        value = interquartile_mean(self.values[None], self.weights)[0]
        return _estimate(value, draws, self.has_interval)

    def improvement(self, other: Skills) -> Estimate:
        """The probability that a seed of this model has more skill than one of the other's.

        The mean over families of the Mann-Whitney statistic; ties count half.
        """
        draws = _above(self._draws, other._draws)
        value = _above([s[None] for s in self.by_family], [s[None] for s in other.by_family])[0]
        return _estimate(value, draws, self.has_interval and other.has_interval)

    def profile(self, thresholds: Floats) -> tuple[Floats, Floats | None]:
        """The share of seeds with more skill than each threshold, [N], and its band [2,N]."""
        share = (self.values[:, None] > thresholds).T @ self.weights
        if not self.has_interval:
            return share, None
        draws = np.concatenate(self._draws, axis=1)
        shares = np.stack([(draws > threshold) @ self.weights for threshold in thresholds], 1)
        return share, np.quantile(shares, _TAILS, axis=0)


def family(dataset: str) -> str:
    """The family of a data set: its name before variants and options."""
    return dataset.partition("(")[0].partition("/")[0]


def skills_of(sections: Mapping[str, Section]) -> dict[str, Skills]:
    """The trained models' skills by label, of those that have them in every family.

    Args:
        sections: the section of each data set; of one family the mean over its data sets counts,
            of the seeds that have them all.
    """
    key = RECORDED["prediction"]["skill"].key
    columns = ["label", "seed", "skill", "baseline", "dataset"]
    cells = pd.concat(
        [
            section.done.rename(columns={key: "skill"})
            .assign(dataset=name)
            .reindex(columns=columns)
            .dropna(subset="skill")
            for name, section in sections.items()
        ]
    )
    cells = cells[~cells["baseline"].astype(bool)]
    of_all = Counter(map(family, sections))
    by_seed = cells.assign(family=cells["dataset"].map(family)).groupby(["label", "family", "seed"])
    means, counts = by_seed["skill"].mean(), by_seed["dataset"].nunique()
    asked = [of_all[name] for name in counts.index.get_level_values("family")]
    whole = means[counts.to_numpy() == asked]
    found = {}
    for label, of_model in whole.groupby("label"):
        seeds = [group.to_numpy(np.float64) for _, group in of_model.groupby("family")]
        if len(seeds) == len(of_all):
            found[str(label)] = Skills(seeds)
    return found


def interquartile_mean(values: Floats, weights: Floats) -> Floats:
    """The weighted mean of the middle half of each row of `values` [R,N]; `weights` [N] add to 1.

    A value at an edge of the middle half counts by its part inside.
    """
    order = np.argsort(values, axis=1)
    ends = np.cumsum(weights[order], axis=1)
    starts = ends - weights[order]
    inside = np.clip(ends, 0.25, 0.75) - np.clip(starts, 0.25, 0.75)
    found: Floats = (np.take_along_axis(values, order, axis=1) * inside).sum(1) / inside.sum(1)
    return found


def _above(firsts: Sequence[Floats], seconds: Sequence[Floats]) -> Floats:
    """The mean over families of the share of pairs in which the first is above, [R]."""
    shares = []
    for first, second in zip(firsts, seconds, strict=True):
        difference = np.sign(first[:, :, None] - second[:, None, :])
        shares.append((difference.mean((1, 2)) + 1) / 2)
    found: Floats = np.mean(shares, axis=0)
    return found


def _estimate(value: float, draws: Floats, has_interval: bool) -> Estimate:
    low, high = np.quantile(draws, _TAILS).tolist() if has_interval else (np.nan, np.nan)
    return Estimate(float(value), low, high)
