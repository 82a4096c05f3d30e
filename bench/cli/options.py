"""Options that several verbs have: places, what overrides a suite, and which cells are meant."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from bench.errors import UserError
from bench.store.address import sayable, store_uri

if TYPE_CHECKING:
    from bench.run.invocation import Invocation
    from bench.store.mlflow import Store
    from bench.suite.suite import Suite


def user_path(path: str) -> Path:
    """The folder or file that the user named.

    Raises:
        UserError: the name is empty, or cannot be printed and recorded.
    """
    if not path:
        raise UserError("a path is empty: write . for the folder you are in")
    return sayable(Path(path))


def unset(metavar: str) -> Any:
    """How an argument is shown that is nothing unless it is given: its text says what then."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


def suite_name(suite: str) -> str:
    """The name of a suite's experiment, where its file may have been named."""
    return Path(suite).stem if suite.endswith(".toml") else suite


OF_SEVERAL = ("--models", "--datasets", "--seeds", "--set", "--launch-options", "--on", "--names")
"""The flags that take several values."""

UserPath = Annotated[
    Path,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: user_path(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    ),
]


Setting = Annotated[tuple[str, ...], unset("WHERE.NAME=VALUE ...")]


@dataclass(frozen=True)
class Places:
    """Where results and runs are stored."""

    results: UserPath = Path("results")
    """Folder for the store, checkpoints and reports."""
    tracking_uri: Annotated[str | None, unset("URI")] = None
    """MLflow store (default: $MLFLOW_TRACKING_URI, else SQLite in the results folder)."""

    @property
    def uri(self) -> str:
        """The store's URI."""
        return store_uri(self.tracking_uri, self.results)

    def store(self) -> Store:
        """The store, which must be there.

        Raises:
            UserError: it is not, or cannot be opened.
        """
        from bench.console import SCREEN

        with SCREEN.waiting("opening the store"):
            from bench.store.mlflow import Store

            return Store(self.uri, SCREEN.announce, create=False)


def _who_has(option: str) -> str:
    """The launchers that heed an option of jobs."""
    return {"address": "ray", "gpus": "slurm or ray", "memory": "slurm or ray"}.get(option, "slurm")


@dataclass(frozen=True)
class Overrides:
    """Options that override the suite file."""

    budget: Annotated[str | None, unset("BUDGET")] = None
    """Training per cell: 60s, 5m, 2000steps, 100000samples, 20epochs or 1e15flops."""
    size: Annotated[str | None, unset("SIZE")] = None
    """Size of the models, such as published or small (auto: small on a CPU)."""
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"] | None, unset("{auto,cpu,cuda,mps}")
    ] = None
    """Where to train."""
    devices: Annotated[int | None, unset("N")] = None
    """GPUs that train a cell together, each a part of every batch (default: 1)."""
    precision: Annotated[Literal["auto", "32", "bf16"] | None, unset("{auto,32,bf16}")] = None
    """Arithmetic (auto: bf16 on CUDA, else 32)."""
    step: Annotated[Literal["auto", "eager", "graph"] | None, unset("{auto,eager,graph}")] = None
    """Training steps one by one, or as a CUDA graph (auto: where that is found to work)."""
    launch: Annotated[Literal["local", "slurm", "ray"] | None, unset("{local,slurm,ray}")] = None
    """Where cells run: here, as jobs of SLURM, or in a Ray cluster."""
    launch_options: Annotated[tuple[str, ...], unset("KEY=VALUE ...")] = ()
    """Of each job: partition=gpu time=8h gpus=1 cpus=4 memory=16G account=... sbatch.qos=...
    copies=/a/local/disk address=... of a Ray cluster."""
    set: Setting = ()
    """Options of models, data sets and the suite's tables: recipe.learning_rate=3e-3 model.width=64
    dataset.horizon=20 evaluation.test_clips=500."""

    def apply(self, suite: Suite) -> Suite:
        """The suite with these overrides.

        Raises:
            UserError: an override is none, or an option is of jobs where cells run here.
        """
        from bench.suite.launch import OF_CELLS_HERE, parsed

        named = {"launcher": self.launch} if self.launch else {}
        asked = parsed(self.launch_options)
        changed = {**asked, **named}
        launch = suite.launch.model_dump(mode="json")
        changed["sbatch"] = launch["sbatch"] | changed.get("sbatch", {})
        changed_suite = suite.with_overrides(
            budget=self.budget,
            size=self.size,
            device=self.device,
            devices=self.devices,
            precision=self.precision,
            step=self.step,
            launch=launch | changed,
        )
        of_jobs = [name for name in asked if name not in OF_CELLS_HERE]
        if changed_suite.launch.launcher == "local" and of_jobs:
            raise UserError(
                f"{of_jobs[0]} is of jobs, and cells run here: add --launch {_who_has(of_jobs[0])}"
            )
        return changed_suite


@dataclass(frozen=True)
class Selection:
    """Which cells."""

    suite: str
    """Name of a suite, or path to a TOML file."""
    models: Annotated[tuple[str, ...], unset("MODEL ...")] = ()
    """Only these models: names, globs such as 'conv*', or path/to/file.py:Class."""
    datasets: Annotated[tuple[str, ...], unset("DATASET ...")] = ()
    """Only these data sets: names, globs, or path/to/file.py:Class."""
    seeds: Annotated[tuple[int, ...], unset("SEED ...")] = ()
    """These seeds instead of the suite's."""
    overrides: Annotated[Overrides, tyro.conf.arg(name="")] = field(default_factory=Overrides)

    def selected(self) -> Suite:
        """The suite with only the chosen models, data sets and seeds, and what is set."""
        from bench.suite.changes import changed
        from bench.suite.suite import load_suite

        self._check_own_files()
        suite = self.overrides.apply(load_suite(self.suite))
        chosen = suite.with_overrides(
            models=suite.select_models(self.models) if self.models else None,
            datasets=suite.select_datasets(self.datasets) if self.datasets else None,
            seeds=self.seeds or None,
        )
        return changed(chosen, self.overrides.set)

    def _check_own_files(self) -> None:
        """Check the user's own files among the chosen, before anything of them is imported here."""
        from bench.console import SCREEN
        from bench.run import own_files
        from bench.suite.suite import read_suite

        def chosen(patterns: tuple[str, ...], listed: tuple[str, ...]) -> list[str]:
            globbed = (name for name in listed if any(fnmatch(name, each) for each in patterns))
            return [*patterns, *globbed] if patterns else [*listed]

        suite = read_suite(self.suite)
        suite.select_models(self.models)  # a wrong name is told before files are tried out
        suite.select_datasets(self.datasets)
        datasets = chosen(self.datasets, suite.datasets)
        datasets += suite.evaluation.also_test_on or ()
        own_files.require_sound(chosen(self.models, suite.models), datasets, SCREEN.announce)

    def invocation(self, places: Places, **how: Any) -> Invocation:
        """A run of these cells."""
        from bench.console import SCREEN

        with SCREEN.waiting("settling the cells"):
            from bench.run.invocation import prepared

            where = (places.results, places.tracking_uri, SCREEN)
            return prepared(self.selected(), *where, **how)
