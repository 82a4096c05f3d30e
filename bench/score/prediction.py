"""The test of a predictor: every predicted frame scored, and some of them kept."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from torch import Tensor

from bench.score.frame_scores import FrameScorer, FrameScores
from bench.score.metric import NEEDED_CONTEXT, ClipFacts
from bench.score.metrics import PREDICTION
from bench.score.result import common_speed
from bench.score.samples import Draws
from bench.score.showcase import Showcase, chosen
from bench.score.trivial import NAMES, of_held_out
from bench.train.held_out import Forward, HeldOut, shown, to_float
from bench.train.task import Task


def score_predictions(
    task: Task,
    forward: Forward,
    held_out: HeldOut,
    showcase_clips: int,
    compared: Collection[str],
    clusters: Tensor | None = None,
    climatology: Tensor | None = None,
    draws: Draws | None = None,
) -> FrameScores:
    """A score for every predicted frame; of `showcase_clips` the pixels, too.

    Of the metrics that are only stored, those whose name is in `compared` are computed. `clusters`
    has the cluster of each clip, int64 [count] (default: each is its own), `climatology` the mean
    training frame [C,H,W] in [0,1] where anomalies are told from one, `draws` draws the futures of
    a model that has several.

    Raises:
        ValueError: where a prediction has another shape than the truth.
        Invalid: where it is no frames in [0,1], or the guard of `held_out` finds fault.
    """
    context_frames = task.spec.context_frames
    trivial = of_held_out(held_out, context_frames)
    showcase = Showcase(chosen(trivial.of("copy_last").mean(1), showcase_clips))
    metrics = [metric for metric in PREDICTION if metric.is_recorded or metric.name in compared]
    futures = draws.count if draws else 0
    known_of_clips = ClipFacts(task.spec, held_out.count, climatology, futures)
    scorer, speeds, trivial_mse = FrameScorer(known_of_clips, metrics), [], trivial.mse
    for batch in held_out.passes(forward, context_frames):
        task.check(batch)
        latest = batch.clips[:, max(0, context_frames - NEEDED_CONTEXT) : context_frames]
        context = to_float(latest, held_out.device)
        known = trivial_mse[batch.first : batch.first + len(context)].to(held_out.device)
        drawn = None
        if draws:
            given = shown((batch.clips, *batch.covariates), context_frames, held_out.device)
            drawn = draws.of(given, held_out.seed, batch.first)
        scorer.add(batch.output, batch.truth, context, known, drawn)
        speeds.append(batch.truth.shape[:2].numel() / batch.seconds)
        showcase.take(batch, batch.output.float().clamp(0, 1))
    scorer.gather(held_out)
    showcase.parts = held_out.of_all(showcase.parts)
    speed = common_speed(held_out.team.gathered(speeds))
    scores = scorer.scores(showcase.arrays(), speed, clusters)
    scores.frames["trivial"] = pd.Categorical(np.repeat(trivial.names, task.spec.horizon), NAMES)
    return scores
