"""The verbs that look at models, data sets and suites: ls, check and speed."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bench import garbage
from bench.cli.options import Places, Setting, UserPath, unset
from bench.errors import UserError


@dataclass(frozen=True)
class Ls:
    """List models, data sets, suites or cells; or the options of one model or data set."""

    what: Annotated[Literal["models", "datasets", "suites", "cells"], tyro.conf.Positional]
    name: Annotated[str | None, tyro.conf.Positional, unset("[NAME]")] = None
    """Of one model or data set: its options, and a model's recipe in each size."""
    suite: Annotated[str | None, unset("SUITE")] = None
    """For cells: those of this suite, whether run or not (default: all that were run). By the name
    of a suite that is a file: those that were run."""
    format: Literal["table", "json", "csv"] = "table"
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)

    def __call__(self) -> int:
        """Print the list."""
        from bench.console import waiting
        from bench.console.rows import print_lines, print_rows

        with waiting(f"listing {self.what}"):
            headline, rows, columns = self._listed()
        if headline and self.format == "table":  # a list is piped without
            print_lines(f"{headline}\n", sys.stdout if self.name else sys.stderr)
        print_rows(rows, columns, self.format)
        return 0

    def _listed(self) -> tuple[str, list[dict[str, object]], list[str]]:
        """A headline, the rows and the names of their columns; each list imports what it needs."""
        if self.name is not None:
            from bench.listing import options

            rows, columns, headline = options.of(self.what, self.name)
            return headline, rows, columns
        if self.what == "models":
            from bench.console import announce
            from bench.listing import models

            return models.NOTE, models.rows(announce), models.COLUMNS
        if self.what == "datasets":
            from bench.listing import datasets

            return "", datasets.rows(), datasets.COLUMNS
        if self.what == "suites":
            from bench.listing import suites

            return "", suites.rows(), suites.COLUMNS
        from bench.listing import cells

        store = self.places.store()
        rows, columns = cells.rows(self.suite, store, self.places.results), cells.COLUMNS
        if self.format == "table" and len({row["suite"] for row in rows}) == 1:
            columns = [name for name in columns if name != "suite"]  # leaves others room
        return "", rows, columns


@dataclass(frozen=True)
class Check:
    """Run the contract test of a model or data set on a tiny batch."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Its name, or path/to/file.py:Class."""
    set: Setting = ()
    """Options of it, such as model.width=64."""
    quick: bool = False
    """Only whether it has the shapes it should and can be trained, as `run` asks of your files."""
    on: Annotated[tuple[str, ...], unset("DATASET ...")] = ()
    """With --quick: a model, on frames like those of one of these data sets (default: grey 64x64).
    """

    def __call__(self) -> int:
        """Print one line a check."""
        from bench.console import waiting

        with waiting(f"loading {self.name}"):
            from bench.check import check
            from bench.suite.changes import changed_reference

            reference = changed_reference(self.name, self.set)
        return check.check(reference, quick=self.quick, on=self.on)


@dataclass(frozen=True)
class Speed:
    """Time training steps and predictions of models, beside what the device can do.

    Each model has a process of its own. Rows are recorded in MLflow's experiment `speed`.
    """

    models: Annotated[tuple[str, ...], tyro.conf.Positional, unset("[MODEL ...]")] = ()
    """Names, globs such as 'conv*', or path/to/file.py:Class (default: all for the data set)."""
    dataset: str = "moving_mnist"
    """Name of the data set, with options, or path/to/file.py:Class."""
    size: str = "auto"
    """Size of the models, such as published or small; all measures each (auto: small on a CPU)."""
    batch: Annotated[int | None, unset("N")] = None
    """Clips in a training step (default: as many as the model's recipe has)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Arithmetic (auto: bf16 on CUDA, else 32)."""
    step: Literal["auto", "eager", "graph"] = "auto"
    """Training steps one by one, or as a CUDA graph (auto: where that is found to work)."""
    threads: Annotated[int | None, unset("N")] = None
    """Of PyTorch on the CPU (default: as many as it takes)."""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 20.0
    """About how long steps are timed, of each side of a pair; seven stretches at least."""
    against: Annotated[Literal["literal"] | None, unset("{literal}")] = None
    """Alternate with steps of the literal transcription of the published code, where there is one.
    """
    out: Annotated[UserPath | None, unset("FILE")] = None
    """Markdown file for the table."""
    places: Annotated[Places, tyro.conf.arg(name="")] = field(default_factory=Places)
    cell: Annotated[UserPath | None, unset("FILE")] = None
    """Measure this settled cell in this process, unrecorded; there is one such process a model."""
    events: Annotated[int | None, unset("DESCRIPTOR")] = None
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

        with SCREEN.waiting("settling what is measured"):
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
        from bench.train import hardware

        garbage.look_as_usual()
        hardware.flush_denormals()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return measure.run_alone(read(cell), self.seconds, self.against, self.events)
