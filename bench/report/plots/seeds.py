"""Every seed as a dot, beside the mean and its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from bench import records
from bench.report.cells import each
from bench.report.columns import COLUMNS, Column
from bench.report.plots.canvas import (
    BOTTOM,
    HEIGHT,
    RIGHT,
    TOP,
    WIDTH,
    Name,
    Plot,
    Style,
    draw,
    keep_possible,
    of_models,
    plain_numbers,
    styled,
    text_inches,
)
from bench.report.section import Section

if TYPE_CHECKING:  # the report needs no torch
    from datasets.contract import TaskName

SHOWN: dict[TaskName, tuple[str, ...]] = {
    "prediction": ("mse", "ssim", "lpips"),
    "recognition": ("video_top1", "cross_entropy"),
}
ROW = 0.3  # inches from one model to the next
APART = 0.16  # of a row, from its middle to the dots above and the mean below
TICK = 0.1  # of a row, half the height of an interval's ends
WIDE = 3.0  # the ratio of figures from which an axis is logarithmic


@styled
def seed_plots(
    section: Section, summary: pd.DataFrame, styles: dict[str, Style], prefix: str
) -> list[Plot]:
    """A row for each model, the best first, where some model has more than one seed."""
    done = summary[summary["status"] == records.Status.DONE]
    if done.empty or done["n"].max() < 2:
        return []
    columns = {column.name: column for column in COLUMNS[section.task]}
    found: list[Plot] = []
    for column in (columns[name] for name in SHOWN[section.task]):
        rows = done[done[column.name].notna()]
        if not rows.empty:
            title = f"{column.measure.label} of every seed, mean and 95 % interval"
            figure = _figure(section.done, rows, column, styles)
            found.append((draw(figure, f"{prefix}-seeds-{column.name}", title),))
    return found


def _figure(
    cells: pd.DataFrame, rows: pd.DataFrame, column: Column, styles: dict[str, Style]
) -> Figure:
    left = max(map(text_inches, rows["label"])) + 2 * RIGHT
    height = max(HEIGHT, ROW * len(rows))
    size = (left + WIDTH + 2 * RIGHT, BOTTOM + height + TOP)
    figure = Figure(figsize=size)
    axes = figure.add_axes((left / size[0], BOTTOM / size[1], WIDTH / size[0], height / size[1]))
    values = cells.groupby("label")[column.measure.key]
    strokes, colors, labels = [], [], []
    for place, row in enumerate(each(rows)):
        style, seeds = styles[row["model"]], values.get_group(row["label"]) * column.scale
        above = np.full(len(seeds), place - APART)
        look: Any = {"color": style.color, "markersize": 5, "alpha": 0.6}
        axes.plot(seeds, above, style.marker, **look, gid=of_models(row["label"]))
        mean, half = (row[f"{column.name}{end}"] * column.scale for end in ("", "_half_width"))
        interval = _interval(mean, half if half > 0 else 0.0, place + APART)
        strokes += interval
        colors += [style.color] * len(interval)
        labels += [row["label"]] * len(interval)
        at = (-RIGHT / WIDTH, place)
        name = Name(row["label"], style.ink, at, axes.get_yaxis_transform(), ends=True)
        axes.add_artist(name)
    axes.add_collection(
        LineCollection(strokes, colors=colors, linewidths=1.5, gid=of_models(*labels))
    )
    axes.autoscale_view()
    axes.set_yticks(range(len(rows)), [])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params("y", length=0)
    axes.set_xlabel(f"test {column.heading}")
    keep_possible(axes.xaxis, column.measure)
    _scale(axes, rows[column.name], column)
    return figure


def _interval(mean: float, half: float, place: float) -> list[list[tuple[float, float]]]:
    """The strokes of an interval: the line, both ends, and the mean."""
    low, high = place - TICK, place + TICK
    ends = [[(x, low), (x, high)] for x in (mean - half, mean, mean + half)]
    return [[(mean - half, place), (mean + half, place)], *ends]


def _scale(axes: Axes, means: pd.Series[float], column: Column) -> None:
    """A logarithmic axis where the worst model would press all others together."""
    low, _ = axes.get_xlim()
    if column.measure.better == "lower" and low > 0 and means.max() > WIDE * means.min():
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
