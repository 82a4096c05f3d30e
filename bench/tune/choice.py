"""What the trials of a model came to: the best of them by validation, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import records
from bench.records import BEST_VALIDATION, Status
from bench.suite import catalogue
from bench.suite.tuned import Trial, Tuned, options_text

if TYPE_CHECKING:
    from bench.store.mlflow import RecordedCell
    from bench.suite.cell import Cell
    from bench.tune.trials import Subject

Runs = Mapping[str, "RecordedCell"]
"""The newest run of each cell, by its digest."""


def newest(runs: Sequence[RecordedCell]) -> Runs:
    """Of `runs`, the newest first, those that count: of each cell a finished one before others."""
    found: dict[str, RecordedCell] = {}
    for run in sorted(runs, key=lambda run: not run.is_done):
        found.setdefault(run.tags.get(records.CELL, ""), run)
    return found


def chosen(subject: Subject, runs: Runs) -> Tuned | None:
    """The best of the trials of `subject`, by the mean over seeds of its validation figure.

    A trial of which a seed diverged or failed is one of the trials, but never the best. None where
    no trial finished, or one is still to be run.
    """
    trials = [_trial(cells, runs) for cells in subject.trials]
    finished = [number for number, trial in enumerate(trials) if trial.validation is not None]
    if not finished or any(trial.ended == Status.MISSING for trial in trials):
        return None
    best = min(finished, key=lambda number: figure(trials[number]))
    first = subject.trials[best][0]
    every = [cell for cells in subject.trials for cell in cells]
    taken = [runs[cell.scored] for cell in every]
    seeds = [cell.seed for cell in subject.trials[best]]
    source = f"ours; best of {len(trials)} trials after {first.budget} on {first.dataset_name}"
    return Tuned(
        model=subject.cell.model_name,
        size=subject.cell.size,
        dataset=subject.cell.dataset_name,
        options=options_text(first.options),
        recipe=replace(first.recipe, source=source, origin="ours", trials=len(trials)),
        trials=tuple(trials),
        validation=figure(trials[best]),
        seeds=tuple(seeds),
        budget=str(first.budget),
        flops=_sum(taken, "train/flops"),
        cpu_seconds=_sum(taken, records.TRAIN_CPU_SECONDS),
        device=first.tags[records.DEVICE],
        precision=first.precision,
        commit=first.tags[records.COMMIT],
        code_digest=first.code_digest,
    )


def figure(trial: Trial) -> float:
    """What trials are compared by; infinite for one that counts for nothing."""
    return math.inf if trial.validation is None else trial.validation


def _trial(cells: Sequence[Cell], runs: Runs) -> Trial:
    """How the trial did that `cells` are the seeds of."""
    first = cells[0]
    ends = [_status(runs.get(cell.scored)) for cell in cells]
    bad = [end for end in ends if end != Status.DONE]
    figures = [] if bad else [_figure(first, runs[cell.scored]) for cell in cells]
    if not all(map(math.isfinite, figures)):
        bad, figures = [Status.DIVERGED.value], []
    options = catalogue.model_options(first.model)
    return Trial(
        learning_rate=first.recipe.learning_rate,
        batch_size=first.recipe.batch_size,
        options=options_text(options) if first.model_class.tunable.keys() & options.keys() else "",
        validation=math.fsum(figures) / len(figures) if figures else None,
        ended=max(bad, key=lambda end: end == Status.MISSING) if bad else Status.DONE.value,
    )


def _status(run: RecordedCell | None) -> str:
    """How a cell ended; "missing" where it is still to be run."""
    if run is None:
        return Status.MISSING.value
    status = run.tags.get(records.STATUS, "")
    begun = (Status.RUNNING, Status.INTERRUPTED, Status.SKIPPED)
    return Status.MISSING.value if status in begun else status


def _figure(cell: Cell, run: RecordedCell) -> float:
    """The best validation figure of a finished run; infinite where there is none."""
    return run.metrics.get(BEST_VALIDATION[cell.task], math.inf)


def _sum(runs: Sequence[RecordedCell], metric: str) -> float | None:
    """The sum of what is recorded of `metric`; None where nothing is."""
    known = [run.metrics[metric] for run in runs if metric in run.metrics]
    return math.fsum(known) if known else None
