"""The test of a trained cell on further data sets than the one it was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from bench.score.measure import measure
from bench.score.result import Result
from bench.score.samples import Draws
from bench.suite import data
from bench.suite.cell import Cell
from bench.train.loop import Loop
from bench.train.task import task_of


def tested_elsewhere(
    loop: Loop, cell: Cell, heartbeat: Callable[[float], None]
) -> dict[str, Result]:
    """What the test on each further data set finds, by its name; no frames are kept.

    Each has its own numbers of frames that are given and predicted, as a model takes any. Each
    process of a team calls this.
    """
    found = {}
    for name, reference in cell.elsewhere.items():
        other = data.opened(reference)
        count = data.clips_of(reference, "test", cell.evaluation.test_clips)
        task = task_of(cell.task, replace(other.spec, covariates=loop.task.spec.covariates))
        sample = partial(loop.sample, task=task)
        found[name] = measure(
            task,
            partial(loop.forward, task=task),
            loop.held_out_of(other, "test", count, heartbeat),
            showcase_clips=0,
            clusters=other.clusters("test", count),
            climatology=data.climatology(reference),
            draws=Draws(sample, cell.evaluation.samples) if cell.draws else None,
        )
    return found
