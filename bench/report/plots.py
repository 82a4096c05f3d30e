"""Pictures of a section: an SVG that takes the page's colours, and the same as PNG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from bench import records
from bench.records import QUALITY, VALIDATION
from bench.report.collect import HORIZON_METRICS, Section, each
from bench.report.columns import COLUMNS, REFERENCE, Column

# Okabe and Ito's colour-blind safe palette, without yellow and black, which a page may swallow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "-.", (0, (1, 1)))
GREY = "#7d8590"
INK, FAINT = "#1f2328", "#d8dee4"  # in the SVG: the page's own ink and hairline
PNG_DPI = 150
LABEL_HEIGHT = 0.065  # as a fraction of the axes
_RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # the page's; named in every text of an SVG
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a name is no formula
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}

styled = mpl.rc_context(_RC)
"""Decorates a function that draws."""

Dash = str | tuple[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Style:
    """How one model is drawn everywhere."""

    color: str
    dash: Dash
    marker: str = "o"


@dataclass(frozen=True, slots=True)
class Label:
    """A name to write beside the point (x, y) of a plot."""

    text: str
    x: float
    y: float
    color: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished drawing; `name` is its file name without the ending."""

    name: str
    title: str
    svg: str
    png: bytes


def styles(cells: pd.DataFrame) -> dict[str, Style]:
    """A style for every model of the suite: baselines grey, references dashed, others coloured."""
    baseline = cells.groupby("model")["baseline"].first()
    references = [name for name in REFERENCE.values() if name in baseline.index]
    trained = sorted(set(baseline.index[~baseline]) - set(references))
    others = sorted(set(baseline.index[baseline]) - set(references))
    found = {name: Style(GREY, "--", "s") for name in references}
    found |= {name: Style(GREY, (0, (1, 1 + i)), "D") for i, name in enumerate(others)}
    for index, name in enumerate(trained):
        turn, place = divmod(index, len(PALETTE))
        found[name] = Style(PALETTE[place], DASHES[turn % len(DASHES)])
    return found


@styled
def learning_panels(curves: pd.DataFrame, styles: dict[str, Style], prefix: str) -> list[Picture]:
    """The losses of training and validation against training seconds; each seed is one line."""
    wanted = [(records.TRAIN_LOSS, "loss", "training loss", "Training loss, each model's own")]
    for measure in VALIDATION.values():
        name = measure.key.replace("val/", "validation-")
        title = f"{measure.label[0].upper()}{measure.label[1:]} over time"
        wanted.append((measure.key, name, measure.label, title))
    found = []
    for metric, name, label, title in wanted:
        lines = curves[curves["metric"] == metric]
        if lines.empty:
            continue
        figure, axes = _panel("training time (s)", f"{label} ↓")
        ends = {}
        for _, line in lines.groupby(["label", "run_id"]):
            cell = line.iloc[0]
            ends[cell["label"]] = _learning_line(axes, line, styles[cell["model"]])
        if (lines["value"] > 0).all():
            axes.set_yscale("log")
            _plain_numbers(axes.yaxis)
        _label_ends(axes, ends)
        found.append(draw(figure, f"{prefix}-{name}", title))
    return found


@styled
def horizon_panels(quality: pd.DataFrame, styles: dict[str, Style], prefix: str) -> list[Picture]:
    """Each quality measure against the predicted frame, where there is more than one."""
    found = []
    for metric in HORIZON_METRICS:
        lines = quality[quality["metric"] == metric]
        if lines["frame"].nunique() < 2:
            continue
        measure = QUALITY["prediction"][metric]
        unit = f" ({measure.unit})" if measure.unit else ""
        figure, axes = _panel("predicted frame", f"test {measure.label}{unit} {measure.arrow}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        ends = {}
        for name, line in lines.sort_values("frame").groupby("label"):
            style = styles[line["model"].iloc[0]]
            axes.plot(
                line["frame"],
                line["value"],
                color=style.color,
                linestyle=style.dash,
                marker=style.marker,
                markersize=3,
            )
            ends[str(name)] = (float(line["value"].iloc[-1]), style)
        _label_ends(axes, ends)
        title = f"{measure.label} by predicted frame"
        found.append(draw(figure, f"{prefix}-horizon-{metric}", title))
    return found


@styled
def speed_panels(
    section: Section, summary: pd.DataFrame, styles: dict[str, Style], prefix: str
) -> list[Picture]:
    """What ranks the models against their speeds; the dashed line is the reference's."""
    lead, *others = COLUMNS[section.task]
    done = summary[summary["status"] == records.Status.DONE]
    found = []
    for column in (column for column in others if column.measure.key.startswith("speed/")):
        points = done[done[column.name].notna() & done[lead.name].notna() & (done[column.name] > 0)]
        if points.empty:
            continue
        label = column.measure.label
        figure, axes = _panel(f"{label} ({column.measure.unit}) →", f"test {lead.heading}")
        axes.set_xscale("log")
        axes.margins(x=0.15, y=0.15)
        slowest, fastest = points[column.name].min(), points[column.name].max()
        if fastest < 1.01 * slowest:  # one model alone: the axis would have no width
            axes.set_xlim(slowest / 2, 2 * fastest)
        for reference in done.loc[done["model"] == REFERENCE[section.task], lead.name]:
            axes.axhline(reference * lead.scale, color=GREY, linestyle="--", linewidth=1)
        labels = [_dot(axes, row, column, lead, styles[row["model"]]) for row in each(points)]
        _plain_numbers(axes.xaxis)
        axes.autoscale_view()
        _bound_quality(axes, lead)
        _write(labels, axes, lift=6)  # off the dashed line
        name = f"{prefix}-{label.replace(' ', '-')}"
        found.append(draw(figure, name, f"Quality against {label}"))
    return found


def draw(figure: Figure, name: str, title: str) -> Picture:
    """`figure` as SVG and PNG; call it from a `styled` function."""
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=PNG_DPI, facecolor="white")
    figure.set_layout_engine("none")  # laid out once, and so alike in both
    with mpl.rc_context({"svg.hashsalt": name}):  # or the ids of two pictures in a page clash
        figure.savefig(svg, format="svg", transparent=True, metadata=_NO_METADATA)
    text = svg.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor").replace(FAINT, "var(--line)")
    return Picture(name, title, text, png.getvalue())


def _panel(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _plain_numbers(axis: Axis) -> None:
    """Write the numbers of a logarithmic axis in full, more of them where it spans little."""
    low, high = axis.get_view_interval()
    if high / low < 4:
        axis.set_major_locator(MaxNLocator(5))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axis.set_minor_locator(NullLocator())


def _learning_line(axes: Axes, line: pd.DataFrame, style: Style) -> tuple[float, Style]:
    """Draw one seed's curve, a long one smoothed over a faint original; its end and style."""
    seconds, values = line["train_seconds"], line["value"]
    window = len(values) // 30
    if window > 1:
        axes.plot(seconds, values, color=style.color, alpha=0.2, linewidth=0.8)
        values = values.rolling(window, min_periods=1, center=True).median()
    dot = style.marker if len(values) == 1 else None  # one point alone makes no line
    axes.plot(seconds, values, color=style.color, linestyle=style.dash, marker=dot)
    return float(values.iloc[-1]), style


def _label_ends(axes: Axes, ends: dict[str, tuple[float, Style]]) -> None:
    """Write each line's label beside the axes, at the height where the line ends."""
    axes.autoscale_view()
    right = axes.get_xlim()[1]
    _write([Label(name, right, value, style.color) for name, (value, style) in ends.items()], axes)


def _write(labels: list[Label], axes: Axes, lift: float = 0) -> None:
    """Write `labels` right of their points, `lift` points above, higher where they overlap."""
    to_fraction = axes.transData + axes.transAxes.inverted()
    free = -1.0
    for label in sorted(labels, key=lambda label: label.y):
        free = max(float(to_fraction.transform((label.x, label.y))[1]), free + LABEL_HEIGHT)
        axes.annotate(
            label.text,
            (label.x, free),
            xycoords=axes.get_xaxis_transform(),
            xytext=(8, lift),
            textcoords="offset points",
            va="center",
            color=label.color,
        )


def _bound_quality(axes: Axes, lead: Column) -> None:
    """Keep the vertical axis to what a share can be, and as wide as figures alike need."""
    low, high = axes.get_ylim()
    if lead.measure.unit == "%":  # an interval may reach further
        axes.set_ylim(max(low, -5), min(high, 105))
    if high - low < 1e-3 * high:  # all alike but for rounding
        axes.set_ylim(0.9 * low, 1.1 * high)


def _dot(axes: Axes, row: dict[str, Any], speed: Column, lead: Column, style: Style) -> Label:
    """Draw one model as a dot with its 95 % interval, where it has one; the label to write."""
    x, y = row[speed.name], row[lead.name] * lead.scale
    spread = row[f"{lead.name}_half_width"] * lead.scale
    axes.errorbar(
        x,
        y,
        yerr=spread if spread > 0 else None,
        color=style.color,
        marker=style.marker,
        markersize=7,
        capsize=3,
    )
    return Label(row["label"], x, y, style.color)
