"""The test of a cell, by task."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from bench.score.prediction import score_predictions
from bench.score.recognition import score_clips
from bench.score.result import Result
from bench.score.samples import Draws
from bench.train.held_out import Forward, HeldOut
from bench.train.task import Prediction, Task


def measure(
    task: Task,
    forward: Forward,
    held_out: HeldOut,
    showcase_clips: int,
    compared: Collection[str] = (),
    clusters: Tensor | None = None,
    climatology: Tensor | None = None,
    draws: Draws | None = None,
) -> Result:
    """The scores of the held-out clips, with the frames of `showcase_clips` of them.

    `compared` names the stored metrics that are wanted, for published figures; `clusters` has the
    cluster of each clip, int64 [count] (default: each is its own); `climatology` is the mean
    training frame [C,H,W] in [0,1], where the data set has one; `draws` draws the futures of a
    predictor that has several.
    """
    if isinstance(task, Prediction):
        return score_predictions(
            task, forward, held_out, showcase_clips, compared, clusters, climatology, draws
        )
    return score_clips(task, forward, held_out, clusters)
