"""The score of every test sequence, by which the models of a section are compared in pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from bench.records import PER_FRAME_TABLE, PER_VIDEO_TABLE
from bench.report.collect import Section, each
from bench.report.columns import COLUMNS

if TYPE_CHECKING:
    from bench.tracking import Store
    from datasets.contract import Task


class SequenceScores:
    """Reads scores out of a store; a cell that stands in several sections is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[tuple[str, str], pd.Series[float] | None] = {}

    def of(self, section: Section, measure: str = "") -> pd.DataFrame:
        """Scores by `measure`: one row a test sequence, one column (label, seed).

        By default it is the one that ranks the section. A recogniser's sequence is a video: 1 where
        it is named right, else 0. A finished cell without a table, or with a sequence that has no
        score, is left out.
        """
        columns, name = {}, measure or COLUMNS[section.task][0].name
        for cell in each(section.done):
            key = cell["run_id"], name
            if key not in self._read:
                self._read[key] = self._scores(cell["run_id"], section.task, name)
            scores = self._read[key]
            if scores is not None:
                columns[cell["label"], cell["seed"]] = scores
        return pd.DataFrame(columns).dropna(axis=1)

    def _scores(self, run_id: str, task: Task, name: str) -> pd.Series[float] | None:
        path = self._store.artifact(
            run_id, PER_FRAME_TABLE if task == "prediction" else PER_VIDEO_TABLE
        )
        if path is None:
            return None
        if task == "recognition":
            videos = pd.read_parquet(path, columns=["video", "rank"]).set_index("video")
            return (videos["rank"] == 1).astype(float)
        frames = pd.read_parquet(path, columns=["sequence", name])
        return frames.groupby("sequence")[name].mean(skipna=False)
