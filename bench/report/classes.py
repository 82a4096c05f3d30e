"""Accuracy of the classifiers by class, and their confusion matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from bench import records
from bench.escape import one_line
from bench.report.artifacts import Artifacts, video_table
from bench.report.cells import each
from bench.report.plots.canvas import Picture, draw, styled
from bench.report.table import Entry
from bench.score.metrics import RECORDED, REFERENCE

if TYPE_CHECKING:
    from bench.report.section import Section

IN_VIEW = 25  # classes that a table shows and that the axes of a confusion matrix name
HARDEST = 10  # in view where there are more
NUMBERED = 12  # classes whose confusions are written as numbers, too
NAME_LENGTH = 24  # of a class on an axis
COLORS = "Blues"  # white to dark blue by the root of the share; grey print keeps the order


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class: its number of test videos, and top-1 per video of each model."""

    name: str
    videos: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class ClassTable:
    """Top-1 per video by class and model; the rows by name, the entries follow `models`."""

    models: tuple[str, ...]
    rows: tuple[ClassRow, ...]

    @property
    def is_long(self) -> bool:
        """Whether only the hardest classes should be in view."""
        return len(self.rows) > IN_VIEW

    @property
    def hardest(self) -> tuple[ClassRow, ...]:
        """The classes named right least often, the mean over models, hardest first."""
        means = [np.mean([entry.value for entry in row.entries]) for row in self.rows]
        return tuple(self.rows[place] for place in np.argsort(means, kind="stable")[:HARDEST])


def named_videos(artifacts: Artifacts, section: Section) -> pd.DataFrame:
    """The answer for each test video: label, model, seed, video, truth, said; best model first."""
    columns = ["label", "model", "seed", "video", "truth", "said"]
    key = RECORDED["recognition"]["video_top1"].key
    top1 = section.done.groupby("label")[key].transform("mean")
    best_first = section.done.loc[top1.sort_values(ascending=False, kind="stable").index]
    found = [pd.DataFrame(columns=columns)]
    for cell in each(best_first):
        stored = artifacts.read(cell["run_id"], records.PER_VIDEO_TABLE, video_table)
        if stored is not None:
            named = stored.rename(columns={"label": "truth", "predicted": "said"})
            found.append(named.assign(**{name: cell[name] for name in columns[:3]})[columns])
    return pd.concat(found, ignore_index=True)


def class_table(named: pd.DataFrame) -> ClassTable | None:
    """The share of videos named right by class and model, mean over seeds; None without models.

    Args:
        named: the answer for each video, as `named_videos` gives it. The reference,
            which answers the same for every video, is left out.
    """
    named = _of_models(named)
    if named.empty:
        return None
    right = named.assign(right=(named["truth"] == named["said"]).astype(float))
    shares = right.pivot_table("right", "truth", "label", sort=False).sort_index()
    videos = named.groupby("truth")["video"].nunique()
    rows = [
        ClassRow(str(name), int(videos[name]), _entries(shares.loc[name])) for name in shares.index
    ]
    return ClassTable(tuple(shares.columns), tuple(rows))


@styled
def confusions(named: pd.DataFrame, prefix: str) -> list[Picture]:
    """The confusion matrix of each model, over all its seeds; the reference is left out."""
    named = _of_models(named)
    classes = sorted({*named["truth"], *named["said"]})
    return [
        _confusion(str(label), said, classes, f"{prefix}-confusion-{number}")
        for number, (label, said) in enumerate(named.groupby("label", sort=False), start=1)
    ]


def matrix(said: pd.DataFrame, classes: list[str]) -> npt.NDArray[np.float64]:
    """The share of the videos of each class (row) that were called each class (column).

    The row of a class without a video is NaN.
    """
    counts = pd.crosstab(said["truth"], said["said"]).reindex(index=classes, columns=classes)
    of_class = counts.sum(axis=1)
    return counts.fillna(0).div(of_class.where(of_class > 0), axis=0).to_numpy(np.float64)


def _of_models(named: pd.DataFrame) -> pd.DataFrame:
    return named[named["model"] != REFERENCE["recognition"]]


def _entries(shares: pd.Series[float]) -> tuple[Entry, ...]:
    """One class's shares as they are printed; none is marked, for no interval tells them apart."""
    return tuple(Entry(f"{100 * share:.1f}", float(share)) for share in shares)


def _confusion(label: str, said: pd.DataFrame, classes: list[str], file: str) -> Picture:
    shares, seeds = matrix(said, classes), said["seed"].nunique()
    figure = Figure(figsize=(5.2, 5.2), layout="compressed")
    axes = figure.subplots()
    axes.imshow(shares, cmap=COLORS, norm=PowerNorm(0.5, 0, 1), interpolation="none")
    axes.set(xlabel="said", ylabel="true")
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    if len(classes) <= IN_VIEW:
        names = [one_line(name, NAME_LENGTH) for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90)
        axes.set_yticks(range(len(classes)), names)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    if len(classes) <= NUMBERED:
        _write_numbers(axes, shares)
    over = f", {seeds} seeds" if seeds > 1 else ""
    return draw(figure, file, f"What {label} said{over}")


def _write_numbers(axes: Axes, shares: npt.NDArray[np.float64]) -> None:
    """Write each share in per cent into its field, light on dark and dark on light."""
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            color = "#ffffff" if share > 0.3 else "#101010"  # of the field, not of the page
            axes.text(
                column, row, f"{100 * share:.0f}", color=color, ha="center", va="center", size=8
            )
