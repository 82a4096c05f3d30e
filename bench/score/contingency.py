"""Scores of forecast events, such as rain: of counts of hits, misses, false alarms and no event.

Each takes the four counts [thresholds], float64, and gives [thresholds]; 0 / 0 gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.score.metric import NotMeasured, Sums

if TYPE_CHECKING:
    from torch import Tensor


def csi(hits: Tensor, misses: Tensor, alarms: Tensor, rejections: Tensor) -> Tensor:
    """Critical success index: hits / (hits + misses + false alarms)."""
    del rejections
    return hits / (hits + misses + alarms)


def pod(hits: Tensor, misses: Tensor, alarms: Tensor, rejections: Tensor) -> Tensor:
    """Probability of detection: hits / (hits + misses)."""
    del alarms, rejections
    return hits / (hits + misses)


def far(hits: Tensor, misses: Tensor, alarms: Tensor, rejections: Tensor) -> Tensor:
    """False alarm ratio: false alarms / (hits + false alarms), 1 where nothing is forecast."""
    del misses, rejections
    return 1 - (hits / (hits + alarms)).nan_to_num(0.0)


def hss(hits: Tensor, misses: Tensor, alarms: Tensor, rejections: Tensor) -> Tensor:
    """Heidke skill score: how far the share of right pixels is on the way from chance to 1."""
    gain = 2 * (hits * rejections - misses * alarms)
    return gain / (
        (hits + misses) * (misses + rejections) + (hits + alarms) * (alarms + rejections)
    )


def over_thresholds(score: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], pool: int) -> Sums:
    """The mean of `score` over the thresholds that are reached at all, of counts of all clips.

    `score` takes hits, misses, false alarms and correct rejections [thresholds], float64.
    """

    def figure(counts: Tensor) -> float:
        reached = counts[counts[:, 0] + counts[:, 1] > 0].double()
        if not len(reached):
            raise NotMeasured("no pixel of these clips reaches a threshold")
        return float(score(*reached.unbind(1)).nan_to_num(0.0).mean())  # 0 where it is 0 / 0

    return Sums(lambda frames: frames.events(pool), figure)
