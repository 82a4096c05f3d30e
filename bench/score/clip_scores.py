"""Scores of a classifier's logits: one row per clip and one per video, and the shares right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench.records import PER_CLIP_TABLE, PER_VIDEO_TABLE
from bench.score.frames import cross_entropy, label_ranks
from bench.score.metric import NotMeasured
from bench.score.metrics import RECOGNITION


@dataclass(frozen=True, slots=True)
class ClipScores:
    """The scores of a classifier on the test clips.

    Attributes:
        clips: one row per clip; columns `clip` (position in the split), `video`, `cluster`,
            `label` and `predicted` (names of classes), `rank` (of the label, from 1),
            `cross_entropy`.
        videos: the same of each video without `clip`, by the mean of its clips' logits.
        classes: how many there are to name.
        frames_per_second: frames looked at per second of synchronised forward time.
    """

    clips: pd.DataFrame
    videos: pd.DataFrame
    classes: int
    frames_per_second: float

    @property
    def not_measured(self) -> dict[str, str]:
        """The reason for each metric that could not be computed, by name."""
        found = self._figures().items()
        return {name: str(value) for name, value in found if isinstance(value, NotMeasured)}

    def means(self) -> dict[str, float]:
        """Each measured metric, by name."""
        found = self._figures().items()
        return {name: value for name, value in found if not isinstance(value, NotMeasured)}

    def points(self) -> list[tuple[str, float, int]]:
        """None: a clip has no horizon."""
        return []

    def write(self, folder: Path) -> None:
        """Put both tables into `folder`."""
        self.clips.to_parquet(folder / PER_CLIP_TABLE, index=False)
        self.videos.to_parquet(folder / PER_VIDEO_TABLE, index=False)

    def _figures(self) -> dict[str, float | NotMeasured]:
        found: dict[str, float | NotMeasured] = {}
        for metric in RECOGNITION:
            try:
                found[metric.name] = metric.function(self)
            except NotMeasured as reason:
                found[metric.name] = reason
        return found


def score(
    logits: Tensor,
    labels: Tensor,
    videos: Tensor,
    classes: Sequence[str],
    frames_per_second: float,
    clusters: Tensor | None = None,
) -> ClipScores:
    """The scores of a classifier's logits.

    Args:
        logits: float32 [N,classes].
        labels: the class of each clip, int64 [N].
        videos: the number of each clip's video, int64 [N].
        classes: the names of the classes.
        frames_per_second: frames looked at per second of forward time.
        clusters: the cluster of each clip, int64 [N] (default: each video is one).

    Raises:
        ValueError: where the clips of one video do not have one label.
    """
    clips = _table(logits, labels, classes)
    clips.insert(0, "clip", np.arange(len(clips)))
    clips.insert(1, "video", videos.numpy())
    clips.insert(2, "cluster", (videos if clusters is None else clusters).numpy())
    numbers, firsts, places = np.unique(videos.numpy(), return_index=True, return_inverse=True)
    if not torch.equal(labels[firsts][places], labels):
        raise ValueError("the clips of one video have several labels")
    sums = torch.zeros(len(numbers), len(classes), dtype=torch.float64)
    sums.index_add_(0, torch.from_numpy(places), logits.double())
    means = sums / torch.from_numpy(np.bincount(places))[:, None]
    table = _table(means, labels[firsts], classes)
    table.insert(0, "video", numbers)
    table.insert(1, "cluster", clips["cluster"].to_numpy()[firsts])
    return ClipScores(clips, table, len(classes), frames_per_second)


def _table(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": [classes[label] for label in labels.tolist()],
            "predicted": [classes[place] for place in logits.numpy().argmax(1)],
            "rank": label_ranks(logits, labels).numpy(),
            "cross_entropy": cross_entropy(logits, labels).double().numpy(),
        }
    )
