"""Quality against the budget, where a suite was run under several: the ladder of budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from bench import records, units
from bench.escape import file_stem
from bench.report.columns import COLUMNS, Column
from bench.report.plots.canvas import Style, styled
from bench.report.plots.sweeps import Axis, Part, Sweep, swept_plot
from bench.report.scores import SequenceScores
from bench.report.statistics.crossings import Rung, crossings, to_beat_baselines
from bench.report.statistics.significance import paired
from bench.score.metrics import RECORDED


@styled
def ladders(
    parts: Sequence[Part], scores: SequenceScores, styles: Mapping[str, Style]
) -> list[Sweep]:
    """Quality against each kind of budget that has several amounts, and which models change places.

    Args:
        parts: every section with its summary, the newest first.
        scores: of the sections by sequence.
        styles: how the models look.
    """
    found: list[Sweep] = []
    for unit, rungs in _climbed(parts):
        section = rungs[0][0]
        prefix = file_stem(f"0-ladder-{len(found) + 1}-{section.dataset}")
        axis = Axis(
            f"training ({unit})",
            {its.budget_amount: units.budget(its.budget) for its, _ in rungs},
            is_logarithmic=True,
        )
        rows = pd.concat(
            summary[summary["status"] == records.Status.DONE].assign(option=its.budget_amount)
            for its, summary in rungs
        )
        qualities = [column for column in COLUMNS[section.task] if column.is_quality]
        plots = [
            swept_plot(rows[rows[column.name].notna()], column, axis, styles, prefix)
            for column in qualities
            if rows[column.name].notna().any()
        ]
        title = f"{section.title} by training"
        notes = tuple(_notes(rungs, qualities, scores))
        found.append(Sweep(title, section.under_any_budget, plots, notes))
    return found


def _climbed(parts: Sequence[Part]) -> Iterator[tuple[str, list[Part]]]:
    """The unit of each ladder and its parts, the lowest budget first."""
    alike: dict[tuple[Any, ...], dict[float, Part]] = {}
    for section, summary in parts:
        amount = section.budget_amount
        if amount > 0 and not section.done["baseline"].all():
            alike.setdefault(section.ladder, {}).setdefault(amount, (section, summary))
    for (unit, *_), rungs in alike.items():
        if len(rungs) > 1:
            yield {"flops": "FLOPs"}.get(unit, unit), [rungs[amount] for amount in sorted(rungs)]


def _notes(
    rungs: Sequence[Part], qualities: Sequence[Column], scores: SequenceScores
) -> Iterator[str]:
    """What of the curves is sure, in sentences."""
    lead = True
    for column in qualities:
        compared = [_rung(part, column, scores) for part in rungs]
        there = [rung for rung in compared if rung is not None]
        if len(there) < 2:
            continue
        if not any(rung.has_intervals for rung in there):
            yield "No model has an interval, so no change of places is sure: run more seeds."
            return
        if there[0].baselines:
            yield to_beat_baselines(there, column.measure)
        if lead:
            said = [*crossings(there, column.measure)]
            yield from said or [f"No two models surely change places on {column.measure.label}."]
        lead = False
    if not lead:
        yield (
            "Intervals of one budget hold together with 95 % confidence, those of several do not;"
            " bands are 95 % intervals over seeds."
        )


def _rung(part: Part, column: Column, scores: SequenceScores) -> Rung | None:
    """A budget with its models that finished and are not marked; None without their scores.

    A ratio of means says of two models what its parts do, which have their own sentences.
    """
    section, summary = part
    metric = RECORDED[section.task].get(column.name)
    if metric is None or metric.ratio or metric.better is None:
        return None
    scored = scores.of(section, metric.name)
    pairs = paired(section, scored, scores.clusters(section), metric.name)
    if pairs is None:
        return None
    counts = (summary["status"] == records.Status.DONE) & (summary["marked"] == "")
    baseline = summary["baseline"].astype(bool)
    trained, untrained = (summary.loc[counts & is_, "label"] for is_ in (~baseline, baseline))
    return Rung(units.budget(section.budget), pairs, [*trained], [*untrained])
