"""The plan of a run: the state of each cell, given what is recorded already."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import units
from bench.errors import UserError, unknown
from bench.run.checkpoint import Checkpoint
from bench.run.display import PlannedCell, RunSettings, State
from bench.run.estimate import training_seconds
from bench.run.recorded import Recorded
from bench.score.metrics import LEADING
from bench.suite.epochs import Epochs

if TYPE_CHECKING:
    from bench.suite.cell import Cell

OTHER_SECONDS = 45.0  # a guess, before anything is known: set-up, validation and test of a cell
BASELINE_SECONDS = 15.0  # the same for a model that is not trained


def check(cells: Sequence[Cell], force: str | None = None) -> None:
    """Check references and data of the cells before anything is written.

    Raises:
        UserError: a reference is wrong, no cell has data, or none has a name that `force` matches.
    """
    for cell in cells:
        _ = cell.name, cell.scored
    missing = [cell.missing_data for cell in cells]
    if all(missing):
        raise UserError("; ".join(dict.fromkeys(missing)))
    if force is not None and not any(is_forced(cell, force) for cell in cells):
        raise unknown("cell", force, (cell.name for cell in cells))


def plan(
    cells: Sequence[Cell], results: Path, recorded: Recorded, force: str | None = None
) -> list[PlannedCell]:
    """Each of the `cells` of one suite with its state.

    Args:
        cells: the settled cells.
        results: the folder that holds checkpoints.
        recorded: what is recorded of the suite and of others.
        force: a glob; cells whose name matches run even if they are done.
    """
    return [_planned(cell, results, recorded, is_forced(cell, force)) for cell in cells]


def is_forced(cell: Cell, force: str | None) -> bool:
    """Whether `cell` runs even if it is done."""
    return force is not None and (cell.name == force or fnmatch.fnmatch(cell.name, force))


def settings(cells: Sequence[Cell], workers: int = 1) -> RunSettings:
    """The common settings of the cells of one suite, for the display."""
    one, sizes = cells[0], dict.fromkeys(cell.size for cell in cells if cell.size != "only")
    size = ", ".join(sizes) or "only"
    budget = _budget(cells)
    unequal = _unequal_batches(cells) if one.budget.kind == "steps" else ""
    several = max(cell.devices for cell in cells)
    device = f"{several} x {one.device}" if several > 1 else one.device
    remarks = tuple(filter(None, (unequal, _untuned(cells), _frames_only(cells))))
    return RunSettings(one.suite, device, one.precision, size, budget, workers, remarks)


def _budget(cells: Sequence[Cell]) -> str:
    """The budget of all, in samples of each data set where it is written in epochs."""
    one = cells[0]
    if one.epochs is None:
        return units.budget(str(one.budget))
    there = (cell for cell in cells if not cell.missing_data)
    counted = {cell.dataset_name: units.budget(str(cell.budget)) for cell in there}
    apart = [f"{budget} of {name}" for name, budget in counted.items()]
    alike = [*dict.fromkeys(counted.values())]
    told = f": {', '.join(apart if len(alike) > 1 else alike)}" if counted else ""
    return f"{Epochs(one.epochs)}{told}"


def _unequal_batches(cells: Sequence[Cell]) -> str:
    there = (cell for cell in cells if not cell.missing_data)
    batches = [cell.recipe.batch_size for cell in there if cell.is_trained]
    return units.unequal_batches(batches)


def _untuned(cells: Sequence[Cell]) -> str:
    """Which models of a suite of tuned recipes have none; "" where all have theirs."""
    asked = [cell for cell in cells if cell.recipe_of == "tuned" and not cell.missing_data]
    without = (cell for cell in asked if cell.recipe.trials == 0 and cell.is_trained)
    names = dict.fromkeys(cell.name.partition("/")[0] for cell in without)
    return f"Not tuned, so by their own recipes: {', '.join(names)}." if names else ""


def _frames_only(cells: Sequence[Cell]) -> str:
    """Which models take no covariates, where a data set has some."""
    there = [cell for cell in cells if not cell.missing_data]
    blind = [
        cell for cell in there if cell.data.spec.covariates != cell.in_training.spec.covariates
    ]
    names = (units.listed([each.name for each in cell.data.spec.covariates]) for cell in blind)
    return units.frames_only((cell.model_name for cell in blind), names)


def planned(cell: Cell, state: State = "run", **more: Any) -> PlannedCell:
    """The `cell` in that state, for the display."""
    number = cell.seed if cell.trial is None else cell.trial
    place = cell.model_name, cell.size, cell.dataset_name, number, state
    return PlannedCell(cell.name, *place, **{"estimated_seconds": None, "task": cell.task} | more)


def _planned(cell: Cell, results: Path, recorded: Recorded, forced: bool) -> PlannedCell:
    if cell.missing_data:
        return planned(cell, "blocked", reason=cell.missing_data)
    if not forced:
        if run := recorded.scored(cell):
            return planned(cell, "done", result=run.metrics.get(LEADING[cell.task].key))
        if cell.trial is None and (run := recorded.trained(cell)):
            seconds = BASELINE_SECONDS
            return planned(cell, "rescore", estimated_seconds=seconds, weights_of=run.run_id)
    resumes = Checkpoint(results, cell.trained).has_state and not forced
    state: State = "resume" if resumes else "run"
    if cell.is_trained is False:
        known = recorded.seconds(cell) or BASELINE_SECONDS
        return planned(cell, state, estimated_seconds=known)
    training = training_seconds(cell, recorded)
    if training is None:
        return planned(cell, state, estimated_seconds=recorded.seconds(cell))
    if training.basis == "budget":
        known = recorded.seconds(cell) or training.seconds + OTHER_SECONDS
        return planned(cell, state, estimated_seconds=known)
    return planned(
        cell,
        state,
        estimated_seconds=training.seconds + OTHER_SECONDS,
        training_seconds=training.seconds,
        basis=training.basis,
    )
