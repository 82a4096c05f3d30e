"""Scores of predictions: one row per sequence x predicted frame, and their means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench.records import PER_FRAME_TABLE, SHOWCASE
from bench.score.frames import Frames
from bench.score.metric import LEAST, ClipFacts, Metric, NotMeasured, Sums
from bench.score.metrics import PREDICTION, columns
from bench.train.held_out import HeldOut


@dataclass(frozen=True, slots=True)
class FrameScores:
    """The scores of a model's predictions of a split.

    Attributes:
        frames: one row per sequence x predicted frame; columns `sequence` (position in the split),
            `frame` (1 to horizon), `cluster` (of the sequence), and every metric of a frame or
            sequence, NaN where not measured.
        whole: the figure of each metric of the whole set, by name.
        measured: the recorded metrics that could be computed.
        not_measured: the reason for each that could not, by name.
        showcase: uint8 arrays `context`, `truth` and `prediction` [S,T,C,H,W], int `sequence` and
            str `why` [S].
        frames_per_second: predicted frames per second of synchronised forward time.
    """

    frames: pd.DataFrame
    whole: dict[str, float]
    measured: tuple[Metric, ...]
    not_measured: dict[str, str]
    showcase: dict[str, Any]
    frames_per_second: float

    def means(self) -> dict[str, float]:
        """Each measured metric over the whole split; NaN where any frame's is NaN."""
        return {metric.name: self._mean(metric) for metric in self.measured}

    def horizon(self) -> pd.DataFrame:
        """Each measured metric of frames (columns) by predicted frame (index, from 1)."""
        means = self.frames.groupby("frame")[self._numbers].mean(skipna=False)
        of_frames = (metric for metric in self.measured if metric.is_of_frames)
        return pd.DataFrame({metric.name: metric.of_means(means) for metric in of_frames})

    def points(self) -> list[tuple[str, float, int]]:
        """Each metric per predicted frame: the step of a point is the frame, from 1."""
        return [
            (f"horizon/{name}", value, frame)
            for name, values in self.horizon().items()
            for frame, value in enumerate(values, 1)
            if name in self.frames or not np.isnan(value)  # a ratio to nothing is no point
        ]

    def write(self, folder: Path) -> None:
        """Put the table and the showcase into `folder`."""
        self.frames.to_parquet(folder / PER_FRAME_TABLE, index=False)
        np.savez_compressed(folder / SHOWCASE, **self.showcase)

    @property
    def _numbers(self) -> list[str]:
        return [str(name) for name in self.frames.select_dtypes("float").columns]

    def _mean(self, metric: Metric) -> float:
        if metric.scope == "set":
            return self.whole[metric.name]
        means = self.frames[self._numbers].mean(skipna=False).to_frame().T
        return float(metric.of_means(means).iloc[0])


class FrameScorer:
    """Scores batches of predictions; a metric that cannot be computed is left out from then on."""

    def __init__(self, clips: ClipFacts, metrics: Iterable[Metric] = PREDICTION) -> None:
        """Score by those of `metrics` that belong to the `clips`."""
        self._clips = clips
        self._metrics = tuple(metric for metric in metrics if metric.belongs(clips))
        self._columns = columns(self._metrics)
        self._whole: dict[str, Sums] = {m.name: m.sums for m in self._metrics if m.sums}
        self._totals: dict[str, Tensor] = {}
        self._reasons: dict[str, str] = {}
        self._batches: list[Tensor] = []

    def add(
        self,
        output: Tensor,
        truth: Tensor,
        context: Tensor,
        trivial_mse: Tensor,
        drawn: Tensor | None = None,
    ) -> None:
        """Score the output of a model, any float [B,T,C,H,W], against the truth in [0,1].

        `context` has the last frames before, one to `NEEDED_CONTEXT` [B,T,C,H,W]; `trivial_mse` is
        the MSE by frame of the trivial prediction that is best on each clip [B,T]; `drawn` are the
        futures that a model draws, in [0,1] [B,N,T,C,H,W].
        """
        frames = Frames.of(output, truth, context, trivial_mse, self._clips, drawn)
        values = [self._column(metric, frames) for metric in self._columns]
        self._batches.append(torch.stack(values, -1).cpu())
        for name, whole in self._whole.items():
            sums = self._attempt(name, partial(whole.of_batch, frames))
            if sums is not None:
                self._totals[name] = self._totals.get(name, 0) + sums.cpu()

    def gather(self, held_out: HeldOut) -> None:
        """Add the batches of the other processes that test together with this one."""
        if held_out.team.size == 1:
            return
        self._batches = held_out.of_all(self._batches)
        for reasons in held_out.team.gathered(self._reasons):
            self._reasons |= reasons
        by_process, self._totals = held_out.team.gathered(self._totals), {}
        for totals in by_process:
            for name, total in totals.items():
                self._totals[name] = self._totals.get(name, 0) + total

    def scores(
        self,
        showcase: dict[str, Any],
        frames_per_second: float,
        clusters: Tensor | None = None,
    ) -> FrameScores:
        """The scores of all batches, with the showcase and speed of the test.

        `clusters` has the cluster of each sequence, int64 [sequences] (default: each is its own).
        """
        found = {
            name: self._attempt(name, partial(self._whole[name], total))
            for name, total in self._totals.items()
        }
        table = _table(
            torch.cat(self._batches), [metric.name for metric in self._columns], clusters
        )
        self._reasons |= self._without_ratio(table)
        recorded = [metric for metric in self._metrics if metric.is_recorded]
        return FrameScores(
            frames=table,
            whole={name: value for name, value in found.items() if value is not None},
            measured=tuple(metric for metric in recorded if metric.name not in self._reasons),
            not_measured={
                metric.name: self._reasons[metric.name]
                for metric in recorded
                if metric.name in self._reasons
            },
            showcase=showcase,
            frames_per_second=frames_per_second,
        )

    def _column(self, metric: Metric, frames: Frames) -> Tensor:
        """The values of `metric` [B,T]; NaN where it cannot be computed."""
        shape = frames.truth.shape[:2]
        values = self._attempt(metric.name, partial(metric.function, frames))
        if values is None:
            return torch.full(shape, torch.nan, device=frames.truth.device)
        found: Tensor = values if metric.scope == "frame" else values[:, None].expand(shape)
        return found

    def _without_ratio(self, table: pd.DataFrame) -> dict[str, str]:
        """Why there is none, by the name of each ratio that is undefined for the whole `table`."""
        found = {}
        for metric in self._metrics:
            reasons = [self._reasons[part] for part in metric.parts if part in self._reasons]
            if metric.ratio and (reasons or table[metric.ratio.below].mean() <= LEAST):
                found[metric.name] = reasons[0] if reasons else metric.ratio.undefined
        return found

    def _attempt(self, name: str, compute: Callable[[], Any]) -> Any:
        """The result of `compute`; None once the metric `name` could not be computed."""
        if name in self._reasons:
            return None
        try:
            return compute()
        except NotMeasured as reason:
            self._reasons[name] = str(reason)
            return None


def _table(scores: Tensor, names: list[str], clusters: Tensor | None) -> pd.DataFrame:
    """One row per sequence x predicted frame from scores [sequences,horizon,names]."""
    sequences, horizon, _ = scores.shape
    table = pd.DataFrame(scores.double().flatten(0, 1).numpy(), columns=names)
    table.insert(0, "sequence", np.repeat(np.arange(sequences), horizon))
    table.insert(1, "frame", np.tile(np.arange(1, horizon + 1), sequences))
    table.insert(2, "cluster", table["sequence"])
    if clusters is not None:
        table["cluster"] = np.repeat(clusters.numpy(), horizon)
    return table
