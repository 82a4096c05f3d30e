"""A held-out split through a model: one row per sequence x predicted frame, and their means.

Models are met only through `predict(context, horizon)`: the caller puts its model in evaluation
mode and under its precision; gradients are switched off here. (`no_grad`, not `inference_mode`: a
model may cache what it computes during validation and differentiate through it in training.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.metrics import FRAME_METRICS, FrameMetric, NotMeasured, mse
from bench.perceptual import Perceptual
from bench.records import QUALITY
from datasets.contract import Clips

Predict = Callable[[Tensor, int], Tensor]
"""Context [B,T,C,H,W] in [0,1] and horizon -> prediction [B,horizon,C,H,W]."""

Heartbeat = Callable[[float], None]
"""Called with the fraction done, in (0,1], after each batch."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model's predictions on a split are worth.

    Attributes:
        frames: one row per sequence x predicted frame; columns `sequence` (position in the split),
            `frame` (1 to horizon) and the measures of `records.QUALITY`, NaN where not measured.
        not_measured: the reason for each measure that could not be had, by name.
        showcase: uint8 arrays `context`, `truth` and `prediction` [S,T,C,H,W], int `sequence` [S].
        predict_frames_per_second: predicted frames per second of synchronised forward time, the
            median over batches, the first left out where there are more.
    """

    frames: pd.DataFrame
    not_measured: dict[str, str]
    showcase: dict[str, Any]
    predict_frames_per_second: float

    def means(self) -> dict[str, float]:
        """Each measured metric over all frames of all sequences; NaN where any frame's is NaN."""
        return {name: float(self.frames[name].mean(skipna=False)) for name in self._measured}

    def horizon(self) -> pd.DataFrame:
        """Each measured metric (columns) per predicted frame (index, from 1) over all sequences."""
        return self.frames.groupby("frame")[self._measured].mean(skipna=False)

    @property
    def _measured(self) -> list[str]:
        return [name for name in QUALITY if name not in self.not_measured]


def validation_mse(
    predict: Predict,
    clips: Clips,
    *,
    count: int,
    context_frames: int,
    batch_size: int,
    device: torch.device,
    heartbeat: Heartbeat,
) -> float:
    """The MSE that `evaluate` gives on the first `count` clips (all, where there are fewer)."""
    errors = []
    for batch in _batches(predict, clips, count, context_frames, batch_size, device):
        errors.append(mse(batch.prediction, batch.truth))
        heartbeat(batch.fraction)
    return float(torch.cat(errors).cpu().double().mean())


def evaluate(
    predict: Predict,
    clips: Clips,
    *,
    count: int,
    context_frames: int,
    batch_size: int,
    device: torch.device,
    showcase: Collection[int],
    heartbeat: Heartbeat,
) -> Evaluation:
    """Score the first `count` clips (all, where there are fewer) on `device`, batch by batch.

    Predictions become float32 and are clamped to [0,1] before every metric. Only the rows, and the
    clips at the positions in `showcase`, are kept: memory does not grow with the other pixels.

    Raises:
        ValueError: where a prediction has another shape than the truth.
    """
    score, kept = _Scorer(device), _Showcase(showcase)
    scores, speeds = [], []
    for batch in _batches(predict, clips, count, context_frames, batch_size, device):
        scores.append(score(batch.prediction, batch.truth))
        speeds.append(batch.truth.shape[:2].numel() / batch.predict_seconds)
        kept.take(batch)
        heartbeat(batch.fraction)
    return Evaluation(
        frames=_table(np.concatenate(scores)),
        not_measured=score.not_measured,
        showcase=kept.arrays(),
        predict_frames_per_second=median(speeds[1:] or speeds),
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    first: int  # position in the split
    clips: Tensor  # uint8 [B,T+horizon,C,H,W] on the CPU
    truth: Tensor  # float32 [B,horizon,C,H,W] on the device, as is the prediction
    prediction: Tensor
    predict_seconds: float
    fraction: float


@torch.no_grad()
def _batches(
    predict: Predict,
    clips: Clips,
    count: int,
    context_frames: int,
    batch_size: int,
    device: torch.device,
) -> Iterator[_Batch]:
    """The predictions for the first `count` clips, float32 and clamped to [0,1]."""
    count = min(count, len(clips))
    for first in range(0, count, batch_size):
        last = min(first + batch_size, count)
        pixels = clips[first:last]
        frames = pixels.to(device).float() / 255
        context, truth = frames[:, :context_frames], frames[:, context_frames:]
        prediction, seconds = _timed(predict, context, truth.shape[1], device)
        if prediction.shape != truth.shape:
            expected, got = list(truth.shape), list(prediction.shape)
            raise ValueError(f"the prediction has shape {got}, the truth {expected}")
        prediction = prediction.float().clamp(0, 1)
        yield _Batch(first, pixels, truth, prediction, seconds, last / count)


def _timed(
    predict: Predict, context: Tensor, horizon: int, device: torch.device
) -> tuple[Tensor, float]:
    """The prediction, and the seconds from idle device to idle device."""
    _synchronise(device)
    start = time.perf_counter()
    prediction = predict(context, horizon)
    _synchronise(device)
    return prediction, time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    """Wait for the work queued on `device`."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


class _Scorer:
    """Scores batches; a measure that cannot be had is left out from then on, with the reason."""

    def __init__(self, device: torch.device) -> None:
        self.not_measured: dict[str, str] = {}
        self._metrics: dict[str, FrameMetric] = dict(FRAME_METRICS)
        try:
            self._metrics["lpips"] = Perceptual.load(device)
        except NotMeasured as reason:
            self.not_measured["lpips"] = str(reason)

    def __call__(self, prediction: Tensor, truth: Tensor) -> NDArray[np.float32]:
        """The measures of `QUALITY`, in its order, of every frame: [B,horizon,measures]."""
        columns = [self._column(name, prediction, truth) for name in QUALITY]
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
class _Showcase:
    """Collects the wanted clips, as bytes, while the batches pass."""

    wanted: Collection[int]
    parts: list[dict[str, NDArray[Any]]] = field(default_factory=list)

    def take(self, batch: _Batch) -> None:
        chosen = [row for row in range(len(batch.clips)) if batch.first + row in self.wanted]
        horizon = batch.truth.shape[1]
        clips = batch.clips[chosen].numpy()
        prediction = (batch.prediction[chosen] * 255).round().nan_to_num().byte()
        self.parts.append(
            {
                "context": clips[:, :-horizon],
                "truth": clips[:, -horizon:],
                "prediction": prediction.cpu().numpy(),
                "sequence": np.array([batch.first + row for row in chosen], dtype=np.int64),
            }
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What was taken, in the order of the split."""
        names = self.parts[0]
        return {name: np.concatenate([part[name] for part in self.parts]) for name in names}


def _table(scores: NDArray[np.float32]) -> pd.DataFrame:
    """One row per sequence x predicted frame from scores [sequences,horizon,measures]."""
    sequences, horizon, _ = scores.shape
    table = pd.DataFrame(scores.reshape(sequences * horizon, -1), columns=list(QUALITY))
    table.insert(0, "sequence", np.repeat(np.arange(sequences), horizon))
    table.insert(1, "frame", np.tile(np.arange(1, horizon + 1), sequences))
    return table.astype(dict.fromkeys(QUALITY, "float64"))
