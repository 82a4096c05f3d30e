"""The verb `run`: plan a suite's cells, run those that are not done, and report."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from bench import atomic, locks, records
from bench.errors import UserError, described
from bench.records import Status
from bench.run import plan, recording
from bench.run.checkpoint import Checkpoint
from bench.run.display import PENDING, Display, PlannedCell, Screen
from bench.run.events import Finished, Note, Progress
from bench.run.launchers.launcher import Job, Launcher, Started
from bench.run.launchers.local import LocalLauncher
from bench.run.patience import Patience
from bench.run.record import Record, folder_tag
from bench.run.recorded import Recorded
from bench.run.stop import stop_signals
from bench.run.streams import lasting_output
from bench.store.address import is_server, store_exists, store_uri
from bench.store.errors import NoStore, StoreUnavailable
from bench.suite.cell import Cell
from bench.suite.suite import Suite

if TYPE_CHECKING:
    from bench.run.leftovers import Leftovers
    from bench.store.mlflow import Store

REAPING_SECONDS = 5.0  # until the kernel has ended what a killed process left


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
        self._run_id = ""
        """The parent run, once it is begun."""
        self._kept: list[Cell] = []
        """Cells that ended while MLflow's server was away."""
        self._lost: list[str] = []
        """What could not be recorded or written."""
        plan.check(self.cells, self.force)

    def dry_run(self) -> int:
        """Show the plan and write nothing; the exit code."""
        with self.screen.waiting("reading what is recorded"):
            store = self._store_that_is_there()
            self._announce_notices()
            planned = self._plan(Recorded(store, self.suite.name))
        with self.screen.display(sys.stdout) as display:
            display.plan(planned, plan.settings(self.cells))
        return 0

    def _store_that_is_there(self) -> Store | None:
        """The store; None where there is none, for which MLflow is not even imported."""
        if not store_exists(self._uri):
            return None
        from bench.store.mlflow import Store

        try:
            return Store(self._uri, create=False)
        except NoStore:  # half made
            return None

    def run(self) -> int:
        """Run what is not done, then report; the exit code."""
        launcher = self._launcher()
        with self._alone(), lasting_output(), self.screen.display(sys.stdout) as display:
            with self.screen.waiting("reading what is recorded"):
                from bench.run.leftovers import Leftovers
                from bench.store.mlflow import Store

                self._announce_notices()
                store = Store(self._uri, self.screen.announce)
                patient = Patience(store, self.screen.announce, lambda: not launcher.stopped)
                leftovers = Leftovers(
                    self.results, self.suite.name, self.screen.announce, launcher.holds
                )
                leftovers.record(store)
                leftovers.close(store)
                recorded = Recorded(store, self.suite.name)
                planned = self._plan(recorded)
            display.plan(planned, plan.settings(self.cells, launcher.workers))
            states = [*zip(self.cells, planned, strict=True)]
            todo = [(cell, p) for cell, p in states if p.state in PENDING]
            blocked = [cell for cell, p in states if p.state == "blocked"]
            borrowed = self._borrowed(store, recorded, states)
            with passing_signals_to(launcher.stop, launcher.leave):
                if todo or blocked or borrowed:
                    self._run_id = self._begin(store, leftovers)
                for cell in blocked:
                    self._record_end(store, cell, Finished(Status.SKIPPED, cell.missing_data))
                self._launch(store, launcher, display, todo)
                with self._surviving("what was kept is recorded by the next run"):
                    for cell in self._kept:
                        patient(partial(self._record_kept, store, cell))
                with self._surviving("what dead processes left open is not closed yet"):
                    patient(partial(leftovers.close_runs, store, but=self._run_id))
            try:
                self._report(store, display)
            finally:
                with self._surviving("the end of this run is not recorded"):
                    patient(partial(self._end, store, leftovers, self._status(launcher)))
        return self._status(launcher).exit_code

    def _launcher(self) -> Launcher:
        """What runs the cells.

        Raises:
            UserError: it cannot be had here.
        """
        if self.suite.launch.launcher == "local":
            if left := [*(self.results / self.suite.name / "jobs").glob("*.job")]:
                text = f"{len(left)} jobs of an earlier run may still wait or run elsewhere"
                self.screen.announce(f"{text}: run with --launch as then to attach to them")
            devices = max(cell.devices for cell in self.cells)
            return LocalLauncher(self.cells[0].device, devices, self.suite.launch)
        from bench.run.launchers.choose import remote_launcher

        return remote_launcher(self.suite, self.cells, self.results, self._uri)

    def _end(self, store: Store, leftovers: Leftovers, status: Status) -> None:
        """Close the parent run."""
        if self._run_id:
            store.end(self._run_id, status)
            leftovers.forget_invocation()

    @contextlib.contextmanager
    def _surviving(self, what: str) -> Iterator[None]:
        """Tell of a failure of the block in one line, and go on: it costs no other cell."""
        try:
            yield
        except Exception as error:  # whatever a store raises
            self._lost.append(what)
            self.screen.announce(f"{what}: {described(error)}")

    def _plan(self, recorded: Recorded) -> list[PlannedCell]:
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
        recorded: Recorded,
        states: Sequence[tuple[Cell, PlannedCell]],
    ) -> bool:
        """Whether some cells are done in another suite and not yet in a plan of this one."""
        known = {run.tags.get(records.CELL) for run in recorded.ours}
        known |= {run.tags.get(records.CELL) for run in store.planned(self.suite.name)}
        return any(p.state == "done" and cell.scored not in known for cell, p in states)

    def _announce_notices(self) -> None:
        """Print the notice of each data set, once a run, and what jobs may lack."""
        suite = self.suite
        if not suite.launch.is_here and suite.device == "auto" and self.cells[0].device == "cpu":
            self.screen.announce(
                "note: this machine has no GPU, so these are cells for CPUs: add --device cuda"
                " where jobs have GPUs"
            )
        for notice in dict.fromkeys(c.data.notice for c in self.cells if not c.missing_data):
            if notice:
                self.screen.announce(f"note: {notice}")

    def _status(self, launcher: Launcher) -> Status:
        if launcher.stopped:
            return Status.INTERRUPTED
        ends = {finished.status for finished in self._finished.values()}
        whole = ends <= {Status.DONE, Status.SKIPPED} and not self._lost
        return Status.DONE if whole else Status.FAILED

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock of this suite in this folder during the block."""
        text = f"the suite {self.suite.name!r} is already running in {self.results}"
        lock = self.results / self.suite.name / "run.lock"
        return locks.held(lock, f"{text}: wait for it, or use another --results")

    def _checkpoint(self, cell: Cell) -> Checkpoint:
        return Checkpoint(self.results, cell.trained, self.screen.announce)

    def _command(self, cell: Cell) -> str:
        return cell.command(self.results, self.tracking_uri)

    def _begin(self, store: Store, leftovers: Leftovers) -> str:
        """The id of a new parent run, with the settled suite and its cells as artifacts."""
        budget = str(self.suite.budget_on(self.cells[0].device))
        name = f"{self.suite.name} {budget}"
        tags = {records.KIND: "suite", records.FOLDER: folder_tag(self.results)}
        run_id = store.begin(self.suite.name, name, tags)
        leftovers.remember_invocation(run_id, self._uri)
        fields = self.suite.model_dump(mode="json", exclude={"budget_on_cpu"}) | {"budget": budget}
        cells = [
            {
                "name": cell.name,
                "params": cell.params,
                "tags": cell.tags | {records.COMMAND: self._command(cell)},
            }
            for cell in self.cells
        ]
        for file, content in (("suite.json", fields), (records.PLAN, cells)):
            settled = self.results / self.suite.name / file
            atomic.write_text(settled, json.dumps(content, indent=2, default=str))
            store.attach(run_id, settled)
        return run_id

    def _launch(
        self,
        store: Store,
        launcher: Launcher,
        display: Display,
        todo: Sequence[tuple[Cell, PlannedCell]],
    ) -> None:
        """Run the cells that are `todo`.

        Args:
            store: what they are recorded in.
            launcher: where they run.
            display: shows the events.
            todo: the cells with their plan.
        """
        by_name = {cell.name: cell for cell, _ in todo}
        jobs = []
        for cell, planned in todo:
            try:
                if plan.is_forced(cell, self.force):
                    with self._checkpoint(cell).held():
                        self._checkpoint(cell).restart()
                jobs.append(self._job(cell, planned))
            except (UserError, OSError) as error:
                display.cell_started(cell.name)
                self._show_end(display, cell, Finished(Status.FAILED, described(error)))
        told = False
        for job, event in launcher.run(jobs):
            cell = by_name[job.name]
            if launcher.stopped and not told:
                self.screen.announce("stopping: what runs is being saved; Ctrl-C again kills it")
                told = True
            if isinstance(event, Started):
                display.cell_started(cell.name)
            elif isinstance(event, Progress | Note):
                display.event(cell.name, event)
            else:
                ended = event if event.run_id else self._record_end(store, cell, event)
                self._show_end(display, cell, ended)

    def _show_end(self, display: Display, cell: Cell, finished: Finished) -> None:
        self._finished[cell.name] = finished
        log = self._checkpoint(cell).log
        where = log if log.exists() else None
        display.cell_finished(cell.name, finished, self._command(cell), where)

    def _job(self, cell: Cell, planned: PlannedCell) -> Job:
        """The job of `cell`, whose process reads the settled cell from a file."""
        words = ["cell", str(cell.write(self.results)), "--results", str(self.results)]
        words += ["--tracking-uri", self._uri, "--parent", self._run_id]
        words += ["--weights-of", planned.weights_of] if planned.weights_of else []
        words += ["--profile"] if self.profile else []
        return Job.of(cell, words, self._checkpoint(cell).log)

    def _record_end(self, store: Store, cell: Cell, finished: Finished) -> Finished:
        """The end of a cell whose process did not record it, or not all of it; now recorded.

        Where the server is away, it is kept.
        """
        checkpoint = self._checkpoint(cell)
        with self._surviving(f"{cell.name} is not recorded"), checkpoint.held(REAPING_SECONDS):
            record = checkpoint.record
            if record is None:
                if finished.status is Status.INTERRUPTED and checkpoint.run_id is None:
                    return finished  # it had not begun: nothing to record
                checkpoint.forget_record()  # artifacts without one are half ones
                record = Record.of(cell, self.results, self._command(cell), self._run_id)
                record.end(finished.status, finished.error)
                with contextlib.suppress(OSError):  # without room it may be recorded all the same
                    checkpoint.record = record
            try:
                finished = record.finished(recording.send(record, store, checkpoint))
            except StoreUnavailable:
                if not is_server(store.uri) or checkpoint.record is None:
                    raise
                self._kept.append(cell)
                finished = record.finished("")
            else:
                checkpoint.tidy()
        return finished

    def _record_kept(self, store: Store, cell: Cell) -> None:
        """Record what was kept of a cell."""
        checkpoint = self._checkpoint(cell)
        with checkpoint.held(REAPING_SECONDS):
            record = checkpoint.record
            if record is not None:
                recording.send(record, store, checkpoint)
                checkpoint.tidy()

    def _report(self, store: Store, display: Display) -> None:
        """Write the report, attach it to the parent run, and show the summary."""
        folder = self.results / self.suite.name / "report"
        path, tables = None, {}
        display.all_ended()
        with (
            self._surviving("the report is not written"),
            self.screen.waiting("writing the report"),
        ):
            from bench import report  # its imports take seconds, which a dry run and the cells save
            from bench.report.cells import cell_table
            from bench.report.scores import SequenceScores

            cells, scores = cell_table(store, self.suite.name), SequenceScores(store)
            path = report.build(store, self.suite.name, folder, cells=cells, scores=scores)
            tables = report.tables(cells, [cell.scored for cell in self.cells], scores)
            keeper = self._run_id or store.latest_invocation(self.suite.name)
            if keeper is not None:
                store.attach(keeper, folder, "report")
        display.summary(tables, path, store.ui_command)


def prepared(
    suite: Suite, results: Path, tracking_uri: str | None, screen: Screen, **how: Any
) -> Invocation:
    """A run of the cells of `suite` and its reference, settled for this machine.

    `how` are further fields of it.

    Raises:
        UserError: they cannot be settled.
    """
    import torch

    from bench.suite.settle import settle

    suite = suite.with_reference()
    if suite.launch.cpus is not None:  # so that this process names the device as cells do
        torch.set_num_threads(suite.launch.cpus)
    return Invocation(suite, settle(suite), results, tracking_uri, screen, **how)


@contextlib.contextmanager
def passing_signals_to(
    stop: Callable[[], None], leave: Callable[[], None] | None = None
) -> Iterator[None]:
    """During the block the signals that ask this process to stop only call `stop`.

    Those that are no Ctrl-C call `leave` instead, where it is given. In a thread of a user's, as of
    a window or a web page, they stay that program's own: Python hears them in the main one alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    called = dict.fromkeys(stop_signals(), leave or stop) | {signal.SIGINT: stop}

    def call(number: int, frame: FrameType | None) -> None:
        called[signal.Signals(number)]()

    before = {number: signal.signal(number, call) for number in called}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
