"""A suite's cells, settled: every "auto" resolved for this machine."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from bench.errors import UserError, one_line
from bench.suite import catalogue, data, tuned
from bench.suite.cell import Cell
from bench.suite.epochs import Epochs
from bench.suite.suite import Coordinates, Suite
from bench.train import hardware
from bench.train.budget import Budget
from bench.train.task import Task, task_for
from bench.train.team import Team
from bench.units import listed
from models.contract import Model, Recipe


def settle(suite: Suite) -> list[Cell]:
    """The cells of `suite`, with every "auto" resolved for this machine.

    A model that owes nothing to its seed has the suite's first one alone.

    Raises:
        UserError: the budget is in epochs and a data set has none, what is also tested on is no
            data set for prediction, this machine lacks the devices asked for, a batch cannot be
            divided over them, a model has no such size or cannot be built with its options, or has
            tuned recipes for several other budgets where the suite wants one, or two models or data
            sets have one label.
    """
    suite.check_labels()
    evaluation = suite.evaluation
    if evaluation.also_test_on:
        if suite.task != "prediction":
            raise UserError("also_test_on: only predictors are tested on further data sets")
        for reference in evaluation.also_test_on:
            catalogue.dataset_for(suite.task, reference)
        also = tuple(map(catalogue.absolute, evaluation.also_test_on))
        evaluation = evaluation.model_copy(update={"also_test_on": also})
    is_here = suite.launch.is_here
    device = hardware.resolve_device(suite.device, is_here)
    precision = hardware.resolve_precision(suite.precision, device, is_here)
    devices = suite.devices
    hardware.resolve_devices(suite.devices_a_node, device, is_here)
    step = hardware.resolve_step(suite.step, device, devices)
    usual = "small" if device == "cpu" else "published"
    size, asked = usual if suite.size == "auto" else suite.size, suite.budget_on(device)
    epochs = asked if isinstance(asked, Epochs) else None
    budget = (
        Budget("samples", 1.0) if isinstance(asked, Epochs) else asked
    )  # until clips are counted

    settled_on = hardware.device_name(device) if is_here else suite.launch.place

    def settled(at: Coordinates) -> Cell:
        model = catalogue.model_for(suite.task, at.model)
        catalogue.dataset_for(suite.task, at.dataset)
        name, content = catalogue.size_of(model, size)
        cell = Cell(
            suite=suite.name,
            task=suite.task,
            model=catalogue.absolute(at.model),
            dataset=catalogue.absolute(at.dataset),
            seed=at.seed,
            size=name,
            recipe=content.recipe if isinstance(suite.recipe, str) else suite.recipe,
            recipe_of=suite.recipe if isinstance(suite.recipe, str) else "shared",
            budget=budget,
            epochs=epochs.amount if epochs else None,
            evaluation=evaluation,
            limits=suite.limits,
            device=device,
            devices=devices,
            precision=precision,
            step=step,
            settled_on=settled_on if budget.kind == "seconds" else "",
        )
        if cell.missing_data:
            return cell
        _require_testable_elsewhere(cell)
        _require_buildable(cell.model, cell.size, cell.dataset)
        changes: dict[str, object] = {"settled_data": cell.data_digests}
        if epochs:
            cell = cell.changed(budget=epochs.of(cell.dataset, cell.data))
        if suite.recipe == "tuned" and cell.unbuildable:
            raise UserError(cell.unbuildable)
        recipe = cell.recipe
        if suite.recipe == "tuned" and cell.is_trained:
            recipe = tuned.recipe_of(cell, suite) or recipe
        if cell.is_trained is not False:
            changes["recipe"] = _as_asked(cell, recipe)
        else:
            changes["model"] = catalogue.without_recipe(cell.model)
        if devices > 1 and cell.is_trained is False:
            changes["devices"] = 1  # where nothing is trained there is nothing to share
        cell = cell.model_copy(update=changes)
        try:
            Team(0, cell.devices).divide(cell.recipe.batch_size)
        except UserError as error:
            raise UserError(f"{cell.model_name}: {error}") from error
        return cell

    cells, once = [], set()
    for at in suite.coordinates():
        if (at.model, at.dataset) in once:
            continue
        cells.append(settled(at))
        if len(suite.seeds) > 1 and not cells[-1].owes_to_seed:
            once.add((at.model, at.dataset))
    return list({(cell.model, cell.dataset, cell.seed): cell for cell in cells}.values())


def _as_asked(cell: Cell, recipe: Recipe) -> Recipe:
    """`recipe` with the fields that are written behind the name of the model.

    Raises:
        UserError: a value is out of its range.
    """
    try:
        return catalogue.recipe_as_asked(recipe, catalogue.recipe_options(cell.model))
    except UserError as error:
        raise UserError(f"{cell.model_name}: {error}") from error


def _require_testable_elsewhere(cell: Cell) -> None:
    """Make sure that the model of `cell` can take the clips of the further data sets.

    Raises:
        UserError: frames have another shape there, or other covariates than those it is given.
    """
    shape, covariates = cell.data.spec.frame_shape, cell.in_training.spec.covariates
    for name, reference in cell.elsewhere.items():
        other = data.opened(reference).spec
        if other.frame_shape != shape:
            here, there = ("x".join(map(str, each)) for each in (shape, other.frame_shape))
            raise UserError(
                f"a model trained on frames of {here} ({cell.dataset_name}) cannot be tested on"
                f" those of {there} ({name}): give both the same size and channels"
            )
        if covariates and other.covariates != covariates:
            there = listed([each.name for each in other.covariates]) or "none"
            raise UserError(
                f"{cell.model_name} is given the covariates of {cell.dataset_name}"
                f" ({listed([each.name for each in covariates])}), and cannot be tested on {name},"
                f" which has {there}"
            )


@cache
def _require_buildable(model: str, size: str, dataset: str) -> None:
    """Build the model of a reference with options, and run it, on PyTorch's `meta` device.

    Raises:
        UserError: its options do not fit, such as a width of -3.
    """
    cls, asked = catalogue.model(model), catalogue.model_options(model)
    if not asked:
        return
    spec = data.opened(dataset).spec
    short = replace(spec, context_frames=min(2, spec.context_frames), horizon=min(2, spec.horizon))
    usual = cls.sizes[size].options
    error = _fault(task_for(cls, short), cls, {**usual, **asked})
    if error is None or _fault(task_for(cls, short), cls, usual) is not None:
        return  # a model that needs values, not shapes alone, is no user's mistake
    raise UserError(
        f"{model} does not work on {dataset}: {type(error).__name__}: {one_line(error)}"
    )


def _fault(task: Task, cls: type[Model], options: Mapping[str, Any]) -> Exception | None:
    """What is raised where a model of `cls` is built with `options` and run on one clip."""
    try:
        with torch.device("meta"), torch.no_grad(), warnings.catch_warnings(action="ignore"):
            task.forward(task.build(cls, options), *task.given(task.blank()))
    except Exception as error:
        return error
    return None
