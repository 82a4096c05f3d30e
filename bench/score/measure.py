"""The test of a cell, by task."""

from __future__ import annotations

from collections.abc import Callable

from bench.score.prediction import score_predictions
from bench.score.recognition import score_clips
from bench.score.result import Result
from bench.train.held_out import Forward, HeldOut
from bench.train.task import Prediction, Task

Scorer = Callable[[Task, Forward, HeldOut, int], Result]


def measure(task: Task, forward: Forward, held_out: HeldOut, showcase_clips: int) -> Result:
    """The scores of the held-out clips, with the frames of `showcase_clips` of them."""
    by_task: Scorer = score_predictions if isinstance(task, Prediction) else score_clips
    return by_task(task, forward, held_out, showcase_clips)
