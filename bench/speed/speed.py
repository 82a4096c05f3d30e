"""Measures models one after another, each in a process of its own, and records a row of each."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench import PROGRAM, atomic, records
from bench.console import SCREEN
from bench.errors import UserError, described
from bench.records import Point, Status
from bench.report import speed as rows
from bench.run.events import Finished, Note
from bench.run.invocation import passing_signals_to
from bench.run.launchers.launcher import Job
from bench.run.launchers.local import LocalLauncher
from bench.run.streams import lasting_output
from bench.speed import literal
from bench.speed.measure import Rival
from bench.speed.table import print_pointers, print_sections
from bench.store.mlflow import RecordedCell, Store
from bench.suite import catalogue, fingerprint
from bench.suite.cell import Cell
from bench.suite.settle import settle
from bench.suite.suite import Suite
from bench.train import hardware

ALL_SIZES = "all"


@dataclass(frozen=True)
class Subjects:
    """What to measure.

    Attributes:
        models: names, globs or `path/to/file.py:Class`; none means all for the task.
        dataset: reference of the data set.
        size: by name, "auto", or "all" for each that a model has.
        batch: clips in a training step; None is as many as the recipe has.
        device: "auto" or a type.
        precision: "auto", "32" or "bf16".
        step: "auto", "eager" or "graph".
    """

    models: Sequence[str]
    dataset: str
    size: str
    batch: int | None
    device: str
    precision: str
    step: str = "auto"

    def cells(self) -> list[Cell]:
        """A settled cell of each model and size, in order of the models.

        Raises:
            UserError: a name is unknown, a value is out of range, or data or device are missing.
        """
        task = catalogue.dataset(self.dataset).task
        offered = [name for name, cls in catalogue.all_models().items() if cls.task == task]
        fields = {
            "name": records.SPEED,
            "task": task,
            "models": offered,
            "datasets": [catalogue.absolute(self.dataset)],
            "budget": "1steps",
            "device": self.device,
            "precision": self.precision,
            "step": self.step,
            "evaluation": {"test_clips": 1, "validation_clips": 1, "evaluations": 1},
        }
        suite = Suite.model_validate(fields, strict=False)
        models = suite.select_models(self.models) or offered
        settled: list[Cell] = []
        for size in self._sizes(models):
            named = [
                m for m in models if self.size != ALL_SIZES or size in catalogue.model(m).sizes
            ]
            settled += settle(suite.with_overrides(models=named, size=size))
        if settled[0].missing_data:
            raise UserError(settled[0].missing_data)
        place = {catalogue.absolute(model): place for place, model in enumerate(models)}
        settled.sort(key=lambda cell: place[cell.model])
        batch = self.batch
        return settled if batch is None else [_with_batch(cell, batch) for cell in settled]

    def _sizes(self, models: Sequence[str]) -> Iterator[str]:
        if self.size != ALL_SIZES:
            yield self.size
        else:
            yield from dict.fromkeys(s for m in models for s in catalogue.model(m).sizes)


def _with_batch(cell: Cell, batch: int) -> Cell:
    """The cell with a recipe of that batch size."""
    try:
        recipe = replace(cell.recipe, batch_size=batch)
    except ValueError as error:
        raise UserError(f"--batch: {error}") from error
    return cell.model_copy(update={"recipe": recipe})


@dataclass
class Measuring:
    """One run of the verb.

    Attributes:
        cells: what to measure.
        store: where rows are recorded.
        results: the folder for settled cells, logs and the report.
        seconds: about how long steps are timed, of each side of a pair.
        threads: of PyTorch; None is as many as it takes.
        against: what each model is compared with.
        out: a file for the table, in Markdown.
    """

    cells: Sequence[Cell]
    store: Store
    results: Path
    seconds: float
    threads: int | None = None
    against: Rival | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        self._lost = False
        if self.against:
            literal.require_folder()
        if self.out is not None and not self.out.absolute().parent.is_dir():
            raise UserError(f"there is no folder {self.out.absolute().parent} for --out")

    def run(self) -> int:
        """Measure, record, show and report; the exit code."""
        launcher = LocalLauncher(self.cells[0].device)
        runs: list[RecordedCell] = []
        with lasting_output(), passing_signals_to(launcher.stop):
            for number, cell in enumerate(self.cells):
                if launcher.stopped:
                    break
                SCREEN.announce(f"{_name(cell)}: measuring, {number + 1} of {len(self.cells)}")
                finished = self._measured(launcher, cell)
                if not (launcher.stopped and finished.status is Status.INTERRUPTED):
                    runs.append(self._recorded(cell, finished))
        if runs:
            self._show(runs)
        if launcher.stopped:
            return Status.INTERRUPTED.exit_code
        is_whole = all(run.is_done for run in runs) and not self._lost
        return (Status.DONE if is_whole else Status.FAILED).exit_code

    def _measured(self, launcher: LocalLauncher, cell: Cell) -> Finished:
        """How the cell's process ended."""
        file = cell.write(self.results)
        log = file.with_suffix(".log")
        words = ["speed", "--cell", str(file), "--seconds", str(self.seconds)]
        words += ["--against", self.against] if self.against else []
        words += ["--threads", str(self.threads)] if self.threads else []
        finished = Finished(Status.INTERRUPTED)
        for _, event in launcher.run([Job(cell.name, words, log, cell.limits.silence_seconds)]):
            if isinstance(event, Note):
                SCREEN.announce(f"{_name(cell)}: {event.text}")
            elif isinstance(event, Finished):
                finished = event
        if finished.status is not Status.DONE:
            SCREEN.announce(f"{_name(cell)}: {finished.status}: {finished.error} (log: {log})")
        return finished

    def _recorded(self, cell: Cell, finished: Finished) -> RecordedCell:
        """The row, which MLflow holds unless that fails: then this says so, and it is shown."""
        tags = {
            records.KIND: records.SPEED,
            records.COMMIT: fingerprint.commit(),
            records.DEVICE: hardware.device_name(cell.device),
            records.COMMAND: self._command(cell),
            **fingerprint.versions(),
            **finished.tags,
        }
        ended = {records.STATUS: finished.status.value, records.ERROR: finished.error}
        params = {key: str(value) for key, value in self._params(cell).items()}
        run_id, now = "", datetime.now(UTC)
        try:
            run_id = self.store.begin(records.SPEED, _name(cell), tags)
            self.store.params(run_id, params)
            self.store.points(run_id, [Point.now(k, v, 0) for k, v in finished.metrics.items()])
            self.store.end(run_id, finished.status, finished.error)
        except Exception as error:  # whatever a store raises: the row is shown
            self._lost = True
            SCREEN.announce(f"{_name(cell)} is not recorded: {described(error)}")
        return RecordedCell(
            run_id, _name(cell), "", now, params, {**tags, **ended}, finished.metrics
        )

    def _params(self, cell: Cell) -> dict[str, object]:
        """The settings that a row depends on."""
        spec = cell.data.spec
        names = ("task", "model", "size", "dataset", "device", "precision", "step")
        kinds = ("model.", "recipe.", records.MODEL_REFERENCE, records.DATASET_REFERENCE)
        return {
            **{k: v for k, v in cell.params.items() if k in names or k.startswith(kinds)},
            "context_frames": spec.context_frames,
            "horizon": spec.horizon,
            "frame_shape": "x".join(map(str, spec.frame_shape)),
            "seconds": self.seconds,
            "against": self.against or "",
        }

    def _command(self, cell: Cell) -> str:
        """The line that measures this one again."""
        words = [*PROGRAM.split(), "speed", cell.model, "--dataset", cell.dataset]
        words += ["--size", cell.size, "--batch", str(cell.recipe.batch_size)]
        words += ["--device", cell.device, "--precision", cell.precision]
        words += ["--step", cell.step]
        words += ["--seconds", f"{self.seconds:g}"]
        words += ["--threads", str(self.threads)] if self.threads else []
        words += ["--against", self.against] if self.against else []
        return shlex.join(words)

    def _show(self, runs: Sequence[RecordedCell]) -> None:
        """Print the table and write it, then the report of all that was ever measured."""
        sections = rows.sections(runs)
        print_sections(sections, sys.stdout)
        if self.out is not None:
            atomic.write_text(self.out, "\n".join(map(rows.markdown, sections)))
        if any(run.run_id for run in runs):
            path = rows.build(self.store, self.results / records.SPEED / "report")
            print_pointers(path, self.store.ui_command, sys.stdout)


def _name(cell: Cell) -> str:
    """Model, size and data set."""
    return cell.name.rpartition("/")[0]
