"""The scores that a cell's tables hold: of every test sequence, and of every predicted frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.records import PER_FRAME_TABLE, PER_VIDEO_TABLE
from bench.report.columns import COLUMNS
from bench.report.load import Section, at_once, each
from bench.score.metrics import PREDICTION, RECORDED

if TYPE_CHECKING:
    from bench.store.mlflow import Store
    from datasets.contract import TaskName


@dataclass(frozen=True, slots=True)
class _Scores:
    """The part of a cell's large table that is kept."""

    by_sequence: pd.DataFrame
    by_frame: pd.DataFrame | None


class SequenceScores:
    """Reads scores out of a store; a cell that stands in several sections is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[str, _Scores | None] = {}

    def of(self, section: Section, measure: str = "") -> pd.DataFrame:
        """Scores by `measure`: one row a test sequence, one column (label, seed).

        By default it is the one that ranks the section. A classifier's sequence is a video: 1 where
        it is named right, else 0. A finished cell without a table, or with a sequence that has no
        score, is left out.
        """
        columns, name = {}, measure or COLUMNS[section.task][0].name
        cells = [*each(section.done)]
        read = at_once(lambda cell: self._scores(cell["run_id"], section.task), cells)
        for cell, scores in zip(cells, read, strict=True):
            if scores is not None:
                columns[cell["label"], cell["seed"]] = scores.by_sequence[name]
        return pd.DataFrame(columns).dropna(axis=1)

    def by_frame(self, run_id: str) -> pd.DataFrame | None:
        """A predictor's measures by predicted `frame`, means over sequences; None without a table.

        NaN where a sequence has no value. The mean over frames is that over the table, for every
        sequence has all frames.
        """
        scores = self._scores(run_id, "prediction")
        return None if scores is None else scores.by_frame

    def horizon(self, section: Section) -> pd.DataFrame:
        """Quality by predicted frame, mean over seeds: label, model, metric, frame, value."""
        keys = ["label", "model", "metric", "frame"]
        seeds = [pd.DataFrame(columns=[*keys, "value"])]
        for cell in each(section.done) if section.task == "prediction" else ():
            by_frame = self.by_frame(cell["run_id"])
            if by_frame is not None:
                drawn = [metric.name for metric in PREDICTION if metric.has_curve]
                measured = [name for name in drawn if name in by_frame]
                long = by_frame.melt("frame", measured, "metric").dropna()
                seeds.append(long.assign(label=cell["label"], model=cell["model"]))
        return pd.concat(seeds).groupby(keys, sort=False)["value"].mean().reset_index()

    def _scores(self, run_id: str, task: TaskName) -> _Scores | None:
        if run_id not in self._read:
            read = _of_frames if task == "prediction" else _of_videos
            path = self._store.artifact(
                run_id, PER_FRAME_TABLE if task == "prediction" else PER_VIDEO_TABLE
            )
            self._read[run_id] = None if path is None else read(path)
        return self._read[run_id]


def _of_frames(path: Path) -> _Scores:
    table = pd.read_parquet(path)
    metrics = [name for name in RECORDED["prediction"] if name in table]
    by_sequence = table.groupby("sequence")[metrics].mean(skipna=False)
    by_frame = table.drop(columns="sequence").groupby("frame").mean(skipna=False).reset_index()
    return _Scores(by_sequence, by_frame)


def _of_videos(path: Path) -> _Scores:
    videos = pd.read_parquet(path, columns=["video", "rank"]).set_index("video")
    lead = COLUMNS["recognition"][0].name
    return _Scores((videos["rank"] == 1).astype(float).to_frame(lead), None)
