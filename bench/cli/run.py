"""The verbs that train and score cells: run, tune, rescore and cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bench import garbage
from bench.cli.options import Overrides, Places, Selection, Setting, UserPath, unset


@dataclass(frozen=True)
class Run:
    """Train, score and compare every cell of a suite; cells that are done are skipped."""

    selection: Annotated[Selection, tyro.conf.arg(name="")]
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)
    force: Annotated[str | None, unset("GLOB")] = None
    """Run cells whose name matches this glob even if they are done."""
    dry_run: bool = False
    """Show the plan and stop; whether a cluster takes the cells is not asked."""
    profile: bool = False
    """Record a few training steps of each cell with torch.profiler, after its budget."""

    def __call__(self) -> int:
        """Run the suite."""
        how = {"force": self.force, "profile": self.profile}
        invocation = self.selection.invocation(self.places, **how)
        return invocation.dry_run() if self.dry_run else invocation.run()


@dataclass(frozen=True)
class Tune:
    """Choose each model's learning rate by validation, from equally many trials of one space.

    The space is the table [tuning] of the suite. Trials are cells of the suite NAME-tuning, on
    seeds of their own and without a test; the same line goes on where it was interrupted.
    """

    suite: str
    """Name of a suite, or path to a TOML file."""
    models: Annotated[tuple[str, ...], unset("MODEL ...")] = ()
    """Only these models: names, globs such as 'conv*', or path/to/file.py:Class."""
    datasets: Annotated[tuple[str, ...], unset("DATASET ...")] = ()
    """Only these data sets: names, globs, or path/to/file.py:Class."""
    trials: Annotated[int | None, unset("N")] = None
    """Of each model (default: as the suite says, else 5)."""
    overrides: Annotated[Overrides, tyro.conf.arg(name="")] = field(default_factory=Overrides)
    out: Annotated[UserPath | None, unset("FILE")] = None
    """File for the recipes (default: NAME.tuned.toml beside the suite's file)."""
    dry_run: bool = False
    """Show the plan and stop; whether a cluster takes the cells is not asked."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Run the trials, and write the best recipes."""
        from bench.console import SCREEN

        only = Selection(self.suite, self.models, self.datasets, overrides=self.overrides)
        where = (self.places.results, self.places.tracking_uri, SCREEN)
        with SCREEN.waiting("settling the trials"):
            from bench.tune.tune import tuning

            invocation = tuning(only.selected(), self.trials, self.out, *where)
        return invocation.dry_run() if self.dry_run else invocation.run()


@dataclass(frozen=True)
class Rescore:
    """Score the stored weights of finished cells again where metrics or test clips changed."""

    selection: Annotated[Selection, tyro.conf.arg(name="")]
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Rescore, and report."""
        self.places.store()
        return self.selection.invocation(self.places, only_rescore=True).run()


@dataclass(frozen=True)
class Cell:
    """Run exactly one cell, whether or not it is done; `run` starts one such process a cell."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The cell as `run` settled it: RESULTS/SUITE/cells/*.json, or the artifact cell.json."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)
    profile: bool = False
    """Record a few training steps with torch.profiler, after the budget."""
    step: Annotated[Literal["auto", "eager", "graph"] | None, unset("{auto,eager,graph}")] = None
    """Training steps one by one, or as a CUDA graph (default: as settled)."""
    devices: Annotated[int | None, unset("N")] = None
    """Run it on so many devices, going on where it was on others (default: as settled)."""
    set: Setting = ()
    """Other options, which make it another cell: recipe.learning_rate=3e-3 model.width=64."""
    weights_of: Annotated[str, unset("RUN")] = ""
    """MLflow run: only score its weights again."""
    events: Annotated[int | None, unset("DESCRIPTOR")] = None
    """Of a parent process's pipe, for JSON lines."""
    parent: Annotated[str, unset("RUN")] = ""
    """MLflow run of the invocation."""

    def __call__(self) -> int:
        """Run the cell."""
        from bench.console import SCREEN
        from bench.run import worker
        from bench.run.tasks import Tasks
        from bench.store.mlflow import Store
        from bench.suite.cell import read
        from bench.suite.changes import changed_cell
        from bench.train import hardware
        from bench.train.team import Team

        garbage.look_as_usual()
        hardware.flush_denormals()
        cell = changed_cell(read(self.file).with_step(self.step), self.set)
        devices, tasks = self.devices or cell.devices, Tasks.of_this_cell()
        hardware.resolve_devices(devices // (tasks.nodes if tasks else 1), cell.device)
        hardware.resolve_step(cell.step, cell.device, devices)
        Team(0, devices).divide(cell.recipe.batch_size)
        cell.check_data()
        store = Store(self.places.uri, SCREEN.announce, may_be_away=True)
        one = worker.Worker(
            cell,
            store,
            self.places.results,
            SCREEN,
            parent=self.parent,
            weights_of=self.weights_of,
            profile=self.profile,
            devices=devices,
        )
        return worker.run_alone(one, self.events)
