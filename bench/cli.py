"""The verbs and their flags; each verb imports its implementation when it runs."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from bench import PROGRAM, garbage
from bench.errors import UserError
from bench.store import ui
from bench.store.address import database_file, is_server, sayable, shown, store_uri

if TYPE_CHECKING:
    from bench.run.invocation import Invocation
    from bench.store.mlflow import Store
    from bench.suite.suite import Suite


def _folder(path: str) -> Path:
    """The folder that the user named.

    Raises:
        UserError: the name is empty, or cannot be printed and recorded.
    """
    if not path:
        raise UserError("the path of a folder is empty: write . for the one you are in")
    return sayable(Path(path))


def _unset(metavar: str) -> Any:
    """How an argument is shown that is nothing unless it is given: its text says what then."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


def _suite_name(suite: str) -> str:
    """The name of a suite's experiment, where its file may have been named."""
    return Path(suite).stem if suite.endswith(".toml") else suite


Folder = Annotated[
    Path,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: _folder(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    ),
]


Setting = Annotated[tuple[str, ...], _unset("WHERE.NAME=VALUE ...")]


@dataclass(frozen=True)
class Places:
    """Where results and runs are stored."""

    results: Folder = Path("results")
    """Folder for the store, checkpoints and reports."""
    tracking_uri: Annotated[str | None, _unset("URI")] = None
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
        from bench.store.mlflow import Store

        return Store(self.uri, create=False)


@dataclass(frozen=True)
class Overrides:
    """Options that override the suite file."""

    budget: Annotated[str | None, _unset("BUDGET")] = None
    """Training per cell: 60s, 5m, 2000steps, 100000samples, 20epochs or 1e15flops."""
    size: Annotated[str | None, _unset("SIZE")] = None
    """Size of the models, such as published or small (auto: small on a CPU)."""
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"] | None, _unset("{auto,cpu,cuda,mps}")
    ] = None
    """Where to train."""
    devices: Annotated[int | None, _unset("N")] = None
    """GPUs that train a cell together, each a part of every batch (default: 1)."""
    precision: Annotated[Literal["auto", "32", "bf16"] | None, _unset("{auto,32,bf16}")] = None
    """Arithmetic (auto: bf16 on CUDA, else 32)."""
    step: Annotated[Literal["auto", "eager", "graph"] | None, _unset("{auto,eager,graph}")] = None
    """Training steps one by one, or as a CUDA graph (auto: where that is found to work)."""
    launch: Annotated[Literal["local", "slurm", "ray"] | None, _unset("{local,slurm,ray}")] = None
    """Where cells run: here, as jobs of SLURM, or in a Ray cluster."""
    launch_options: Annotated[tuple[str, ...], _unset("KEY=VALUE ...")] = ()
    """Of each job: partition=gpu time=8h gpus=1 cpus=4 memory=16G account=... sbatch.qos=...
    address=... of a Ray cluster."""
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
                f"{of_jobs[0]} is of jobs, and cells run here: add --launch slurm or ray"
            )
        return changed_suite


@dataclass(frozen=True)
class Selection:
    """Which cells."""

    suite: str
    """Name of a suite, or path to a TOML file."""
    models: Annotated[tuple[str, ...], _unset("MODEL ...")] = ()
    """Only these models: names, globs such as 'conv*', or path/to/file.py:Class."""
    datasets: Annotated[tuple[str, ...], _unset("DATASET ...")] = ()
    """Only these data sets: names, globs, or path/to/file.py:Class."""
    seeds: Annotated[tuple[int, ...], _unset("SEED ...")] = ()
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
        datasets = chosen(self.datasets, suite.datasets)
        datasets += suite.evaluation.also_test_on or ()
        own_files.require_sound(chosen(self.models, suite.models), datasets, SCREEN.announce)

    def invocation(self, places: Places, **how: Any) -> Invocation:
        """A run of these cells."""
        from bench.console import SCREEN
        from bench.run.invocation import prepared

        return prepared(self.selected(), places.results, places.tracking_uri, SCREEN, **how)


@dataclass(frozen=True)
class Run:
    """Train, score and compare every cell of a suite; cells that are done are skipped."""

    selection: Annotated[Selection, tyro.conf.arg(name="")]
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)
    force: Annotated[str | None, _unset("GLOB")] = None
    """Run cells whose name matches this glob even if they are done."""
    dry_run: bool = False
    """Show the plan and stop."""
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
    models: Annotated[tuple[str, ...], _unset("MODEL ...")] = ()
    """Only these models: names, globs such as 'conv*', or path/to/file.py:Class."""
    datasets: Annotated[tuple[str, ...], _unset("DATASET ...")] = ()
    """Only these data sets: names, globs, or path/to/file.py:Class."""
    trials: Annotated[int | None, _unset("N")] = None
    """Of each model (default: as the suite says, else 5)."""
    overrides: Annotated[Overrides, tyro.conf.arg(name="")] = field(default_factory=Overrides)
    out: Annotated[Path | None, _unset("FILE")] = None
    """File for the recipes (default: NAME.tuned.toml beside the suite's file)."""
    dry_run: bool = False
    """Show the plan and stop."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Run the trials, and write the best recipes."""
        from bench.console import SCREEN
        from bench.tune.tune import tuning

        only = Selection(self.suite, self.models, self.datasets, overrides=self.overrides)
        where = (self.places.results, self.places.tracking_uri, SCREEN)
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
class Clean:
    """Show what can be deleted and how large it is, or delete some of it."""

    what: Annotated[
        tuple[Literal["failed", "interrupted", "weights", "caches"], ...],
        tyro.conf.Positional,
        _unset("[{failed,interrupted,weights,caches} ...]"),
    ] = ()
    """What to delete (default: nothing, it is only shown)."""
    suite: Annotated[str | None, _unset("SUITE")] = None
    """Only of this suite, and no caches (default: all)."""
    yes: bool = False
    """Delete it without a question."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Show the sizes, or delete and print how much that freed."""
        from bench.clean import clean
        from bench.console.rows import print_rows
        from bench.units import byte_size

        suite = _suite_name(self.suite) if self.suite else None
        store = None if self.what == ("caches",) and suite is None else self.places.store()
        items = clean.found(store, self.places.results, suite)
        if not self.what:
            print_rows(clean.rows(items), ["what", "count", "size", "meaning"])
            return 0
        if not self.yes and not sys.stdin.isatty():
            raise UserError("there is nobody to ask whether to delete: say --yes")
        count, size = clean.clean(items, self.what, lambda what: self.yes or _is_sure(what))
        sys.stdout.write(f"{count} deleted, {byte_size(size)}\n")
        return 0


def _is_sure(what: str) -> bool:
    """Whether the user wants to delete that."""
    sys.stdout.write(f"{what}\ndelete? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@dataclass(frozen=True)
class Push:
    """Copy all runs of a suite into another store, such as a server; ids stay findable."""

    suite: str
    """Name of the suite, as MLflow's experiment is called."""
    to: Annotated[str, tyro.conf.arg(metavar="URI")]
    """The other MLflow store, such as http://head:5000 or sqlite:///elsewhere/mlflow.db."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Copy them, and print how many."""
        from bench.console import SCREEN
        from bench.store.mlflow import Store
        from bench.store.push import push

        store = self.places.store()
        to = Store(store_uri(self.to, self.places.results), SCREEN.announce)
        if to.uri == store.uri:
            raise UserError("--to is the store that the runs are in: name another")
        copied, there = push(store, _suite_name(self.suite), to, SCREEN.announce)
        sys.stdout.write(f"{copied} runs copied to {shown(to.uri)}, {there} were there\n")
        return 0


@dataclass(frozen=True)
class Cell:
    """Run exactly one cell, whether or not it is done; `run` starts one such process a cell."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The cell as `run` settled it: RESULTS/SUITE/cells/*.json, or the artifact cell.json."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)
    profile: bool = False
    """Record a few training steps with torch.profiler, after the budget."""
    step: Annotated[Literal["auto", "eager", "graph"] | None, _unset("{auto,eager,graph}")] = None
    """Training steps one by one, or as a CUDA graph (default: as settled)."""
    devices: Annotated[int | None, _unset("N")] = None
    """Run it on so many devices, going on where it was on others (default: as settled)."""
    set: Setting = ()
    """Other options, which make it another cell: recipe.learning_rate=3e-3 model.width=64."""
    weights_of: Annotated[str, _unset("RUN")] = ""
    """MLflow run: only score its weights again."""
    events: Annotated[int | None, _unset("DESCRIPTOR")] = None
    """Of a parent process's pipe, for JSON lines."""
    parent: Annotated[str, _unset("RUN")] = ""
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


@dataclass(frozen=True)
class Report:
    """Write a suite's report again, from MLflow alone."""

    suite: str
    """Name of the suite, as MLflow's experiment is called."""
    compare: Annotated[str | None, _unset("OTHER_SUITE")] = None
    """Show the trained cells of this suite, too, wherever they may be compared."""
    out: Annotated[Path | None, _unset("DIR")] = None
    """Folder to write to (default: RESULTS/SUITE/report, or RESULTS/SUITE/beside-OTHER_SUITE)."""
    latex: bool = False
    """Write the tables as LaTeX (booktabs), too: tables.tex, which later reports renew."""
    publish: Annotated[Path | None, _unset("SITE")] = None
    """Write it into SITE/SUITE, and SITE/index.html of all reports there, for any web host."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Write the report."""
        from bench import report
        from bench.report import site

        name = _suite_name(self.suite)
        other = _suite_name(self.compare) if self.compare else None
        if self.out and self.publish:
            raise UserError("--out and --publish both say where to: give one")
        if self.publish:
            out = _folder(str(self.publish)) / (f"{name}-beside-{other}" if other else name)
        else:
            folder = f"beside-{other}" if other else "report"
            out = self.out or self.places.results / name / folder
        path = report.build(self.places.store(), name, out, other, latex=self.latex)
        sys.stdout.write(f"{path}\n")
        if self.publish:
            sys.stdout.write(f"{site.index(self.publish)}\n")
        return 0


@dataclass(frozen=True)
class Cite:
    """Print what to cite for a suite, as BibTeX: its models, its data sets and nextframe."""

    suite: str
    """Name of a suite, or path to a TOML file."""

    def __call__(self) -> int:
        """Print the entries."""
        from bench.literature.cite import bibtex
        from bench.suite import catalogue
        from bench.suite.costs import is_of_the_house
        from bench.suite.suite import load_suite

        suite = load_suite(self.suite)
        also = suite.evaluation.also_test_on or ()
        models = map(catalogue.model, suite.models)
        names = {model.name for model in models if model.paper or not is_of_the_house(model)}
        names |= {catalogue.dataset(reference).name for reference in (*suite.datasets, *also)}
        sys.stdout.write(bibtex(names))
        return 0


@dataclass(frozen=True)
class Ls:
    """List models, data sets, suites or cells; or the options of one model or data set."""

    what: Annotated[Literal["models", "datasets", "suites", "cells"], tyro.conf.Positional]
    name: Annotated[str | None, tyro.conf.Positional, _unset("[NAME]")] = None
    """Of one model or data set: its options, and a model's recipe in each size."""
    suite: Annotated[str | None, _unset("SUITE")] = None
    """For cells: those of this suite, whether run or not (default: all that were run). By the name
    of a suite that is a file: those that were run."""
    format: Literal["table", "json", "csv"] = "table"
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Print the list."""
        from bench.console.rows import print_rows

        rows, columns = self._listed()
        print_rows(rows, columns, self.format)
        return 0

    def _listed(self) -> tuple[list[dict[str, object]], list[str]]:
        """The rows and the names of their columns; each list imports what it needs, and no more."""
        if self.name is not None:
            from bench.console.rows import print_lines
            from bench.listing import options

            rows, columns, headline = options.of(self.what, self.name)
            if self.format == "table":
                print_lines(f"{headline}\n")
            return rows, columns
        if self.what == "models":
            from bench.console import announce
            from bench.listing import models

            if self.format == "table":
                announce(models.NOTE)
            return models.rows(announce), models.COLUMNS
        if self.what == "datasets":
            from bench.listing import datasets

            return datasets.rows(), datasets.COLUMNS
        if self.what == "suites":
            from bench.listing import suites

            return suites.rows(), suites.COLUMNS
        from bench.listing import cells

        store = self.places.store()
        rows, columns = cells.rows(self.suite, store, self.places.results), cells.COLUMNS
        if self.format == "table" and len({row["suite"] for row in rows}) == 1:
            columns = [name for name in columns if name != "suite"]  # leaves others room
        return rows, columns


@dataclass(frozen=True)
class Check:
    """Run the contract test of a model or data set on a tiny batch."""

    name: Annotated[str, tyro.conf.Positional]
    """Its name, or path/to/file.py:Class."""
    set: Setting = ()
    """Options of it, such as model.width=64."""
    quick: bool = False
    """Only whether it has the shapes it should and can be trained, as `run` asks of your files."""
    on: Annotated[tuple[str, ...], _unset("DATASET ...")] = ()
    """With --quick: a model, on frames like those of one of these data sets (default: grey 64x64).
    """

    def __call__(self) -> int:
        """Print one line a check."""
        from bench.check import check
        from bench.suite.changes import changed_reference

        reference = changed_reference(self.name, self.set)
        return check.check(reference, quick=self.quick, on=self.on)


@dataclass(frozen=True)
class Speed:
    """Time training steps and predictions of models, beside what the device can do.

    Each model has a process of its own. Rows are recorded in MLflow's experiment `speed`.
    """

    models: Annotated[tuple[str, ...], tyro.conf.Positional, _unset("[MODEL ...]")] = ()
    """Names, globs such as 'conv*', or path/to/file.py:Class (default: all for the data set)."""
    dataset: str = "moving_mnist"
    """Name of the data set, with options, or path/to/file.py:Class."""
    size: str = "auto"
    """Size of the models, such as published or small; all measures each (auto: small on a CPU)."""
    batch: Annotated[int | None, _unset("N")] = None
    """Clips in a training step (default: as many as the model's recipe has)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Arithmetic (auto: bf16 on CUDA, else 32)."""
    step: Literal["auto", "eager", "graph"] = "auto"
    """Training steps one by one, or as a CUDA graph (auto: where that is found to work)."""
    threads: Annotated[int | None, _unset("N")] = None
    """Of PyTorch on the CPU (default: as many as it takes)."""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 20.0
    """About how long steps are timed, of each side of a pair; seven stretches at least."""
    against: Annotated[Literal["literal"] | None, _unset("{literal}")] = None
    """Alternate with steps of the literal transcription of the published code, where there is one.
    """
    out: Annotated[Path | None, _unset("FILE")] = None
    """Markdown file for the table."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)
    cell: Annotated[Path | None, _unset("FILE")] = None
    """Measure this settled cell in this process, unrecorded; there is one such process a model."""
    events: Annotated[int | None, _unset("DESCRIPTOR")] = None
    """Of a parent process's pipe, for JSON lines."""

    def __call__(self) -> int:
        """Measure, and print the table."""
        if not 0 < self.seconds <= 86400:
            raise UserError(f"--seconds is above 0 and at most 86400, not {self.seconds:g}")
        if self.threads is not None and not 0 < self.threads <= 4096:
            raise UserError(f"--threads is from 1 to 4096, not {self.threads}")
        if self.cell is not None:
            return self._alone(self.cell)
        from bench.console import SCREEN
        from bench.speed.speed import Measuring, Subjects
        from bench.store.mlflow import Store

        arithmetic = (self.device, self.precision, self.step)
        cells = Subjects(self.models, self.dataset, self.size, self.batch, *arithmetic).cells()
        store = Store(self.places.uri, SCREEN.announce)
        how = (self.places.results, self.seconds, self.threads, self.against, self.out)
        return Measuring(cells, store, *how).run()

    def _alone(self, cell: Path) -> int:
        """Measure one cell in this process."""
        import torch

        from bench.speed import measure
        from bench.suite.cell import read

        garbage.look_as_usual()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return measure.run_alone(read(cell), self.seconds, self.against, self.events)


@dataclass(frozen=True)
class DataPrepare:
    """Decode the files of a data set, once; goes on where it was interrupted."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Its name, with options, or path/to/file.py:Class."""
    source: Annotated[Path | None, _unset("PATH")] = None
    """Folder that holds its files (default: looked for in the data folder)."""
    workers: Annotated[int | None, _unset("N")] = None
    """Processes that decode (default: one a CPU)."""
    max_damaged: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.05
    """Share of the files that may be damaged; these are left out and named."""

    def __call__(self) -> int:
        """Make the cache."""
        from bench.data import prepare

        return prepare.prepare_data(self.name, self.source, self.workers, self.max_damaged)


@dataclass(frozen=True)
class DataStatus:
    """List the data sets and which are prepared."""

    name: Annotated[str | None, tyro.conf.Positional, _unset("[NAME]")] = None
    """Only this one, with options (default: all)."""
    format: Literal["table", "json", "csv"] = "table"

    def __call__(self) -> int:
        """Print the list."""
        from bench.data import status

        return status.status(self.name, self.format)


@dataclass(frozen=True)
class DataVerify:
    """Check that every frame of a prepared data set is as it was prepared."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Its name, with options, or path/to/file.py:Class."""

    def __call__(self) -> int:
        """Print the outcome."""
        from bench.data import verify

        return verify.verify(self.name)


@dataclass(frozen=True)
class DataShow:
    """Draw some clips of a data set: a contact sheet (PNG) and an animation (GIF)."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Its name, with options, or path/to/file.py:Class."""
    out: Annotated[Path | None, _unset("PATH")] = None
    """Folder to write to (default: results/data/NAME)."""
    split: Literal["train", "validation", "test"] = "train"
    """Where the clips are from; those to train on are drawn with seed 0."""
    clips: Annotated[int, tyro.conf.arg(metavar="N")] = 4
    """How many."""

    def __call__(self) -> int:
        """Write the pictures and print where they are."""
        from bench.data import show

        return show.show_data(self.name, self.out, self.split, self.clips)


@dataclass(frozen=True)
class Data:
    """Prepare data sets, list their state, check one, draw clips of one."""

    verb: (
        Annotated[DataPrepare, tyro.conf.subcommand("prepare")]
        | Annotated[DataStatus, tyro.conf.subcommand("status")]
        | Annotated[DataVerify, tyro.conf.subcommand("verify")]
        | Annotated[DataShow, tyro.conf.subcommand("show")]
    )

    def __call__(self) -> int:
        """Run the chosen verb."""
        return self.verb()


@dataclass(frozen=True)
class Predict:
    """Continue one's own videos with the model of a finished cell, or say what they show."""

    model: Annotated[str, tyro.conf.arg(metavar="RUN")]
    """MLflow run, or name of a cell such as convlstm-small/ucf101/0 (its newest finished run)."""
    input: Path
    """Video, array of clips (.npy), folder of images, or folder of any of these."""
    out: Path
    """Folder to write to."""
    horizon: Annotated[int | None, _unset("FRAMES")] = None
    """Frames to predict (default: as many as in training)."""
    format: Literal["png", "npy", "mp4", "gif"] = "png"
    """png: a picture a frame; npy: one array; mp4, gif: what was given and what follows."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    overwrite: bool = False
    """Write into a folder that holds something."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Write the predictions."""
        from bench.predict import predict

        return predict.predict(
            self.model,
            self.places.uri,
            self.input,
            self.out,
            self.horizon,
            self.format,
            self.device,
            self.overwrite,
        )


@dataclass(frozen=True)
class Verify:
    """Train and score a finished cell anew, elsewhere, and say whether that gives the same.

    Exits with 1 where it differs. The store is only read.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """MLflow run, or name of a cell such as convlstm-small/ucf101/0 (its newest finished run)."""
    steps: Annotated[int | None, _unset("N")] = None
    """Only the first steps, whose training loss is compared (default: all, and the scores)."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Run it again and print the verdict."""
        from bench.compare import verify
        from bench.console import SCREEN

        return verify.verify(self.places.store(), self.run, SCREEN, self.steps)


@dataclass(frozen=True)
class Diff:
    """Say what differs between two runs: settings, code, data, environment, scores, costs."""

    first: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """MLflow run, or name of a cell such as convlstm-small/ucf101/0 (its newest run)."""
    second: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """The other."""
    format: Literal["table", "json"] = "table"
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Print the differences."""
        from bench.compare import diff

        return diff.diff(self.places.store(), (self.first, self.second), self.format)


@dataclass(frozen=True)
class Ui:
    """Open MLflow's own pages on the store."""

    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)
    host: str = ui.HOST
    """Address to listen at; 0.0.0.0 is reached from other machines."""
    port: int = ui.PORT
    serve: bool = False
    """Let cells elsewhere record here: a server that makes the store and takes artifacts, too."""
    names: Annotated[tuple[str, ...], _unset("NAME ...")] = ()
    """With --serve: further names that others may call this machine by."""

    def __call__(self) -> int:
        """Serve until interrupted."""
        if self.serve:
            return self._serve()
        pages = self.places.store().pages(ui.address(self.places.uri, self.host, self.port))
        return ui.show(self.places.uri, self.host, self.port, pages)

    def _serve(self) -> int:
        """Serve a database to cells elsewhere."""
        from bench.console import SCREEN
        from bench.store.mlflow import Store

        if is_server(self.places.uri):
            raise UserError("--serve takes a database: the tracking URI is a server's already")
        Store(self.places.uri, SCREEN.announce)
        file = database_file(self.places.uri)
        artifacts = (file.parent if file else self.places.results) / "artifacts"
        return ui.serve(self.places.uri, artifacts, self.host, self.port, self.names)


Verb = (
    Run
    | Tune
    | Rescore
    | Clean
    | Push
    | Cell
    | Report
    | Cite
    | Ls
    | Check
    | Speed
    | Data
    | Predict
    | Verify
    | Diff
    | Ui
)


FIRST_STEPS = """\
nextframe, a benchmark harness for video prediction

  python -m bench run --suite quick   a first report, within three minutes
  python -m bench run --suite mnist   the main job
  python -m bench ls suites           what else there is; ls models, ls datasets
  python -m bench --help              every verb; VERB --help its options
"""


def main(arguments: list[str]) -> int:
    """Run the verb that `arguments` name, or say what to do first; its exit code.

    Raises:
        UserError: an argument is wrong.
    """
    if not arguments:
        sys.stdout.write(FIRST_STEPS)
        return 0
    verb = tyro.cli(
        Verb,
        prog=PROGRAM,
        description="A benchmark harness for video prediction. (--debug shows tracebacks.)",
        args=arguments,
        config=(
            tyro.conf.OmitSubcommandPrefixes,
            tyro.conf.OmitArgPrefixes,
            tyro.conf.FlagCreatePairsOff,
        ),
    )
    return verb()
