"""The verb `run`: plan a suite's cells, run those that are not done, and report."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import locks, records, report
from bench.errors import UserError
from bench.records import Status
from bench.run import plan
from bench.run.checkpoint import Checkpoint
from bench.run.display import PENDING, Display, PlannedCell, Screen
from bench.run.events import Finished, Note, Progress
from bench.run.launchers.launcher import Job, Launcher, Started, default_total_seconds
from bench.run.launchers.local import LocalLauncher
from bench.store.mlflow import RecordedCell, Store, store_exists, store_uri
from bench.suite.cell import Cell
from bench.suite.suite import Suite


@dataclass
class Invocation:
    """One `run` of a suite: plans its cells, runs those that are not done, writes the report.

    Attributes:
        suite: the suite, with what overrides it.
        cells: its cells.
        results: the folder for the store, checkpoints and reports.
        tracking_uri: MLflow's store where it is not the one in that folder.
        screen: how to speak to the user.
        force: a glob; cells whose name matches run even if they are done.
        profile: whether each cell records a few training steps with torch.profiler.
        only_rescore: whether cells that would have to be trained are left alone.
    """

    suite: Suite
    cells: Sequence[Cell]
    results: Path
    tracking_uri: str | None
    screen: Screen
    force: str | None = None
    profile: bool = False
    only_rescore: bool = False

    def __post_init__(self) -> None:
        self._finished: dict[str, Finished] = {}
        self._uri = store_uri(self.tracking_uri, self.results)
        plan.check(self.cells)

    def dry_run(self) -> int:
        """Show the plan and write nothing; the exit code."""
        store = Store(self._uri) if store_exists(self._uri) else None
        with self.screen.display(sys.stdout) as display:
            recorded = plan.Recorded(store, self.suite.name)
            display.plan(self._plan(recorded), plan.settings(self.cells))
        return 0

    def run(self) -> int:
        """Run what is not done, then report; the exit code."""
        launcher = LocalLauncher(self.cells[0].device)
        with self._alone(), self.screen.display(sys.stdout) as display:
            self._announce_notices()
            store = Store(self._uri, self.screen.announce)
            recorded = plan.Recorded(store, self.suite.name)
            self._close_stale(store, recorded.ours)
            planned = self._plan(recorded)
            display.plan(planned, plan.settings(self.cells, launcher.workers))
            states = [*zip(self.cells, planned, strict=True)]
            todo = [(cell, p) for cell, p in states if p.state in PENDING]
            blocked = [cell for cell, p in states if p.state == "blocked"]
            borrowed = self._borrowed(store, recorded, states)
            invocation = self._begin(store) if todo or blocked or borrowed else ""
            for cell in blocked:
                finished = Finished(Status.SKIPPED, cell.missing_data)
                self._close_in_mlflow(store, cell, finished, invocation)
            with _passing_signals_to(launcher.stop):
                self._launch(store, launcher, display, todo, invocation)
            status = self._status(launcher)
            self._report(store, display, invocation, status)
        return status.exit_code

    def _plan(self, recorded: plan.Recorded) -> list[PlannedCell]:
        planned = plan.plan(self.cells, self.results, recorded, self.force)
        if not self.only_rescore:
            return planned
        kept = [
            (cell, p)
            for cell, p in zip(self.cells, planned, strict=True)
            if p.state in ("rescore", "done")
        ]
        if not kept:
            raise UserError(f"no cell of {self.suite.name} is finished: run the suite first")
        self.cells = [cell for cell, _ in kept]
        return [p for _, p in kept]

    def _borrowed(
        self,
        store: Store,
        recorded: plan.Recorded,
        states: Sequence[tuple[Cell, PlannedCell]],
    ) -> bool:
        """Whether some cells are done in another suite and not yet in a plan of this one."""
        known = {run.tags.get(records.CELL) for run in recorded.ours}
        known |= {run.tags.get(records.CELL) for run in store.planned(self.suite.name)}
        return any(p.state == "done" and cell.scored not in known for cell, p in states)

    def _announce_notices(self) -> None:
        """Print the notice of each data set, once a run."""
        for notice in dict.fromkeys(c.data.notice for c in self.cells if not c.missing_data):
            if notice:
                self.screen.announce(f"note: {notice}")

    def _status(self, launcher: Launcher) -> Status:
        if launcher.stopped:
            return Status.INTERRUPTED
        ends = {finished.status for finished in self._finished.values()}
        return Status.DONE if ends <= {Status.DONE, Status.SKIPPED} else Status.FAILED

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock of this suite in this folder during the block."""
        text = f"the suite {self.suite.name!r} is already running in {self.results}"
        lock = self.results / self.suite.name / "run.lock"
        return locks.held(lock, f"{text}: wait for it, or use another --results")

    @property
    def _invocation_file(self) -> Path:
        """The file with the parent run's id while it runs, so that a killed one can be closed."""
        return self.results / self.suite.name / "invocation"

    def _checkpoint(self, cell: Cell) -> Checkpoint:
        return Checkpoint(self.results, cell.trained)

    def _tags(self, cell: Cell) -> dict[str, str]:
        return cell.tags | {records.COMMAND: cell.command(self.results, self.tracking_uri)}

    def _begin(self, store: Store) -> str:
        """The id of a new parent run, with the settled suite and its cells as artifacts."""
        name = f"{self.suite.name} {self.suite.budget}"
        run_id = store.begin(self.suite.name, name, {records.KIND: "suite"})
        self._invocation_file.write_text(run_id, encoding="utf-8")
        fields = self.suite.model_dump(mode="json") | {"budget": str(self.suite.budget)}
        cells = [{"name": c.name, "params": c.params, "tags": self._tags(c)} for c in self.cells]
        for file, content in (("suite.json", fields), (records.PLAN, cells)):
            settled = self.results / self.suite.name / file
            settled.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")
            store.attach(run_id, settled)
        return run_id

    def _close_stale(self, store: Store, earlier: Sequence[RecordedCell]) -> None:
        """Close the MLflow runs that a killed process of this folder left open."""
        if self._invocation_file.exists():
            store.end(self._invocation_file.read_text(encoding="utf-8"), Status.INTERRUPTED)
            self._invocation_file.unlink()
        for run in earlier:
            if run.tags.get(records.STATUS) == Status.RUNNING and records.TRAINED in run.tags:
                checkpoint = Checkpoint(self.results, run.tags[records.TRAINED])
                if checkpoint.run_id == run.run_id and not checkpoint.is_held:
                    store.end(run.run_id, Status.INTERRUPTED, "its process ended without a word")

    def _launch(
        self,
        store: Store,
        launcher: Launcher,
        display: Display,
        todo: Sequence[tuple[Cell, PlannedCell]],
        invocation: str,
    ) -> None:
        """Run the cells that are `todo`.

        Args:
            store: what they are recorded in.
            launcher: where they run.
            display: shows the events.
            todo: the cells with their plan.
            invocation: the parent run.
        """
        by_name = {cell.name: cell for cell, _ in todo}
        for cell, _ in todo:
            if plan.is_forced(cell, self.force):
                self._checkpoint(cell).remove()
        jobs = [self._job(cell, planned, invocation) for cell, planned in todo]
        for job, event in launcher.run(jobs):
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
                command = cell.command(self.results, self.tracking_uri)
                display.cell_finished(cell.name, event, command, log if log.exists() else None)

    def _job(self, cell: Cell, planned: PlannedCell, invocation: str) -> Job:
        """The job of `cell`, whose process reads the settled cell from a file."""
        words = ["cell", str(cell.write(self.results)), "--results", str(self.results)]
        words += ["--tracking-uri", self._uri, "--events", "--parent", invocation]
        words += ["--weights-of", planned.weights_of] if planned.weights_of else []
        words += ["--profile"] if self.profile else []
        seconds = cell.budget.amount if cell.budget.kind == "seconds" else None
        total = cell.limits.cell_seconds or default_total_seconds(seconds)
        return Job(cell.name, words, cell.limits.silence_seconds, total)

    def _close_in_mlflow(
        self, store: Store, cell: Cell, finished: Finished, invocation: str
    ) -> None:
        """Record the end of a cell whose process did not do so itself."""
        checkpoint = self._checkpoint(cell)
        run_id = checkpoint.run_id
        if run_id is None and finished.status == Status.INTERRUPTED:
            return  # it had not begun: nothing to record
        if run_id is None:
            run_id = store.begin(self.suite.name, cell.name, self._tags(cell), invocation)
            store.params(run_id, cell.params)
        if checkpoint.log.exists():
            store.attach(run_id, checkpoint.log)
        store.end(run_id, Status(finished.status), finished.error)

    def _report(self, store: Store, display: Display, invocation: str, status: Status) -> None:
        """Write the report, attach it to the parent run, and show the summary."""
        folder = self.results / self.suite.name / "report"
        path = report.build(store, self.suite.name, folder)
        keeper = invocation or store.latest_invocation(self.suite.name)
        if keeper is not None:
            store.attach(keeper, folder, "report")
        if invocation:
            store.end(invocation, status)
            self._invocation_file.unlink()
        tables = report.tables(store, self.suite.name, [cell.scored for cell in self.cells])
        display.summary(tables, path, store.ui_command)


@contextlib.contextmanager
def _passing_signals_to(stop: Callable[[], None]) -> Iterator[None]:
    """During the block SIGINT and SIGTERM only call `stop`."""
    before = {
        number: signal.signal(number, lambda *_: stop())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
