"""The trials of a suite: for every trained model the same recipes, as ordinary cells."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from bench.errors import UserError
from bench.suite import catalogue
from bench.suite.cell import Cell
from bench.suite.costs import cost_of
from bench.suite.reference import Reference
from bench.suite.settle import settle
from bench.suite.suite import Suite

ENDING = "-tuning"
"""How the experiment of a suite's trials is called, after the suite."""


@dataclass(frozen=True)
class Subject:
    """A model in a size on a data set, and its trials: each a cell a seed."""

    cell: Cell
    """As the suite has it, with a seed of the trials."""
    trials: list[list[Cell]]


def suite_of_trials(suite: Suite) -> Suite:
    """The suite that the trials of `suite` are recorded under.

    Raises:
        UserError: its name would be too long.
    """
    named = suite.with_overrides(name=suite.name + ENDING)
    return named.model_copy(update={"seeds": suite.tuning.seeds, "recipe": "published"})


def subjects(suite: Suite) -> list[Subject]:
    """All that is trained in a `suite_of_trials`, with its trials.

    Raises:
        UserError: as `settle`; or nothing of the suite is trained, or a model cannot be built, or
            has no options in the range of the suite.
    """
    cells = settle(suite.model_copy(update={"seeds": suite.seeds[:1]}))
    there = [cell for cell in cells if not cell.missing_data]
    for why in filter(None, (cell.unbuildable for cell in there)):
        raise UserError(why)
    trained = [cell for cell in there if cell.is_trained]
    for cell in trained:
        if asked := catalogue.recipe_options(cell.model):
            raise UserError(
                f"{cell.model_name}: trials choose the recipe, so leave out {', '.join(asked)}"
            )
    if not trained:
        raise UserError(f"{suite.name} has no trained model whose data are here: nothing to tune")
    return [Subject(cell, _trials(cell, suite)) for cell in trained]


def _trials(cell: Cell, suite: Suite) -> list[list[Cell]]:
    tuning, sizes = suite.tuning, _sizes(cell, suite.tuning.flops_per_sequence)
    settled = {"validation": cell.data_digests["validation"]}
    found = []
    for number, point in enumerate(tuning.points(), start=1):
        trial = cell.changed(
            trial=number,
            recipe=tuning.recipe(point, f"trial {number} of {tuning.trials}"),
            recipe_of="shared",
            model=sizes[int(point[2] * len(sizes))],
            settled_data=settled,
        )
        found.append([trial.changed(seed=seed) for seed in tuning.seeds])
    return found


def _sizes(cell: Cell, flops: tuple[float, float] | None) -> list[str]:
    """References of the model with all options to be tried, the cheapest first.

    Where options vary, these are all combinations of its `tunable` ones with which it predicts a
    sequence for `flops`; those that it refuses are left out.
    """
    asked, model = Reference.parse(cell.model), cell.model_class
    free = {name: values for name, values in model.tunable.items() if name not in asked.options}
    if flops is None or not free:
        return [cell.model]
    found: list[tuple[float, str]] = []
    for values in product(*free.values()):
        chosen: dict[str, Any] = dict(zip(free, values, strict=True))
        try:
            count = cost_of(model, {**cell.options, **chosen}, cell.data.spec).predict_flops
        except ValueError:
            continue
        if count is not None and flops[0] <= count <= flops[1]:
            options = {**asked.options, **chosen}
            found.append((count, Reference(asked.name, options).label(asked.name)))
    if not found:
        raise UserError(
            f"{cell.model_name} predicts no sequence for {flops[0]:g} to {flops[1]:g} FLOPs, "
            "whatever its tunable options: widen tuning.flops_per_sequence"
        )
    return [reference for _, reference in sorted(found)]
