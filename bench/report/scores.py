"""The scores that a cell's tables hold: of every test sequence, and of every predicted frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.escape import one_line
from bench.records import PER_FRAME_TABLE, PER_VIDEO_TABLE
from bench.report.artifacts import Artifacts, frame_table, video_table
from bench.report.cells import at_once, each
from bench.report.columns import COLUMNS
from bench.report.section import Section
from bench.report.statistics.clusters import Clusters
from bench.score.metrics import METRICS, PREDICTION, RECORDED

if TYPE_CHECKING:
    from bench.store.mlflow import Store
    from datasets.contract import TaskName

GENERATED = ("moving_mnist", "moving_fashion_mnist")
"""How data sets are called of which each sequence is drawn apart from all others."""

NAME_LENGTH = 40  # of a cluster at most

TABLES: dict[TaskName, str] = {"prediction": PER_FRAME_TABLE, "recognition": PER_VIDEO_TABLE}


@dataclass(frozen=True, slots=True)
class Scores:
    """The part of a cell's large table that is kept.

    Attributes:
        by_sequence: the measures of each test sequence, means over its frames.
        by_frame: those of each predicted `frame`, means over sequences; None for a classifier.
        clusters: of the sequences; None where it was not recorded.
    """

    by_sequence: pd.DataFrame
    by_frame: pd.DataFrame | None
    clusters: pd.Series[int] | None

    @property
    def of_what(self) -> tuple[int, bytes]:
        """How many frames each test sequence has, and which these are."""
        frames = 0 if self.by_frame is None else len(self.by_frame)
        return frames, np.asarray(self.by_sequence.index, np.int64).tobytes()


class SequenceScores:
    """Reads scores out of a store; a cell that stands in several sections is read once."""

    def __init__(self, store: Store) -> None:
        self.artifacts = Artifacts(store)
        self._of_sections: dict[tuple[str, ...], list[tuple[dict[str, Any], Scores]]] = {}

    def of(self, section: Section, measure: str = "") -> pd.DataFrame:
        """Scores by `measure`: one row a test sequence, one column (label, seed).

        By default it is the one that ranks the section. A classifier's sequence is a video: 1 where
        it is named right, else 0. A finished cell is left out whose table cannot be used, is of
        other sequences than most, or has one without a score.
        """
        columns, name = {}, measure or COLUMNS[section.task][0].name
        for cell, scores in self._alike(section):
            if name in scores.by_sequence:
                columns[cell["label"], cell["seed"]] = scores.by_sequence[name]
        return pd.DataFrame(columns).dropna(axis=1)

    def table(self, sections: Sequence[Section]) -> pd.DataFrame:
        """All scores by test sequence of the metrics in the tables: enough for every interval.

        One row a cell and sequence: dataset, size, device, budget, label, seed, sequence, its
        cluster, and the metrics as float32, which is more than a table prints.
        """
        parts = []
        for section in sections:
            shown = {
                part
                for metric in METRICS[section.task].values()
                if metric.shown == "table"
                for part in metric.parts
            }
            for cell, scores in self._alike(section):
                part = scores.by_sequence[[name for name in scores.by_sequence if name in shown]]
                part = part.astype(np.float32)
                clusters = part.index if scores.clusters is None else scores.clusters
                part.insert(0, "cluster", np.asarray(clusters, np.int64))
                part.insert(0, "sequence", part.index)
                for name in ("seed", "label"):
                    part.insert(0, name, cell[name])
                for name in ("budget", "device", "size", "dataset"):
                    part.insert(0, name, getattr(section, name))
                parts.append(part)
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def clusters(self, section: Section) -> Clusters:
        """The clusters of the test sequences, by the newest cell that has recorded them.

        Where none has, each sequence counts as one.
        """
        found = self._alike(section)
        for cell, scores in found:
            if scores.clusters is not None:
                name = one_line(cell["cluster"], NAME_LENGTH) or "cluster"
                return Clusters(np.asarray(scores.clusters, np.int64), name)
        count = len(found[0][1].by_sequence) if found else 0
        return Clusters.single(count, unrecorded=not section.dataset.startswith(GENERATED))

    def by_frame(self, run_id: str) -> pd.DataFrame | None:
        """A predictor's measures by predicted `frame`, means over sequences; None without a table.

        NaN where a sequence has no value. The mean over frames is that over the table, for every
        sequence has all frames.
        """
        scores = self.of_run(run_id, "prediction")
        return None if scores is None else scores.by_frame

    def horizon(self, section: Section) -> pd.DataFrame:
        """Quality by predicted frame, mean over seeds: label, model, metric, frame, value."""
        keys = ["label", "model", "frame"]
        drawn = [metric.name for metric in PREDICTION if metric.has_curve]
        seeds = [pd.DataFrame(columns=[*keys, *drawn], dtype=float)]
        for cell, scores in self._alike(section):
            if scores.by_frame is not None:
                seeds.append(scores.by_frame.assign(label=cell["label"], model=cell["model"]))
        means = pd.concat(seeds).groupby(keys, sort=False)[drawn].mean().reset_index()
        return means.melt(keys, drawn, "metric").dropna()

    def _alike(self, section: Section) -> list[tuple[dict[str, Any], Scores]]:
        """The finished cells with their scores, where these are of the same sequences."""
        done = section.done
        runs = tuple(done["run_id"])
        if runs not in self._of_sections:
            self._of_sections[runs] = self._found(section, [*each(done)])
        return self._of_sections[runs]

    def _found(
        self, section: Section, cells: Sequence[dict[str, Any]]
    ) -> list[tuple[dict[str, Any], Scores]]:
        read = at_once(lambda cell: self.of_run(cell["run_id"], section.task), cells)
        found = [(c, s) for c, s in zip(cells, read, strict=True) if s is not None]
        shapes = {cell["run_id"]: scores.of_what for cell, scores in found}
        odd = self.artifacts.refuse_odd(TABLES[section.task], shapes)
        return [(cell, scores) for cell, scores in found if cell["run_id"] not in odd]

    def of_run(self, run_id: str, task: TaskName) -> Scores | None:
        """All scores of one cell; None without a table that can be used."""
        if task == "prediction":
            return self.artifacts.read(run_id, PER_FRAME_TABLE, _of_frames)
        videos = self.artifacts.read(run_id, PER_VIDEO_TABLE, video_table)
        return None if videos is None else _of_videos(videos)


def _of_frames(path: Path) -> Scores:
    table = frame_table(path)
    horizon = int(table["frame"].iloc[-1])
    first = table.iloc[::horizon].set_index("sequence")  # rows are in order, and none is missing
    names = [name for name in first if name not in ("frame", "cluster")]
    scores = table[names].to_numpy(float).reshape(-1, horizon, len(names))
    by_sequence = pd.DataFrame(scores.mean(1), first.index, names)
    by_frame = pd.DataFrame(scores.mean(0), range(1, horizon + 1), names).rename_axis("frame")
    return Scores(
        _with_ratios(by_sequence), _with_ratios(by_frame).reset_index(), first.get("cluster")
    )


def _with_ratios(means: pd.DataFrame) -> pd.DataFrame:
    """`means` of columns of the table by frame with the ratios that can be made of them."""
    ratios = (metric for metric in RECORDED["prediction"].values() if metric.ratio)
    there = [metric for metric in ratios if {*metric.parts} <= {*means}]
    return means.assign(**{metric.name: metric.of_means(means) for metric in there})


def _of_videos(table: pd.DataFrame) -> Scores:
    videos = table.set_index("video").sort_index()
    lead = COLUMNS["recognition"][0].name
    right = (videos["rank"] == 1).astype(float).to_frame(lead)
    return Scores(right, None, videos.get("cluster"))
