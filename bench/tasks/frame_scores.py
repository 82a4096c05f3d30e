"""What predictions are worth: one row per sequence x predicted frame, their means, a showcase."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.metrics import FRAME_METRICS, FrameMetric, NotMeasured
from bench.perceptual import Perceptual
from bench.records import PER_FRAME_TABLE, QUALITY, SHOWCASE
from bench.tasks.task import Pass

MEASURES = QUALITY["prediction"]


@dataclass(frozen=True, slots=True)
class FrameScores:
    """What a model's predictions on a split are worth.

    Attributes:
        frames: one row per sequence x predicted frame; columns `sequence` (position in the split),
            `frame` (1 to horizon) and the measures of `records.QUALITY`, NaN where not measured.
        not_measured: the reason for each measure that could not be had, by name.
        showcase: uint8 arrays `context`, `truth` and `prediction` [S,T,C,H,W], int `sequence` [S].
        frames_per_second: predicted frames per second of synchronised forward time.
    """

    frames: pd.DataFrame
    not_measured: dict[str, str]
    showcase: dict[str, Any]
    frames_per_second: float

    def means(self) -> dict[str, float]:
        """Each measured metric over all frames of all sequences; NaN where any frame's is NaN."""
        return {name: float(self.frames[name].mean(skipna=False)) for name in self._measured}

    def horizon(self) -> pd.DataFrame:
        """Each measured metric (columns) per predicted frame (index, from 1) over all sequences."""
        return self.frames.groupby("frame")[self._measured].mean(skipna=False)

    def points(self) -> list[tuple[str, float, int]]:
        """Each metric per predicted frame: the step of a point is the frame, from 1."""
        return [
            (f"horizon/{name}", value, frame)
            for name, values in self.horizon().items()
            for frame, value in enumerate(values, 1)
        ]

    def write(self, folder: Path) -> None:
        """Put the table and the showcase into `folder`."""
        self.frames.to_parquet(folder / PER_FRAME_TABLE, index=False)
        np.savez_compressed(folder / SHOWCASE, **self.showcase)

    @property
    def _measured(self) -> list[str]:
        return [name for name in MEASURES if name not in self.not_measured]


class FrameScorer:
    """Scores batches; a measure that cannot be had is left out from then on, with the reason."""

    def __init__(self, device: torch.device) -> None:
        self.not_measured: dict[str, str] = {}
        self._metrics: dict[str, FrameMetric] = dict(FRAME_METRICS)
        try:
            self._metrics["lpips"] = Perceptual.load(device)
        except NotMeasured as reason:
            self.not_measured["lpips"] = str(reason)

    def __call__(self, prediction: Tensor, truth: Tensor) -> NDArray[np.float32]:
        """The measures of every frame, in their order: [B,horizon,measures]."""
        columns = [self._column(name, prediction, truth) for name in MEASURES]
        scores: NDArray[np.float32] = torch.stack(columns, -1).cpu().numpy()
        return scores

    def _column(self, name: str, prediction: Tensor, truth: Tensor) -> Tensor:
        if name not in self.not_measured:
            try:
                return self._metrics[name](prediction, truth)
            except NotMeasured as reason:
                self.not_measured[name] = str(reason)
        return torch.full(truth.shape[:2], torch.nan, device=truth.device)


@dataclass(slots=True)
class Showcase:
    """Keeps the first `count` clips, as bytes, while the batches pass."""

    count: int
    parts: list[dict[str, NDArray[Any]]] = field(default_factory=list)

    def take(self, batch: Pass, prediction: Tensor) -> None:
        """Keep of `batch` and its `prediction` [B,horizon,C,H,W] what is among the first."""
        wanted, horizon = max(0, self.count - batch.first), prediction.shape[1]
        clips = batch.clips[:wanted].numpy()
        kept = (prediction[:wanted] * 255).round().nan_to_num().byte()
        self.parts.append(
            {
                "context": clips[:, :-horizon],
                "truth": clips[:, -horizon:],
                "prediction": kept.cpu().numpy(),
                "sequence": np.arange(batch.first, batch.first + len(clips)),
            }
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What was kept, in the order of the split."""
        names = self.parts[0]
        return {name: np.concatenate([part[name] for part in self.parts]) for name in names}


def table_of(scores: NDArray[np.float32]) -> pd.DataFrame:
    """One row per sequence x predicted frame from scores [sequences,horizon,measures]."""
    sequences, horizon, _ = scores.shape
    table = pd.DataFrame(scores.reshape(sequences * horizon, -1), columns=list(MEASURES))
    table.insert(0, "sequence", np.repeat(np.arange(sequences), horizon))
    table.insert(1, "frame", np.tile(np.arange(1, horizon + 1), sequences))
    return table.astype(dict.fromkeys(MEASURES, "float64"))
