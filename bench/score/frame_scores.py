"""What predictions are worth: one row per sequence x predicted frame, and their means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.score.lpips import Perceptual
from bench.score.metrics import FrameMetrics, NotMeasured, errors, similarities
from bench.store.records import PER_FRAME_TABLE, PUBLISHED, QUALITY, SHOWCASE

MEASURES = QUALITY["prediction"]
COLUMNS = [*MEASURES, *PUBLISHED]


@dataclass(frozen=True, slots=True)
class FrameScores:
    """What a model's predictions on a split are worth.

    Attributes:
        frames: one row per sequence x predicted frame; columns `sequence` (position in the split),
            `frame` (1 to horizon), the measures of `records.QUALITY` and what `records.PUBLISHED`
            names, NaN where not measured.
        not_measured: the reason for each measure that could not be had, by name.
        showcase: uint8 arrays `context`, `truth` and `prediction` [S,T,C,H,W], int `sequence` and
            str `why` [S].
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
        self._families: dict[str, FrameMetrics] = {"ssim": similarities}
        try:
            self._families["lpips"] = Perceptual.load(device)
        except NotMeasured as reason:
            self.not_measured["lpips"] = str(reason)

    def __call__(self, output: Tensor, truth: Tensor) -> NDArray[np.float32]:
        """What is known of every frame of an unclamped prediction: [B,horizon,columns]."""
        output = output.float()
        prediction, values = output.clamp(0, 1), errors(output, truth)
        for name, metrics in self._families.items():
            if name not in self.not_measured:
                try:
                    values |= metrics(prediction, truth)
                except NotMeasured as reason:
                    self.not_measured[name] = str(reason)
        nothing = torch.full(truth.shape[:2], torch.nan, device=truth.device)
        columns = torch.stack([values.get(name, nothing) for name in COLUMNS], -1)
        scores: NDArray[np.float32] = columns.cpu().numpy()
        return scores


def table_of(scores: NDArray[np.float32]) -> pd.DataFrame:
    """One row per sequence x predicted frame from scores [sequences,horizon,columns]."""
    sequences, horizon, _ = scores.shape
    table = pd.DataFrame(scores.reshape(sequences * horizon, -1), columns=COLUMNS)
    table.insert(0, "sequence", np.repeat(np.arange(sequences), horizon))
    table.insert(1, "frame", np.tile(np.arange(1, horizon + 1), sequences))
    return table.astype(dict.fromkeys(COLUMNS, "float64"))
