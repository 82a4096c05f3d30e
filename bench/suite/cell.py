"""The cells of a suite, resolved on this machine: what each is, and whether it still has to run."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from bench import score as tasks
from bench.console import PlannedCell, RunSettings
from bench.console.display import State
from bench.score.task import Task
from bench.store import records
from bench.suite import catalogue, fingerprint
from bench.suite.reference import Reference
from bench.suite.suite import Coordinates, Evaluation, Suite
from bench.train import hardware
from datasets.contract import DataMissing, Dataset, HeldOutName
from models.contract import Model, Recipe


def resolve_suite(suite: Suite) -> Suite:
    """The suite with every "auto" settled for this machine.

    Raises:
        UserError: this machine lacks the device asked for.
    """
    device = hardware.resolve_device(suite.device)
    return suite.with_overrides(
        device=device,
        precision=hardware.resolve_precision(suite.precision, device),
        size=suite.size if suite.size != "auto" else "small" if device == "cpu" else "published",
    )


def run_settings(suite: Suite, workers: int = 1) -> RunSettings:
    """What holds for every cell of a resolved `suite`, as the terminal shows it."""
    budget = str(suite.budget)
    return RunSettings(suite.name, suite.device, suite.precision, suite.size, budget, workers)


@cache
def open_dataset(reference: str) -> Dataset:
    """The data set of that name, opened once.

    Raises:
        DataMissing: its data are not on this machine.
    """
    return catalogue.open_dataset(reference)


@cache
def clips_of(reference: str, split: HeldOutName, asked: int) -> int:
    """How many clips of `split` are used where `asked` are: these, or all that there are.

    Raises:
        DataMissing: there are none.
    """
    there = len(open_dataset(reference).held_out(split))
    if not there:
        raise DataMissing(f"{reference} has no {split} clips: prepare more of it")
    return min(asked, there)


@cache
def data_digest(reference: str, split: HeldOutName, clips: int) -> str:
    """Digest of the pixels of the first `clips` of `split`."""
    return open_dataset(reference).digest(split, clips)


@cache
def _code_digest(classes: tuple[type, ...], task: str) -> str:
    """Digest of the code behind `classes`, which reads and parses every file of it."""
    return fingerprint.code_digest(classes, task)


@cache
def missing_data(reference: str, held_out: Evaluation) -> str:
    """Why the data set has no clips to be measured on; "" where it has."""
    try:
        for split, asked in held_out.clips.items():
            data_digest(reference, split, clips_of(reference, split, asked))
    except DataMissing as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class Cell:
    """One model on one data set with one seed, all of it settled."""

    suite: Suite
    suite_reference: str
    at: Coordinates
    places: tuple[str, ...] = ()
    """The flags that say where results lie, where they are not the default."""

    @cached_property
    def model(self) -> type[Model]:
        """The model's class."""
        return catalogue.model_for(self.suite.task, self.at.model)

    @property
    def model_name(self) -> str:
        """The model's name, with the options asked for."""
        return Reference.parse(self.at.model).label(self.model.name)

    @cached_property
    def size(self) -> str:
        """The model's size by name."""
        return catalogue.size_of(self.model, self.suite.size)[0]

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """The keyword arguments that build it: its size's, and those asked for."""
        return {**self.model.sizes[self.size].options, **Reference.parse(self.at.model).options}

    @cached_property
    def recipe(self) -> Recipe:
        """How it is trained: the suite's shared recipe, or the model's own."""
        shared = self.suite.recipe
        return shared if isinstance(shared, Recipe) else self.model.sizes[self.size].recipe

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, opened.

        Raises:
            DataMissing: its data are not on this machine.
        """
        return open_dataset(self.at.dataset)

    @cached_property
    def dataset_class(self) -> type[Dataset]:
        """The data set's class."""
        return catalogue.dataset_for(self.suite.task, self.at.dataset)

    @cached_property
    def task(self) -> Task:
        """What is done with the clips of the data set."""
        return tasks.of(self.suite.task, self.dataset.spec)

    @property
    def missing_data(self) -> str:
        """Why there are no clips to be measured on; "" where there are."""
        return missing_data(self.at.dataset, self.suite.evaluation)

    @property
    def device(self) -> hardware.Device:
        """The device it runs on."""
        return hardware.resolve_device(self.suite.device)

    @property
    def dataset_name(self) -> str:
        """The data set's name, with the options asked for."""
        return Reference.parse(self.at.dataset).label(self.dataset_class.name)

    @property
    def name(self) -> str:
        """Model, size, data set and seed, such as `convlstm-small/moving_mnist/0`."""
        size = "" if self.size == "only" else f"-{self.size}"
        return f"{self.model_name}{size}/{self.dataset_name}/{self.at.seed}"

    @cached_property
    def held_out_clips(self) -> dict[HeldOutName, int]:
        """How many clips of each split this cell is measured on.

        Raises:
            DataMissing: there are none.
        """
        asked = self.suite.evaluation.clips
        return {split: clips_of(self.at.dataset, split, count) for split, count in asked.items()}

    @cached_property
    def data_digests(self) -> dict[HeldOutName, str]:
        """Digests of the pixels of these clips.

        Raises:
            DataMissing: there are none.
        """
        return {
            split: data_digest(self.at.dataset, split, clips)
            for split, clips in self.held_out_clips.items()
        }

    @property
    def code_digest(self) -> str:
        """Digest of the code that makes this cell's figures."""
        return _code_digest((self.model, self.dataset_class), self.suite.task)

    @property
    def common_code_digest(self) -> str:
        """Digest of the part of it that all models on this data set share."""
        return _code_digest((self.dataset_class,), self.suite.task)

    @cached_property
    def key(self) -> str:
        """What makes this cell the same as one run before: configuration, code and data."""
        return fingerprint.digest(
            [self.params, self.code_digest, None if self.missing_data else self.data_digests]
        )

    @cached_property
    def params(self) -> dict[str, object]:
        """What was chosen, under the names MLflow keeps it by."""
        suite, budget = self.suite, self.suite.budget
        recipe = dataclasses.asdict(self.recipe)
        shared = isinstance(suite.recipe, Recipe)
        fields: dict[str, object] = {
            "task": suite.task,
            "model": self.model_name,
            "size": self.size,
            "dataset": self.dataset_name,
            "seed": self.at.seed,
            "suite": suite.name,
            "budget": str(budget),
            f"budget.{budget.kind}": budget.amount,
            "device": suite.device,
            "precision": suite.precision,
            # Two shared recipes are two settings: the table keeps them apart by this name.
            "recipe": f"shared {fingerprint.digest(recipe)[:6]}" if shared else "published",
        }
        fields |= {f"recipe.{key}": value for key, value in recipe.items()}
        fields |= {f"model.{key}": value for key, value in self.options.items()}
        fields |= suite.evaluation.model_dump()
        if not self.missing_data:
            fields |= {f"{split}_clips": clips for split, clips in self.held_out_clips.items()}
        return fields

    def planned(
        self,
        state: State = "run",
        estimated_seconds: float | None = None,
        reason: str = "",
        result: float | None = None,
    ) -> PlannedCell:
        """The cell as the terminal shows it in the plan."""
        place = self.model_name, self.size, self.dataset_name, self.at.seed
        task = self.suite.task
        return PlannedCell(self.name, *place, state, estimated_seconds, reason, result, task)

    @property
    def arguments(self) -> list[str]:
        """What follows `python -m bench` to run this one cell."""
        words = ["cell", "--suite", self.suite_reference, "--model", self.at.model]
        words += ["--dataset", self.at.dataset, "--seed", str(self.at.seed)]
        words += ["--budget", str(self.suite.budget).replace(" ", ""), "--size", self.suite.size]
        words += ["--device", self.suite.device, "--precision", self.suite.precision]
        return [*words, *self.places]

    @property
    def command(self) -> str:
        """The line that runs this one cell again, wherever it runs."""
        return shlex.join(["python", "-m", "bench", *self.arguments])

    @property
    def tags(self) -> dict[str, str]:
        """What is true of the cell before it runs."""
        return {
            records.KIND: "cell",
            records.CELL: self.key,
            records.STATUS: records.Status.RUNNING.value,
            records.COMMAND: self.command,
            records.COMMIT: fingerprint.commit(),
            records.CODE_DIGEST: self.code_digest,
            records.COMMON_CODE: self.common_code_digest,
            records.DEVICE: hardware.device_name(self.device),
            **fingerprint.versions(),
        }


def cells(suite: Suite, reference: str, places: tuple[str, ...]) -> Iterator[Cell]:
    """The cells of a resolved `suite`, which the user called `reference`."""
    return (Cell(suite, reference, at, places) for at in suite.cells())
