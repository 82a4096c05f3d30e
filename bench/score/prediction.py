"""The test of a predictor: every predicted frame scored, and some of them kept."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from bench.score.frame_scores import FrameScorer, FrameScores
from bench.score.metrics import PREDICTION
from bench.score.result import usual_speed
from bench.score.showcase import Showcase, chosen
from bench.train.held_out import Forward, HeldOut
from bench.train.task import Task


def score_predictions(
    task: Task,
    forward: Forward,
    held_out: HeldOut,
    showcase_clips: int,
    compared: Collection[str],
    clusters: Tensor | None = None,
) -> FrameScores:
    """A score for every predicted frame; of `showcase_clips` the pixels, too.

    Of the metrics that are only stored, those whose name is in `compared` are computed. `clusters`
    has the cluster of each clip, int64 [count] (default: each is its own).

    Raises:
        ValueError: where a prediction has another shape than the truth.
        Invalid: where it is no frames in [0,1], or the guard of `held_out` finds fault.
    """
    context_frames = task.spec.context_frames
    showcase = Showcase(chosen(held_out, context_frames, showcase_clips))
    metrics = [metric for metric in PREDICTION if metric.is_recorded or metric.name in compared]
    scorer, speeds = FrameScorer(metrics), []
    for batch in held_out.passes(forward, context_frames):
        task.check(batch)
        scorer.add(batch.output, batch.truth)
        speeds.append(batch.truth.shape[:2].numel() / batch.seconds)
        showcase.take(batch, batch.output.float().clamp(0, 1))
    return scorer.scores(showcase.arrays(), usual_speed(speeds), clusters)
