"""Figures against an option of a data set, where a suite has it in several values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench import records
from bench.errors import UserError
from bench.escape import file_stem, one_line
from bench.report.columns import COLUMNS, Column
from bench.report.plots.canvas import (
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
from bench.report.section import Section
from bench.suite.reference import Reference

COST = ("train_samples_per_second", "peak_bytes")
MOST = 1e12  # of an option that is a place on an axis
WIDE = 20  # the ratio of an option's values from which its axis is logarithmic
RECORDED = ("context_frames", "horizon")  # options whose default a section knows, too

Part = tuple[Section, pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A data set with one option in several values, all else alike."""

    title: str
    setting: str
    plots: list[Plot]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Axis:
    """What figures are drawn against: its label, and how each of its values is written."""

    label: str
    ticks: Mapping[float, str]
    is_logarithmic: bool


@styled
def sweep_plots(parts: Sequence[Part], styles: dict[str, Style]) -> list[Sweep]:
    """Quality, training speed and peak memory against each option that the suite sweeps.

    Args:
        parts: every section with its summary, the newest first.
        styles: how the models look.
    """
    found: list[Sweep] = []
    for dataset, option, swept in _swept(parts):
        section = next(iter(swept.values()))[0]
        lead, *others = COLUMNS[section.task]
        title = f"{dataset} by {option.replace('_', ' ')}"
        prefix = file_stem(f"0-{len(found) + 1}-{dataset}-by-{option}")
        rows = pd.concat(
            summary[summary["status"] == records.Status.DONE].assign(option=value)
            for value, (_, summary) in sorted(swept.items())
        )
        axis = Axis(
            one_line(option.replace("_", " "), 48),
            {value: f"{value:,g}" for value in swept},
            is_logarithmic=min(swept) > 0 and max(swept) > WIDE * min(swept),
        )
        plots = [
            swept_plot(rows[rows[column.name].notna()], column, axis, styles, prefix)
            for column in (lead, *(column for column in others if column.name in COST))
            if rows[column.name].notna().any()
        ]
        found.append(Sweep(title + section.of_size, section.common_setting, plots))
    return found


def _swept(parts: Sequence[Part]) -> Iterator[tuple[str, str, dict[float, Part]]]:
    """Each data set that has an option in several values, the option, and the parts by value."""
    alike: dict[tuple[Any, ...], dict[float, Part]] = {}
    for section, summary in parts:
        reference = _reference(section.dataset)
        options = _recorded(section) | dict(reference.options)
        for option, value in options.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST:
                fixed = {name: other for name, other in options.items() if name != option}
                key = (reference.name, option, repr(sorted(fixed.items())), *section.conditions)
                alike.setdefault(key, {}).setdefault(value, (section, summary))
    for (_, option, *_), swept in alike.items():
        if len(swept) > 1:
            section = next(iter(swept.values()))[0]
            yield _without(option, section.dataset), option, swept


def _recorded(section: Section) -> dict[str, int]:
    known = {name: getattr(section, name) for name in RECORDED}
    return {name: int(text) for name, text in known.items() if text.isdecimal() and len(text) < 10}


def _reference(dataset: str) -> Reference:
    """The data set and its options; a name that is no reference, as a run by hand has, as it is."""
    try:
        return Reference.parse(dataset)
    except UserError:
        return Reference(dataset, {})


def _without(option: str, dataset: str) -> str:
    """The name of the data set with its other options."""
    reference = _reference(dataset)
    others = {name: value for name, value in reference.options.items() if name != option}
    return Reference(reference.name, others).label(reference.name)


def swept_plot(
    rows: pd.DataFrame, column: Column, axis: Axis, styles: Mapping[str, Style], prefix: str
) -> Plot:
    """A line for each model through its figures of `column`, in a band of their intervals.

    Args:
        rows: of the summaries, each with its value on the axis as `option`.
        column: what is drawn.
        axis: what it is drawn against.
        styles: how the models look.
        prefix: begins the picture's name.
    """
    measure = column.measure
    rows, beyond = in_view(rows, column)
    ylabel = column.heading if not column.is_quality else f"test {column.heading}"
    figure, axes = panel(axis.label, ylabel, list(rows["label"].unique()))
    ends = []
    for label, line in rows.groupby("label", sort=False):
        style, values = styles[line["model"].iloc[0]], line[column.name] * column.scale
        half = (line[f"{column.name}_half_width"] * column.scale).fillna(0)
        gid = of_models(str(label))
        if not style.is_behind:
            band: Any = {"color": style.color, "alpha": 0.18, "linewidth": 0, "gid": gid}
            axes.fill_between(line["option"], values - half, values + half, **band)
        axes.plot(
            *(line["option"], values),
            color=style.color,
            linestyle=style.dash,
            linewidth=style.width,
            marker="" if style.is_behind else style.marker,
            markersize=4,
            zorder=style.zorder,
            gid=gid,
        )
        ends.append(Label(str(label), line["option"].iloc[-1], values.iloc[-1], style))
    there = sorted(rows["option"].unique())
    if axis.is_logarithmic:
        axes.set_xscale("log")
    axes.set_xticks(there, [axis.ticks[value] for value in there])
    axes.minorticks_off()
    figures = rows[column.name]
    if not column.is_quality and figures.min() > 0 and figures.max() > WIDE * figures.min():
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    axes.autoscale_view()
    keep_possible(axes.yaxis, measure)
    write_beside(ends, axes)
    short = column.name.replace("_", "-")
    title = "; ".join((f"{measure.label} against {axis.label}", *beyond))
    return (draw(figure, f"{prefix}-{short}", title),)


def in_view(rows: pd.DataFrame, column: Column) -> tuple[pd.DataFrame, list[str]]:
    """The `rows` without baselines so far off that the models would lie on one line; their names.

    That is farther from the trained models than these from each other.
    """
    values, half = rows[column.name], rows[f"{column.name}_half_width"].fillna(0)
    trained = ~rows["baseline"].astype(bool)
    low, high = (values - half)[trained].min(), (values + half)[trained].max()
    if not column.is_quality or not high > low:
        return rows, []
    near = trained | values.between(2 * low - high, 2 * high - low)
    beyond = [
        f"{label} is beyond, at {column.write(line[column.name].iloc[-1])}"
        for label, line in rows[~near].groupby("label", sort=False)
    ]
    return rows[near], beyond
