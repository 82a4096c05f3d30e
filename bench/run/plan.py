"""The plan of a run: the state of each cell, given what is recorded already."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import records
from bench.errors import UserError
from bench.records import Status
from bench.run.checkpoint import Checkpoint
from bench.run.display import PlannedCell, RunSettings, State
from bench.score.metrics import LEADING
from bench.store.mlflow import RecordedCell, Store
from bench.suite.cell import Cell
from bench.train.cost import Cost

OTHER_SECONDS = 45.0  # a guess, before anything is known: set-up, validation and test of a cell
BASELINE_SECONDS = 15.0  # the same for a model that is not trained


def check(cells: Sequence[Cell]) -> None:
    """Check references and data of the cells before anything is written.

    Raises:
        UserError: a reference is wrong, or no cell has data.
    """
    for cell in cells:
        _ = cell.name, cell.scored
    missing = [cell.missing_data for cell in cells]
    if all(missing):
        raise UserError("; ".join(dict.fromkeys(missing)))


def plan(
    cells: Sequence[Cell], results: Path, store: Store | None, force: str | None = None
) -> list[PlannedCell]:
    """Each of the `cells` of one suite with its state.

    Args:
        cells: the settled cells.
        results: the folder that holds checkpoints.
        store: what is recorded; None where there is no store yet.
        force: a glob; cells whose name matches run even if they are done.
    """
    recorded = _Recorded(store, cells[0].suite)
    return [_planned(cell, results, recorded, is_forced(cell, force)) for cell in cells]


def is_forced(cell: Cell, force: str | None) -> bool:
    """Whether `cell` runs even if it is done."""
    return force is not None and fnmatch.fnmatch(cell.name, force)


def settings(cells: Sequence[Cell], workers: int = 1) -> RunSettings:
    """The common settings of the cells of one suite, for the display."""
    one, sizes = cells[0], dict.fromkeys(cell.size for cell in cells if cell.size != "only")
    size = ", ".join(sizes) or "only"
    return RunSettings(one.suite, one.device, one.precision, size, str(one.budget), workers)


def planned(cell: Cell, state: State = "run", **more: Any) -> PlannedCell:
    """The `cell` in that state, for the display."""
    place = cell.model_name, cell.size, cell.dataset_name, cell.seed, state
    return PlannedCell(cell.name, *place, **{"estimated_seconds": None, "task": cell.task} | more)


class _Recorded:
    """The finished runs of a store by digest; the newest of each, this suite's before others."""

    def __init__(self, store: Store | None, suite: str) -> None:
        self.ours = store.cells(suite) if store else []
        others = [name for name in store.suites() if name != suite] if store else []
        elsewhere = [run for name in others if store for run in store.cells(name)]
        self.scored: dict[str, RecordedCell] = {}
        self.trained: dict[str, RecordedCell] = {}
        for run in [*reversed(elsewhere), *reversed(self.ours)]:
            if run.tags.get(records.STATUS) == Status.DONE:
                self.scored[run.tags.get(records.CELL, "")] = run
                if run.tags.get(records.WEIGHTS_BYTES, "0") != "0":
                    self.trained[run.tags.get(records.TRAINED, "")] = run

    def seconds(self, cell: Cell) -> float | None:
        """Duration of an earlier cell with the same settings."""
        for run in self.ours:
            same = all(
                run.params.get(key) == str(cell.params[key])
                for key in ("model", "size", "dataset", "budget", "device")
            )
            if same and "time/wall_seconds" in run.metrics:
                return run.metrics["time/wall_seconds"]
        return None


def _planned(cell: Cell, results: Path, recorded: _Recorded, forced: bool) -> PlannedCell:
    if cell.missing_data:
        return planned(cell, "blocked", reason=cell.missing_data)
    if cell.scored in recorded.scored and not forced:
        metrics = recorded.scored[cell.scored].metrics
        return planned(cell, "done", result=metrics.get(LEADING[cell.task].key))
    if cell.trained in recorded.trained and not forced:
        run_id = recorded.trained[cell.trained].run_id
        return planned(cell, "rescore", estimated_seconds=BASELINE_SECONDS, weights_of=run_id)
    resumes = Checkpoint(results, cell.trained).has_state and not forced
    seconds = recorded.seconds(cell) or _guessed_seconds(cell)
    return planned(cell, "resume" if resumes else "run", estimated_seconds=seconds)


def _guessed_seconds(cell: Cell) -> float | None:
    if Cost(cell.model_class, cell.options, cell.data.spec).parameters == 0:
        return BASELINE_SECONDS
    return cell.budget.amount + OTHER_SECONDS if cell.budget.kind == "seconds" else None
