"""The verb `run`: plan a suite's cells, run those that are not done, and report."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from bench import report
from bench.console import Display, PlannedCell, announce, display_for
from bench.console.display import LEADING
from bench.errors import UserError
from bench.run.checkpoint import Checkpoint
from bench.run.events import Finished, Note, Progress
from bench.run.launchers.local import Job, Launcher, Started, default_total_seconds
from bench.store import records
from bench.store.mlflow import CellRun, Store, store_exists
from bench.store.records import Status
from bench.suite.cell import Cell, run_settings
from bench.suite.suite import Suite
from bench.train.cost import Cost

EXIT_CODES = {Status.DONE: 0, Status.FAILED: 1, Status.INTERRUPTED: 130}
OTHER_SECONDS = 45.0  # a guess, before anything is known: set-up, validation and test of a cell
BASELINE_SECONDS = 15.0  # the same for a model that is not trained


@dataclass
class Invocation:
    """One `run` of a suite: which cells there are, what becomes of them, and where it all goes."""

    suite: Suite
    cells: Sequence[Cell]
    results: Path
    uri: str
    force: str | None = None
    profile: bool = False

    def __post_init__(self) -> None:
        self._finished: dict[str, Finished] = {}
        for cell in self.cells:  # settles each: a mistake must show before anything is written
            _ = cell.name, cell.key
        missing = [cell.missing_data for cell in self.cells]
        if all(missing):
            raise UserError("; ".join(dict.fromkeys(missing)))

    # --- the plan --------------------------------------------------------------------------------

    def planned(self, earlier: Sequence[CellRun]) -> dict[Cell, PlannedCell]:
        """What will become of each cell, given the `earlier` runs of this suite."""
        done: dict[str, CellRun] = {}
        for run in reversed(earlier):
            if run.tags.get(records.STATUS) == Status.DONE:
                done[run.tags[records.CELL]] = run
        return {cell: self._planned(cell, done, earlier) for cell in self.cells}

    def _planned(
        self, cell: Cell, done: Mapping[str, CellRun], earlier: Sequence[CellRun]
    ) -> PlannedCell:
        if cell.missing_data:
            return cell.planned("blocked", reason=cell.missing_data)
        if cell.key in done and not self._is_forced(cell):
            measure = LEADING[self.suite.task].key
            return cell.planned("done", result=done[cell.key].metrics.get(measure))
        resumes = self._checkpoint(cell).has_state and not self._is_forced(cell)
        seconds = self._estimated_seconds(cell, earlier)
        return cell.planned("resume" if resumes else "run", seconds)

    def _is_forced(self, cell: Cell) -> bool:
        return self.force is not None and fnmatch.fnmatch(cell.name, self.force)

    def _checkpoint(self, cell: Cell) -> Checkpoint:
        return Checkpoint(self.results, cell.key)

    def _estimated_seconds(self, cell: Cell, earlier: Sequence[CellRun]) -> float | None:
        """What the cell took before under this budget, else its budget and a guess for the rest."""
        for run in earlier:
            same = all(
                run.params.get(key) == str(cell.params[key])
                for key in ("model", "size", "dataset", "budget", "device")
            )
            if same and "time/wall_seconds" in run.metrics:
                return run.metrics["time/wall_seconds"]
        budget, spec = self.suite.budget, cell.dataset.spec
        if Cost(cell.model, cell.options, spec).parameters == 0:
            return BASELINE_SECONDS
        return budget.amount + OTHER_SECONDS if budget.kind == "seconds" else None

    # --- running ---------------------------------------------------------------------------------

    def dry_run(self) -> int:
        """Show the plan, write nothing; the exit code."""
        earlier = Store(self.uri).cells(self.suite.name) if store_exists(self.uri) else []
        with display_for(sys.stdout) as display:
            display.plan(list(self.planned(earlier).values()), run_settings(self.suite))
        return 0

    def run(self) -> int:
        """Run what is not done, then report; the exit code."""
        launcher = Launcher(self.cells[0].device)
        with self._alone(), display_for(sys.stdout) as display:
            self._tell_notices()
            store = Store(self.uri, announce)
            earlier = store.cells(self.suite.name)
            self._close_stale(store, earlier)
            planned = self.planned(earlier)
            display.plan([*planned.values()], run_settings(self.suite, len(launcher.slots)))
            todo = [cell for cell, plan in planned.items() if plan.state in ("run", "resume")]
            blocked = [cell for cell, plan in planned.items() if plan.state == "blocked"]
            invocation = self._begin(store) if todo or blocked else None
            for cell in blocked:
                finished = Finished(Status.SKIPPED, cell.missing_data)
                self._close_in_mlflow(store, cell, finished, invocation or "")
            with _passing_signals_to(launcher.stop):
                self._launch(store, launcher, display, todo, invocation or "")
            status = self._status(launcher)
            self._report(store, display, invocation, status)
        return EXIT_CODES[status]

    def _tell_notices(self) -> None:
        """Tell, once a run, what each data set wants known."""
        for notice in dict.fromkeys(c.dataset.notice for c in self.cells if not c.missing_data):
            if notice:
                announce(f"note: {notice}")

    def _status(self, launcher: Launcher) -> Status:
        if launcher.stopped:
            return Status.INTERRUPTED
        ends = {finished.status for finished in self._finished.values()}
        return Status.DONE if ends <= {Status.DONE, Status.SKIPPED} else Status.FAILED

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second `run` of this suite in this folder off for as long as the block lasts."""
        lock = self.results / self.suite.name / "run.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                yield
        except Timeout as error:
            text = f"the suite {self.suite.name!r} is already running in {self.results}"
            raise UserError(f"{text}: wait for it, or use another --results") from error

    @property
    def _invocation_file(self) -> Path:
        """Holds the id of the parent run while it runs, so that a killed one can be closed."""
        return self.results / self.suite.name / "invocation"

    def _begin(self, store: Store) -> str:
        """A new parent run, which holds the suite as it was resolved, and its cells."""
        name = f"{self.suite.name} {self.suite.budget}"
        run_id = store.begin(self.suite.name, name, {records.KIND: "suite"})
        self._invocation_file.write_text(run_id, encoding="utf-8")
        fields = self.suite.model_dump(mode="json") | {"budget": str(self.suite.budget)}
        cells = [{"name": c.name, "params": c.params, "tags": c.tags} for c in self.cells]
        for name, content in (("suite.json", fields), (records.PLAN, cells)):
            settled = self.results / self.suite.name / name
            settled.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")
            store.attach(run_id, settled)
        return run_id

    def _close_stale(self, store: Store, earlier: Sequence[CellRun]) -> None:
        """Close in MLflow what a killed process of this folder left running there."""
        if self._invocation_file.exists():
            store.end(self._invocation_file.read_text(encoding="utf-8"), Status.INTERRUPTED)
            self._invocation_file.unlink()
        for run in earlier:
            if run.tags.get(records.STATUS) == Status.RUNNING:
                checkpoint = Checkpoint(self.results, run.tags[records.CELL])
                if checkpoint.run_id == run.run_id and not checkpoint.is_held:
                    store.end(run.run_id, Status.INTERRUPTED, "its process ended without a word")

    def _launch(
        self,
        store: Store,
        launcher: Launcher,
        display: Display,
        todo: Sequence[Cell],
        invocation: str,
    ) -> None:
        by_name = {cell.name: cell for cell in todo}
        for cell in todo:
            if self._is_forced(cell):
                self._checkpoint(cell).remove()
        for job, event in launcher.run([self._job(cell, invocation) for cell in todo]):
            cell = by_name[job.name]
            if isinstance(event, Started):
                display.cell_started(cell.name)
            elif isinstance(event, Progress | Note):
                display.event(cell.name, event)
            else:
                self._finished[cell.name] = event
                if not event.run_id:
                    self._close_in_mlflow(store, cell, event, invocation)
                log = self._checkpoint(cell).log
                display.cell_finished(cell.name, event, cell.command, log if log.exists() else None)

    def _job(self, cell: Cell, invocation: str) -> Job:
        budget, limits = self.suite.budget, self.suite.limits
        seconds = budget.amount if budget.kind == "seconds" else None
        arguments = [*cell.arguments, "--events", "--parent", invocation]
        return Job(
            cell.name,
            [*arguments, *(["--profile"] if self.profile else [])],
            limits.silence_seconds,
            limits.cell_seconds or default_total_seconds(seconds),
        )

    def _close_in_mlflow(
        self, store: Store, cell: Cell, finished: Finished, invocation: str
    ) -> None:
        """Record how a cell ended that could not do so itself."""
        checkpoint = self._checkpoint(cell)
        run_id = checkpoint.run_id
        if run_id is None and finished.status == Status.INTERRUPTED:
            return  # it had not begun: there is nothing to tell of
        if run_id is None:
            run_id = store.begin(self.suite.name, cell.name, cell.tags, invocation)
            store.params(run_id, cell.params)
        if checkpoint.log.exists():
            store.attach(run_id, checkpoint.log)
        store.end(run_id, Status(finished.status), finished.error)

    def _report(
        self, store: Store, display: Display, invocation: str | None, status: Status
    ) -> None:
        """Write the report, attach it to the parent run, and say where everything lies."""
        folder = self.results / self.suite.name / "report"
        path = report.build(store, self.suite.name, folder)
        keeper = invocation or store.latest_invocation(self.suite.name)
        if keeper is not None:
            store.attach(keeper, folder, "report")
        if invocation is not None:
            store.end(invocation, status)
            self._invocation_file.unlink()
        tables = report.tables(store, self.suite.name, [cell.key for cell in self.cells])
        display.summary(tables, path, store.ui_command)


@contextlib.contextmanager
def _passing_signals_to(stop: Callable[[], None]) -> Iterator[None]:
    """Within the block SIGINT and SIGTERM call `stop` and end nothing by themselves."""
    before = {
        number: signal.signal(number, lambda *_: stop())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
