"""What it took each model to reach the target that its suite declares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.records import VALIDATION, Measure, Status
from bench.report.cells import each
from bench.report.columns import Column, count
from bench.report.section import Section
from bench.report.table import ROW_FIELDS, Entry, Row, Table

COLUMNS = (
    Column("target_reached", Measure("target/reached", "seeds that reach it"), str),
    Column("target_seconds", Measure("target/seconds", "training", "s"), lambda s: f"{s:.1f}"),
    Column("target_samples", Measure("target/samples", "samples"), count),
    Column("target_flops", Measure("target/flops", "training FLOPs"), count),
)


@dataclass(frozen=True, slots=True)
class Target:
    """The table of a section's target, with its title and what its figures are."""

    title: str
    table: Table
    legend: str


@dataclass(frozen=True, slots=True)
class _Spent:
    """What a seed had spent, by the last of `COLUMNS`, and whether the target was reached then."""

    figures: tuple[float, ...]
    reached: bool


_NEVER = _Spent((math.inf,) * len(COLUMNS[1:]), reached=False)
"""Of a seed that diverged, whatever it had reached: it left no weights to use."""


def to_target(section: Section, summary: pd.DataFrame, curves: pd.DataFrame) -> Target | None:
    """What each trained model had spent when validation first reached the target.

    A seed that does not reach it counts as later than all that do: the figure is that by which at
    least half of the seeds had reached it, the median of Kaplan and Meier (Journal of the American
    Statistical Association 53, 1958), and where fewer did, more than the least that any spent. One
    that diverged never does: there is no figure where it is those that are missing from half.

    Args:
        section: the cells, of which the newest that was trained says the target.
        summary: their table.
        curves: their training curves.
    """
    done = section.done[~section.done["baseline"]]
    target, evaluations = _declared(done)
    if math.isnan(target):
        return None
    validation = VALIDATION[section.task]
    recorded = curves[curves["metric"] == validation.key]
    seeds: dict[str, list[_Spent]] = {}
    for cell in each(done):
        curve = recorded[recorded["run_id"] == cell["run_id"]].sort_values("steps")
        if len(curve):
            seeds.setdefault(cell["label"], []).append(_spent(cell, curve, target))
    diverged = section.cells.loc[section.cells["status"] == Status.DIVERGED, "label"]
    for label in filter(seeds.__contains__, diverged):
        seeds[label].append(_NEVER)
    rows = tuple(
        Row(**{name: row[name] for name in ROW_FIELDS}, entries=_entries(seeds[row["label"]]))
        for row in each(summary)
        if row["label"] in seeds and row["status"] == Status.DONE
    )
    legend = (
        "Spent up to the first validation at or below the target, when at least half of the seeds"
        " had one. “>”: fewer did within what they spent."
    )
    if any(_NEVER in of_model for of_model in seeds.values()):
        legend += " A seed that diverged counts as one that never has."
    if evaluations:
        legend += f" Validations: {evaluations} a cell, evenly over the budget."
    return Target(f"To reach a {validation.label} of {target:g}", Table(COLUMNS, rows), legend)


def _declared(done: pd.DataFrame) -> tuple[float, str]:
    """The target, NaN where none is declared, and the number of validations, of the newest cell."""
    newest = next(each(done.sort_values("started", ascending=False)), None)
    facts: dict[str, str] = newest["facts"] if newest else {}
    try:
        return float(facts.get("target", "nan")), facts.get("evaluations", "")
    except ValueError:  # "None"
        return math.nan, ""


def _spent(cell: dict[str, object], curve: pd.DataFrame, target: float) -> _Spent:
    good = (curve["value"] <= target).to_numpy()
    place = int(good.argmax()) if good.any() else -1
    seconds, samples, steps_taken = (
        float(curve[name].to_numpy()[place]) for name in ("train_seconds", "samples", "steps")
    )
    steps, flops = (float(str(cell[key])) for key in ("train/steps", "train/flops"))
    per_step = flops / steps if steps > 0 else math.nan
    return _Spent((seconds, samples, steps_taken * per_step), bool(good.any()))


def _entries(seeds: Sequence[_Spent]) -> tuple[Entry, ...]:
    reached = [seed.figures for seed in seeds if seed.reached]
    half = math.ceil(len(seeds) / 2)
    entries = [Entry(f"{len(reached)} of {len(seeds)}", float(len(reached)))]
    for place, column in enumerate(COLUMNS[1:]):
        if len(reached) >= half:
            found = sorted(figures[place] for figures in reached)[half - 1]
            mark, value = "", found
        else:
            found = min(seed.figures[place] for seed in seeds if not seed.reached)
            mark, value = "> ", math.nan
        text = mark + column.write(found) if math.isfinite(found) else "—"
        entries.append(Entry(text, None if math.isnan(value) else value))
    return tuple(entries)
