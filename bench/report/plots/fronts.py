"""Speed against quality, and the models that none surpasses in both."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bench import records
from bench.report.cells import each
from bench.report.columns import COLUMNS, Column
from bench.report.marks import DISTURBED
from bench.report.plots.canvas import (
    GREY,
    INK,
    Label,
    Plot,
    Style,
    draw,
    keep_possible,
    of_models,
    panel,
    plain_numbers,
    styled,
    write_beside,
)
from bench.report.plots.sweeps import in_view
from bench.report.section import Section
from bench.score.metrics import REFERENCE

FASTER = 3  # times as fast as the fastest model, from which on a baseline is not drawn


@styled
def speed_plots(
    section: Section, summary: pd.DataFrame, styles: dict[str, Style], prefix: str
) -> list[Plot]:
    """The leading metric of the models against their speeds; the dashed line is the reference's.

    The stepped line joins the Pareto front: on its far side there is no model that counts. One of a
    marked cell is a hollow dot and stands on no front.
    """
    lead, *others = COLUMNS[section.task]
    done = summary[summary["status"] == records.Status.DONE]
    found: list[Plot] = []
    for column in (column for column in others if column.measure.key.startswith("speed/")):
        points = done[done[column.name].notna() & done[lead.name].notna() & (done[column.name] > 0)]
        if points.empty:
            continue
        points, beyond = in_view(points, lead)
        points, faster = _in_reach(points, column)
        label = column.measure.label
        xlabel = f"{label} ({column.measure.unit}) →"
        names = points["label"].where(points["marked"] == "", points["label"] + f" {DISTURBED}")
        points = points.assign(name=names)
        figure, axes = panel(xlabel, f"test {lead.heading}", list(names))
        axes.set_xscale("log")
        axes.margins(x=0.08, y=0.1)
        slowest, fastest = points[column.name].min(), points[column.name].max()
        if fastest < 1.01 * slowest:  # one model alone: the axis would have no width
            axes.set_xlim(slowest / 2, 2 * fastest)
        labels = [_dot(axes, row, column, lead, styles[row["model"]]) for row in each(points)]
        plain_numbers(axes.xaxis)
        axes.autoscale_view()
        _bound_quality(axes, lead)
        low, high = axes.get_ylim()
        for reference in done.loc[done["model"] == REFERENCE[section.task], lead.name]:
            if low <= reference * lead.scale <= high:  # else it would take the models' room
                axes.axhline(reference * lead.scale, color=GREY, linestyle="--", linewidth=1)
        _draw_front(axes, pareto(points, column.name, lead), column, lead)
        write_beside(labels, axes)
        name = f"{prefix}-{label.replace(' ', '-')}"
        title = "; ".join((f"Quality against {label}, and the Pareto front", *beyond, *faster))
        found.append((draw(figure, name, title),))
    return found


def pareto(points: pd.DataFrame, speed: str, lead: Column) -> pd.DataFrame:
    """The rows of `points` that no other equals in both and surpasses in one, the slowest first.

    A model of a marked cell is none of them, and surpasses none.
    """
    points = points[points["marked"] == ""]
    is_lower = lead.measure.better == "lower"
    fastest_first = points.sort_values([speed, lead.name], ascending=[False, is_lower])
    quality = fastest_first[lead.name] * (1 if is_lower else -1)
    ahead = quality.cummin().shift(fill_value=float("inf"))
    return fastest_first[quality < ahead].iloc[::-1]


def _in_reach(points: pd.DataFrame, speed: Column) -> tuple[pd.DataFrame, list[str]]:
    """The `points` without baselines so fast that the models would lie on one line; their names."""
    trained = ~points["baseline"].astype(bool)
    near = trained | (points[speed.name] <= FASTER * points.loc[trained, speed.name].max())
    if not trained.any():
        return points, []
    told = (f"{row['label']} has {speed.write(row[speed.name])}" for row in each(points[~near]))
    return points[near], [*told]


def _draw_front(axes: Axes, front: pd.DataFrame, speed: Column, lead: Column) -> None:
    """Draw the border of what some model reaches, up to the edges of the axes."""
    if front.empty:
        return
    x, y = front[speed.name].tolist(), (front[lead.name] * lead.scale).tolist()
    worst = axes.get_ylim()[lead.measure.better == "lower"]
    axes.step(
        *([axes.get_xlim()[0], *x, x[-1]], [y[0], *y, worst]),
        where="pre",
        color=INK,
        linewidth=0.8,
        alpha=0.6,
        scalex=False,
        scaley=False,
    )


def _bound_quality(axes: Axes, lead: Column) -> None:
    """Keep the vertical axis to what is possible, and as wide as figures alike need."""
    keep_possible(axes.yaxis, lead.measure)
    low, high = axes.get_ylim()
    if high - low < 1e-3 * high:  # all alike but for rounding
        axes.set_ylim(0.9 * low, 1.1 * high)


def _dot(axes: Axes, row: dict[str, Any], speed: Column, lead: Column, style: Style) -> Label:
    """Draw one model as a dot with its 95 % interval, where it has one; the label to write."""
    x, y = row[speed.name], row[lead.name] * lead.scale
    half = row[f"{lead.name}_half_width"] * lead.scale
    inside, size = "none" if row["marked"] else style.color, 5 if style.is_behind else 7
    look: Any = {"color": style.color, "markersize": size, "zorder": style.zorder}
    look["gid"] = of_models(row["label"])
    axes.plot(x, y, style.marker, markerfacecolor=inside, clip_on=False, **look)
    if half > 0 and not style.is_behind:
        axes.plot((x, x), (y - half, y + half), marker="_", **look)
    return Label(row["name"], x, y, style)
