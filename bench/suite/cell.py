"""One settled cell: a model on a data set with a seed, and every setting of its result."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from bench import PROGRAM, atomic, records
from bench.errors import UserError, one_line, unknown
from bench.literature.conventions import columns
from bench.score.metrics import RECORDED
from bench.suite import catalogue, data, fingerprint
from bench.suite.costs import cost_of, is_of_the_house
from bench.suite.epochs import Epochs
from bench.suite.reference import Reference
from bench.suite.suite import Evaluation, FolderName, Limits, Seed
from bench.train import hardware
from bench.train.budget import Budget
from bench.train.cost import Cost
from bench.train.task import Task, task_for
from datasets.contract import Dataset, HeldOutName, TaskName
from models.contract import Model, Predictor, Recipe

NOT_OF_THE_FIGURES = ("source", "origin", "trials")
"""Fields of a recipe that do not affect training."""


class Cell(BaseModel):
    """All settings of one cell, frozen.

    `run` writes it as JSON and the process that runs the cell reads it, so that editing the suite
    file meanwhile changes nothing. Code digests are computed when they are first read.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    suite: FolderName
    """The suite it is recorded under; part of neither digest."""
    task: TaskName
    model: str
    """Reference of the model, with its options."""
    dataset: str
    """Reference of the data set, with its options."""
    seed: Seed
    size: str
    """The model's size by name."""
    recipe: Recipe
    recipe_of: Literal["published", "tuned", "shared"]
    """Whether the recipe is the model's own, found by `bench tune`, or one for the whole suite."""
    budget: Budget
    epochs: float | None = None
    """Those that the budget was written as; part of neither digest."""
    evaluation: Evaluation
    limits: Limits
    device: hardware.Device
    devices: int = 1
    """How many of them share each training step and the test."""
    precision: hardware.Precision
    step: hardware.Step
    """How training steps are asked to run; the tag `bench.step` says how they did."""
    settled_data: dict[HeldOutName, str] = {}
    """The digests that `data_digests` had when it was settled; none where data were missing."""
    settled_on: str = ""
    """Where the budget is in seconds, what their worth depends on: the device's name, or which jobs
    of a cluster; else ""."""
    trial: int | None = None
    """Its number among the trials of `bench tune`, which are judged by validation and have no test;
    None for a cell of a suite."""

    # --- what it names -----------------------------------------------------------------------

    @cached_property
    def model_class(self) -> type[Model]:
        """The model's class."""
        return catalogue.model_for(self.task, self.model)

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """The keyword arguments that build the model: its size's, and those asked for."""
        of_size = self.model_class.sizes[self.size].options
        return {**of_size, **catalogue.model_options(self.model)}

    @cached_property
    def dataset_class(self) -> type[Dataset]:
        """The data set's class."""
        return catalogue.dataset_for(self.task, self.dataset)

    @property
    def data(self) -> Dataset:
        """The data set, opened.

        Raises:
            DataMissing: its data are not on this machine.
        """
        return data.opened(self.dataset)

    @cached_property
    def in_training(self) -> Task:
        """The task of its clips, for training and test."""
        return task_for(self.model_class, self.data.spec)

    @cached_property
    def cost(self) -> Cost:
        """Parameters and FLOPs of its model on these clips."""
        return cost_of(self.model_class, self.options, self.data.spec)

    @cached_property
    def unbuildable(self) -> str:
        """Why its model cannot be built; "" where it can."""
        try:
            _ = self.cost.parameters
        except (Exception, SystemExit) as error:
            why = f"{type(error).__name__}: {one_line(error)}"
            return f"{self.model} cannot be built on {self.dataset}: {why}"
        return ""

    @property
    def is_trained(self) -> bool | None:
        """Whether its model has parameters to train; None where it cannot be built."""
        return None if self.unbuildable else self.cost.parameters > 0

    @property
    def owes_to_seed(self) -> bool:
        """Whether its seed decides its figures, as far as can be told.

        Where a model has no parameters, its seed decides nothing but the samples it may draw, and
        the clips that a baseline is fitted to.
        """
        return self.draws or bool(self.missing_data) or self.is_trained is not False

    @property
    def draws(self) -> bool:
        """Whether its model draws several futures of one context."""
        return getattr(self.model_class, "sample", None) not in (None, Predictor.sample)

    @property
    def model_name(self) -> str:
        """The model's name, with the options asked for."""
        return Reference.parse(self.model).label(self.model_class.name)

    @property
    def dataset_name(self) -> str:
        """The data set's name, with the options asked for."""
        return data.name_of(self.dataset)

    @property
    def name(self) -> str:
        """Model, size, data set and seed, such as `convlstm-small/moving_mnist/0`."""
        size = "" if self.size == "only" else f"-{self.size}"
        of_trial = "" if self.trial is None else f"/trial {self.trial}"
        return f"{self.model_name}{size}/{self.dataset_name}/{self.seed}{of_trial}"

    # --- data ----------------------------------------------------------------------------------

    @property
    def missing_data(self) -> str:
        """Why its data are missing; "" where they are not."""
        if why := data.missing(self.dataset, self.evaluation):
            return why
        further = self.elsewhere.values()
        found = (data.missing(of, self.evaluation, tested_only=True) for of in further)
        return next(filter(None, found), "")

    @property
    def elsewhere(self) -> dict[str, str]:
        """The further data sets that it is tested on by name, with their references."""
        asked = self.evaluation.also_test_on or ()
        named = {data.name_of(reference): reference for reference in asked}
        return {name: of for name, of in named.items() if name != self.dataset_name}

    @property
    def budget_told(self) -> str:
        """Its budget as it is recorded: in epochs where their clips are missing, uncounted."""
        uncounted = self.epochs is not None and self.missing_data
        return str(Epochs(self.epochs or 1)) if uncounted else str(self.budget)

    @property
    def is_of_the_house(self) -> bool:
        """Whether the model is one of ours; what others do in training may end a process."""
        return is_of_the_house(self.model_class)

    @cached_property
    def held_out_clips(self) -> dict[HeldOutName, int]:
        """How many clips of each split this cell is measured on.

        Raises:
            DataMissing: there are none.
        """
        asked = self.evaluation.clips
        if self.trial is not None:
            del asked["test"]
        return {split: data.clips_of(self.dataset, split, count) for split, count in asked.items()}

    @cached_property
    def data_digests(self) -> dict[HeldOutName, str]:
        """Digests of the pixels of these clips.

        Raises:
            DataMissing: there are none.
        """
        return {
            split: data.digest(self.dataset, split, clips)
            for split, clips in self.held_out_clips.items()
        }

    @cached_property
    def clusters(self) -> Tensor:
        """The cluster of each test clip, int64 [test clips].

        Raises:
            DataMissing: there are none.
            UserError: the data set does not give one number for each.
        """
        count = self.held_out_clips["test"]
        found = self.data.clusters("test", count)
        if tuple(found.shape) != (count,) or found.dtype != torch.int64:
            what = f"{found.dtype} {tuple(found.shape)}, not torch.int64 ({count},)"
            raise UserError(f"the clusters of {self.dataset} are {what}, one for each test clip")
        return found

    def check_data(self) -> None:
        """Make sure that the clips here are those it was settled with.

        Raises:
            UserError: there are none, or others.
        """
        if self.missing_data:
            raise UserError(self.missing_data)
        for split, digest in self.settled_data.items():
            if self.data_digests[split] != digest:
                raise UserError(
                    f"the {split} clips of {self.dataset} are not those that the cell was settled "
                    f"with: bring the same data here, or run the suite again"
                )

    @cached_property
    def compared(self) -> frozenset[str]:
        """The metrics that published figures are compared in, which few cells need.

        Raises:
            DataMissing: its data are not on this machine.
        """
        spec = self.data.spec
        found = columns(self.model_name, self.dataset_name, spec.context_frames, spec.horizon)
        return found - RECORDED[self.task].keys()

    # --- what it is ----------------------------------------------------------------------------

    @cached_property
    def trained(self) -> str:
        """Digest of everything its weights depend on; without any, no budget and no recipe do."""
        told = {k: v for k, v in asdict(self.recipe).items() if k not in NOT_OF_THE_FIGURES}
        training = [asdict(self.budget), told, self.evaluation.evaluations, self.settled_on]
        if not self.missing_data and self.is_trained is False:
            training = [None] * len(training)
        budget, recipe, evaluations, settled_on = training
        return fingerprint.digest(
            [
                [self.task, self.model_name, self.dataset_name, self.seed, self.device],
                [budget, recipe, self.options, self.precision, self.step],
                evaluations,
                fingerprint.code_digest(self.model_class, self.dataset_class),
                fingerprint.harness_digest("trained"),
                [fingerprint.arithmetic(), settled_on],
                *([self.devices] if self.devices > 1 else []),
                [self._digest_of("validation"), self._training_digest],
            ]
        )

    @cached_property
    def scored(self) -> str:
        """Digest of all its figures depend on: weights, clips, clusters, climatology, metrics."""
        if self.trial is not None:
            return fingerprint.digest([self.trained, "trial"])
        harness = fingerprint.harness_digest("scored")
        metrics = None if self.missing_data else sorted(self.compared)
        clusters = None if self.missing_data else self.clusters.tolist()
        usual = "" if self.missing_data else data.climatology_digest(self.dataset)
        return fingerprint.digest(
            [
                *[self.trained, harness, self._digest_of("test"), metrics, clusters],
                *([usual] if usual else []),
                *([self.evaluation.samples] if self.draws else []),
                *([self._digests_elsewhere] if self.elsewhere else []),
            ]
        )

    @property
    def _digests_elsewhere(self) -> dict[str, list[Any]] | None:
        """What is tested there, by data set."""
        if self.missing_data:
            return None
        asked = self.evaluation.test_clips
        return {name: data.tested(each, asked) for name, each in self.elsewhere.items()}

    @property
    def _training_digest(self) -> list[str | None] | None:
        return None if self.missing_data else data.training_digest(self.task, self.dataset)

    def _digest_of(self, split: HeldOutName) -> str | None:
        return None if self.missing_data else self.data_digests[split]

    @property
    def code_digest(self) -> str:
        """Digest of the code that makes this cell's figures."""
        of_cell = fingerprint.code_digest(self.model_class, self.dataset_class)
        return fingerprint.digest([of_cell, self._harness])

    @property
    def common_code_digest(self) -> str:
        """Digest of the part of it that all models on this data set share."""
        return fingerprint.digest([fingerprint.code_digest(self.dataset_class), self._harness])

    @property
    def _harness(self) -> list[str]:
        return [fingerprint.harness_digest("trained"), fingerprint.harness_digest("scored")]

    # --- how it is recorded --------------------------------------------------------------------

    @cached_property
    def params(self) -> dict[str, object]:
        """Its settings, by their names in MLflow."""
        recipe = asdict(self.recipe)
        fields: dict[str, object] = {
            "task": self.task,
            "model": self.model_name,
            "size": self.size,
            "dataset": self.dataset_name,
            "seed": self.seed,
            "suite": self.suite,
            "budget": self.budget_told,
            f"budget.{self.budget.kind}": self.budget.amount,
            **({} if self.epochs is None else {records.EPOCHS: self.epochs}),
            "device": self.device,
            "precision": self.precision,
            "step": self.step,
            **({"devices": self.devices} if self.devices > 1 else {}),
            "recipe": self._recipe_name,
            records.MODEL_REFERENCE: self.model,
            records.DATASET_REFERENCE: self.dataset,
        }
        fields |= {f"recipe.{key}": value for key, value in recipe.items()}
        fields |= {f"model.{key}": value for key, value in self.options.items()}
        not_its_own = set() if self.draws else {"samples"}
        fields |= self.evaluation.model_dump(exclude_none=True, exclude=not_its_own)
        if self.elsewhere:
            fields[records.ALSO_TESTED_ON] = json.dumps([*self.elsewhere])
        if self.trial is not None:
            fields |= {"trial": self.trial, "test_clips": 0}
        if not self.missing_data:
            fields |= {f"{split}_clips": clips for split, clips in self.held_out_clips.items()}
        return fields

    @property
    def _recipe_name(self) -> str:
        """The name "published" or "tuned", or one that differs between shared recipes."""
        if self.recipe_of != "shared":
            return self.recipe_of
        told = {k: v for k, v in asdict(self.recipe).items() if k not in ("origin", "trials")}
        return f"shared {fingerprint.digest(told)[:6]}"

    @property
    def on(self) -> str:
        """What the name of its device follows, such as "4 x "; "" for one."""
        return f"{self.devices} x " if self.devices > 1 else ""

    @property
    def tags(self) -> dict[str, str]:
        """The tags of its run, known before it starts."""
        return {
            records.KIND: "cell",
            records.TRAINED: self.trained,
            records.CELL: self.scored,
            records.STATUS: records.Status.RUNNING.value,
            records.COMMIT: fingerprint.commit(),
            records.CODE_DIGEST: self.code_digest,
            records.MODEL_CODE: fingerprint.code_digest(self.model_class),
            records.COMMON_CODE: self.common_code_digest,
            records.DEVICE: self.on + hardware.device_name(self.device),
            **fingerprint.versions(),
        }

    def with_step(self, step: hardware.Step | None) -> Cell:
        """This cell with its training steps run as `step`, where one is given: another cell.

        Raises:
            UserError: its device has none.
        """
        if step is None:
            return self
        return self.changed(step=hardware.resolve_step(step, self.device))

    def for_steps(self, steps: int) -> Cell:
        """This cell with a budget of so many steps, the same on every device: another cell."""
        return self.changed(budget=Budget("steps", steps), settled_on="")

    def changed(self, **changes: Any) -> Cell:
        """This cell with other settings: another cell, of which nothing is known yet."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**fields | changes)

    # --- as a file -----------------------------------------------------------------------------

    def file(self, results: Path) -> Path:
        """The file `run` writes it to, read by its process and by re-runs by hand."""
        return results / self.suite / "cells" / f"{self.trained}.json"

    def write(self, results: Path) -> Path:
        """Write it as JSON; the file."""
        path = self.file(results)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(path) as new:
            new.write_text(self.model_dump_json(indent=2), encoding="utf-8")
        return path

    def command(self, results: Path, tracking_uri: str | None = None) -> str:
        """The command line that runs this cell again."""
        words = [*PROGRAM.split(), "cell", str(self.file(results))]
        words += [] if results == Path("results") else ["--results", str(results)]
        words += [] if tracking_uri is None else ["--tracking-uri", tracking_uri]
        return shlex.join(words)


def read(path: Path) -> Cell:
    """The cell that `run` wrote to the file `path`.

    Raises:
        UserError: there is no such file, or it holds no cell that this machine could run.
    """
    if not os.path.isfile(path):  # noqa: PTH113, which raises where a name is too long
        raise UserError(f"there is no cell file {str(path)!r}")
    try:
        cell = Cell.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"the cell file {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where} {first['msg'].removeprefix('Value error, ')}".strip()
        raise UserError(f"{path} is no cell of this version: {what}") from error
    if cell.size not in cell.model_class.sizes:
        raise unknown(f"size of {cell.model}", cell.size, cell.model_class.sizes)
    catalogue.dataset_for(cell.task, cell.dataset)
    hardware.resolve_device(cell.device)
    return cell
