"""The test of a classifier: every clip and every video scored."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.score.clip_scores import ClipScores, score
from bench.score.result import common_speed
from bench.train.held_out import Forward, HeldOut
from bench.train.task import Task
from datasets.contract import LabelledClips


def score_clips(
    task: Task, forward: Forward, held_out: HeldOut, clusters: Tensor | None = None
) -> ClipScores:
    """A row for every clip and for every video; no pixels are kept.

    `clusters` has the cluster of each clip, int64 [count] (default: each video is one).

    Raises:
        ValueError: where there is not one logit for each class.
        Invalid: where one is not finite, or the guard of `held_out` finds fault.
    """
    logits, speeds = [], []
    for batch in held_out.passes(forward, task.spec.context_frames):
        task.check(batch)
        logits.append(batch.output.float().cpu())
        speeds.append(batch.clips.shape[:2].numel() / batch.seconds)
    clips: Any = held_out.clips  # a recognition cell has labelled ones
    labelled: LabelledClips = clips
    labels, videos = labelled.labels[: held_out.count], labelled.videos[: held_out.count]
    speed = common_speed(held_out.team.gathered(speeds))
    whole = torch.cat(held_out.of_all(logits))
    return score(whole, labels, videos, task.spec.classes, speed, clusters)
