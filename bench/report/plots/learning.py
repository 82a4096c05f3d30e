"""Quality against what was spent: seconds, steps or samples; median and band over seeds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from bench import records
from bench.records import VALIDATION, Measure
from bench.report.marks import DISTURBED
from bench.report.plots.canvas import (
    Label,
    Picture,
    Plot,
    Style,
    Values,
    draw,
    draw_lines,
    of_models,
    panel,
    plain_numbers,
    styled,
    write_beside,
)

POINTS = 60  # of a curve at most; a training loss has thousands
LOSS = Measure(records.TRAIN_LOSS, "training loss, each model's own", better="lower")
SPENT = {
    "seconds": ("train_seconds", "training time (s)", ""),
    "steps": ("steps", "training steps", "-by-steps"),
    "samples": ("samples", "training samples", "-by-samples"),
}
"""The horizontal axes: column of the curves, title, and ending of the file name."""

DOTS = (0, (1, 3))
"""Of a model that decides nothing."""
SECONDS = {"seconds": SPENT["seconds"]}


@dataclass(frozen=True, slots=True)
class Band:
    """The curves of a model's seeds at the same x: their median, the lowest and the highest."""

    x: Values
    median: Values
    low: Values
    high: Values


@dataclass(frozen=True, slots=True)
class _Model:
    """A model and the curves of its seeds: what was spent, and the value."""

    label: str
    style: Style
    seeds: list[dict[str, Values]]


@styled
def learning_plots(
    curves: pd.DataFrame, styles: dict[str, Style], prefix: str, marked: Collection[str] = ()
) -> list[Plot]:
    """Training loss against seconds; validation against seconds, steps and samples.

    Models with these `marked` labels are dotted and named so, for they decide nothing.
    """
    curves = curves.assign(marked=curves["label"].isin(marked))
    found = _plot(curves, LOSS, SECONDS, styles, f"{prefix}-loss")
    for measure in VALIDATION.values():
        name = measure.key.replace("val/", "validation-")
        found += _plot(curves, measure, SPENT, styles, f"{prefix}-{name}")
    return found


def band(x: list[Values], y: list[Values]) -> Band:
    """The median, lowest and highest of several curves at common points.

    A curve that ends before the others keeps its last value, as its model does. A long one is
    smoothed by a running median.
    """
    start, points = max(seed[0] for seed in x), np.unique(np.concatenate(x))
    grid = points[points >= start]
    if len(grid) > POINTS:
        grid = np.linspace(start, grid[-1], POINTS)
    curves = [np.interp(grid, *pair) for pair in zip(x, map(_smooth, y), strict=True)]
    return Band(grid, np.median(curves, axis=0), np.min(curves, axis=0), np.max(curves, axis=0))


def _smooth(values: Values) -> Values:
    window = len(values) // 30
    if window < 2:
        return values
    return pd.Series(values).rolling(window, min_periods=1, center=True).median().to_numpy()


def _plot(
    curves: pd.DataFrame,
    measure: Measure,
    against: Mapping[str, tuple[str, str, str]],
    styles: Mapping[str, Style],
    name: str,
) -> list[Plot]:
    """The plot of `measure` `against` what all models count; none where none was measured."""
    lines = curves[curves["metric"] == measure.key]
    models = _models(lines, styles)
    if not models:
        return []
    title = f"{measure.label[0].upper()}{measure.label[1:]}"
    if len(against) > 1:
        title += " against training spent"
    pictures = (
        _picture(models, spent, measure.heading, (name + ending, title))
        for spent, (column, _, ending) in against.items()
        if lines[column].notna().all()
    )
    return [tuple(pictures)]


def _models(lines: pd.DataFrame, styles: Mapping[str, Style]) -> list[_Model]:
    """Each model of `lines` with the curves of its seeds."""
    columns = [column for column, *_ in SPENT.values()] + ["value"]
    found: dict[str, _Model] = {}
    for _, seed in lines.groupby("run_id", sort=False):
        label, style = str(seed["label"].iloc[0]), styles[seed["model"].iloc[0]]
        if seed["marked"].iloc[0]:
            label, style = f"{label} {DISTURBED}", replace(style, dash=DOTS)
        seeds = found.setdefault(label, _Model(label, style, [])).seeds
        seeds.append({name: seed[name].to_numpy(float) for name in columns})
    return list(found.values())


def _picture(models: list[_Model], spent: str, label: str, named: tuple[str, str]) -> Picture:
    column, xlabel, _ = SPENT[spent]
    figure, axes = panel(xlabel, label, [model.label for model in models])
    bands = [
        band([seed[column] for seed in model.seeds], [seed["value"] for seed in model.seeds])
        for model in models
    ]
    _draw_bands(axes, bands, models)
    if all((found.low > 0).all() for found in bands):
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    ends = [
        Label(model.label, found.x[-1], found.median[-1], model.style)
        for model, found in zip(models, bands, strict=True)
    ]
    write_beside(ends, axes)
    return draw(figure, *named, spent)


def _draw_bands(axes: Axes, bands: list[Band], models: list[_Model]) -> None:
    """The medians as lines, faint behind them all seeds; one point alone as a dot."""
    ahead = [pair for pair in zip(bands, models, strict=True) if not pair[1].style.is_behind]
    around = [
        np.column_stack([np.append(b.x, b.x[::-1]), np.append(b.low, b.high[::-1])])
        for b, _ in ahead
    ]
    medians = [np.column_stack([found.x, found.median]) for found in bands]
    styles, labels = [model.style for model in models], [model.label for model in models]
    behind = PolyCollection(
        around,
        facecolors=[model.style.color for _, model in ahead],
        alpha=0.18,
        linewidths=0,
        gid=of_models(*(model.label for _, model in ahead)),
    )
    axes.add_collection(behind)
    draw_lines(axes, medians, styles, labels)
    for found, style, label in zip(bands, styles, labels, strict=True):
        if len(found.x) == 1:
            dot: Any = {"color": style.color, "gid": of_models(label)}
            axes.plot(found.x, found.median, style.marker, **dot)
