"""The process around one cell: its lock, its log, its MLflow run, and how it ends."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import torch

from bench import atomic, records
from bench.errors import Invalid, UserError, described
from bench.locks import Busy
from bench.records import Point, Status
from bench.run import environment, gpus, plan, recording
from bench.run.attempt import Attempt, Interrupted
from bench.run.checkpoint import BUSY, Checkpoint
from bench.run.display import Screen
from bench.run.events import Event, Finished, Note, Progress, encode
from bench.run.patience import Patience
from bench.run.ranks import RankDied, team_of
from bench.run.record import Record
from bench.run.recorded import Recorded
from bench.run.status import status_of
from bench.run.stop import StopRequest
from bench.run.streams import copied_to, lasting, lasting_output
from bench.run.tasks import Tasks
from bench.store.address import store_uri
from bench.store.errors import StoreUnavailable
from bench.store.mlflow import Store
from bench.suite.cell import Cell
from bench.train.allocator import keep_freed_memory
from bench.train.loop import Diverged, Unrestorable
from bench.train.team import Team
from datasets.contract import DataMissing

WAIT_SECONDS = 5.0  # for who runs the same cell, between signs of life
EXPECTED = (Diverged, Invalid, DataMissing, RankDied)
"""Ends that need no traceback: the message says all."""


@dataclass(frozen=True)
class Worker:
    """Runs one cell and records how it ended.

    Attributes:
        cell: what to run.
        store: where it is recorded.
        results: the folder its checkpoint lies in.
        screen: how to speak to the user; it also writes the cell's log.
        parent: the MLflow run of the invocation that this belongs to.
        weights_of: an earlier run, whose weights are only scored again.
        profile: whether to profile a few steps after the budget.
        devices: on how many it runs now, where that is not as it was settled: what it learns is
            the same but for rounding, and so it may go on where it was.
    """

    cell: Cell
    store: Store
    results: Path
    screen: Screen
    parent: str = ""
    weights_of: str = ""
    profile: bool = False
    devices: int | None = None

    def work(
        self,
        emit: Callable[[Event], None],
        stop_asked: Callable[[], bool],
        output_is_log: bool = False,
    ) -> Finished:
        """Run the cell.

        Args:
            emit: called with each event.
            stop_asked: whether to stop.
            output_is_log: whether what this process prints goes to the cell's log already.

        Raises:
            UserError: the store cannot be used.
        """

        def tell(text: str) -> None:
            emit(Note(text))

        def go_on() -> bool:
            emit(Progress("setup", 0.0))  # it lives
            return not stop_asked()

        patient = Patience(self.store, tell, go_on)
        checkpoint = Checkpoint(self.results, self.cell.trained, tell)
        waits = checkpoint.is_held  # by one whose parent was killed, perhaps: it is about to end
        if waits:
            tell(f"{BUSY.partition(':')[0]}: waiting for it")
        with contextlib.ExitStack() as held:
            if not _has_its_turn(checkpoint, held, go_on):
                return Finished(Status.INTERRUPTED, "stopped before its turn came")
            log = held.enter_context(contextlib.closing(lasting(checkpoint.log)))
            copy = contextlib.nullcontext() if output_is_log else copied_to(log)
            with copy:
                try:
                    return (
                        patient(partial(self._recorded_before, checkpoint))
                        or (patient(self._done_meanwhile) if waits else None)
                        or self._run(checkpoint, emit, stop_asked, log, patient)
                    )
                except StoreUnavailable:
                    if not stop_asked():
                        raise
                    return Finished(Status.INTERRUPTED, "stopped while MLflow's server was away")

    def _recorded_before(self, checkpoint: Checkpoint) -> Finished | None:
        """How the cell ended earlier, where MLflow did not hold that yet and it need not go on."""
        record = checkpoint.record
        if record is None:
            return None
        run_id = recording.send(record, self.store, checkpoint)
        is_this = record.tags.get(records.CELL) == self.cell.scored
        return record.finished(run_id) if is_this and record.status is Status.DONE else None

    def _done_meanwhile(self) -> Finished | None:
        """The end of the cell in another process."""
        run = Recorded(self.store, self.cell.suite).scored(self.cell)
        return Finished(Status.DONE, "", run.run_id, run.metrics) if run else None

    def _run(
        self,
        checkpoint: Checkpoint,
        emit: Callable[[Event], None],
        stop_asked: Callable[[], bool],
        log: TextIO,
        patient: Patience,
    ) -> Finished:
        """Run the cell and record it."""
        journal = self.screen.display(log)

        def publish(event: Event) -> None:
            emit(event)
            if isinstance(event, Progress | Note):
                journal.event(self.cell.name, event)

        checkpoint.forget_record()  # artifacts that a killed attempt left without one
        record = Record.of(self.cell, self.results, self.command, self.parent)
        record.tags[records.THREADS] = str(torch.get_num_threads())
        record.tags[records.ALLOCATOR] = keep_freed_memory()
        if self.devices not in (None, self.cell.devices):
            record.tags[records.RAN_ON] = f"{self.devices} devices"
        if tasks := Tasks.of_this_cell():
            record.tags[records.RAN_ON] = f"{tasks.nodes} nodes"
        state = None if self.weights_of else checkpoint.load()
        run_id, same_run = patient(partial(self._begin, record, checkpoint, state is not None))

        def send(points: Sequence[Point]) -> None:
            self.store.hear()  # training waits meanwhile
            self.store.points(run_id, points)

        gpu = gpus.uuid() if self.cell.device == "cuda" else ""
        with self.store.system_metrics(run_id, same_run, gpu) as unsent:
            attempt = partial(Attempt, self.cell, record, checkpoint, publish, stop_asked, send)
            self._attempt(attempt, state, same_run, record, checkpoint, publish, log)
        record.points = [*record.points, *unsent]
        log.write(f"{self.cell.name}: {record.status} {record.error}\n")
        return self._keep_and_send(record, checkpoint, emit)

    def _begin(self, record: Record, checkpoint: Checkpoint, has_state: bool) -> tuple[str, bool]:
        """The cell's run in MLflow, and whether it is that of an attempt that was interrupted."""
        run_id = self._run_to_go_on_with(record, checkpoint, has_state)
        same_run = run_id is not None
        if run_id is None:
            run_id = recording.begin(record, self.store, checkpoint)
        recording.describe(record, self.store, run_id)
        self._attach_settled(run_id, checkpoint)
        return run_id, same_run

    def _run_to_go_on_with(
        self, record: Record, checkpoint: Checkpoint, has_state: bool
    ) -> str | None:
        """The MLflow run of the interrupted attempt that this one goes on with, set to running.

        None where there is none in this store that would hold each point of the cell once.
        """
        run_id = checkpoint.run_id
        run = self.store.run(run_id) if run_id else None
        if run_id is None or run is None:
            return None
        was_interrupted = run.tags.get(records.STATUS) in (Status.RUNNING, Status.INTERRUPTED)
        is_empty = all(key.startswith("system/") for key in run.metrics)
        fits = was_interrupted and record.describes(run) and (has_state or is_empty)
        if fits and self.store.resume(run_id, self.parent):
            return run_id
        if run.tags.get(records.STATUS) == Status.RUNNING:
            self.store.end(run_id, Status.INTERRUPTED, "it could not go on")
        return None

    def _attach_settled(self, run_id: str, checkpoint: Checkpoint) -> None:
        settled = checkpoint.folder / records.SETTLED
        atomic.write_text(settled, self.cell.model_dump_json(indent=2))
        self.store.attach(run_id, settled)

    def _keep_and_send(
        self, record: Record, checkpoint: Checkpoint, emit: Callable[[Event], None]
    ) -> Finished:
        """The end of the cell, which MLflow now holds; or the folder, for the next run to send."""
        kept = ""
        try:
            checkpoint.record = record
            kept = "; it is kept and recorded by the next run"
        except OSError as error:
            emit(Note(f"the result cannot be kept in {checkpoint.folder}: {described(error)}"))
        try:
            return record.finished(recording.send(record, self.store, checkpoint))
        except Exception as error:  # whatever a store raises: the result is kept
            how = f"{record.status}: {record.error}" if record.error else record.status
            why = f"it cannot be recorded{kept}: {described(error)}; it ended as {how}"
            return Finished(Status.FAILED, why)

    @property
    def command(self) -> str:
        """The line that runs the cell again."""
        usual = store_uri(None, self.results)
        return self.cell.command(self.results, None if self.store.uri == usual else self.store.uri)

    def _attempt(
        self,
        begin: Callable[[Team], Attempt],
        state: dict[str, Any] | None,
        same_run: bool,
        record: Record,
        checkpoint: Checkpoint,
        emit: Callable[[Event], None],
        log: TextIO,
    ) -> None:
        """Run the cell; every outcome becomes the status of its `record`."""
        try:
            with self._team(emit) as team:
                attempt = begin(team)
                environment.write(checkpoint.environment, self.cell.device, record.tags)
                metrics = (
                    self._rescore(attempt, record)
                    if self.weights_of
                    else attempt.run(state, same_run)
                )
                if self.profile:
                    _profile(attempt, record, emit)
            record.end(Status.DONE, metrics=metrics)
        except Interrupted:
            record.end(Status.INTERRUPTED, "stopped before its end")
        except EXPECTED as error:
            record.end(status_of(error), str(error))
        except Unrestorable as error:
            checkpoint.set_state_aside(error)
            record.end(Status.FAILED, f"its checkpoint did not fit: {error}")
        except (Exception, SystemExit) as error:
            traceback.print_exc(file=log)
            record.end(status_of(error), described(error))

    def _team(self, emit: Callable[[Event], None]) -> contextlib.AbstractContextManager[Team]:
        """The processes that run the cell; this is the first."""
        size = self.devices or self.cell.devices
        return team_of(self.cell, size, bool(self.weights_of), self.profile, emit)

    def _rescore(self, attempt: Attempt, record: Record) -> dict[str, float]:
        """Figures of the earlier run's weights, beside the curves and costs recorded then."""
        weights = self.store.artifact(self.weights_of, records.CHECKPOINT)
        earlier = self.store.run(self.weights_of)
        if weights is None or earlier is None:
            raise UserError(f"the run {self.weights_of} has no weights: run the cell with --force")
        record.points = self.store.history(self.weights_of, records.SCORES)
        record.tags[records.WEIGHTS_OF] = self.weights_of
        final = attempt.rescore(weights)
        costs = {k: v for k, v in earlier.metrics.items() if not k.startswith(records.SCORES)}
        return costs | final


def _has_its_turn(
    checkpoint: Checkpoint, held: contextlib.ExitStack, go_on: Callable[[], bool]
) -> bool:
    """Hold the cell's lock until `held` ends, once nobody has it; False where it is not to go on.

    That is as long as the other's cell takes; on NFSv4 a dead machine's lock stays for 90 s.
    """
    while True:
        try:
            held.enter_context(checkpoint.held(WAIT_SECONDS))
        except Busy:
            if not go_on():
                return False
        else:
            return True


def _profile(attempt: Attempt, record: Record, emit: Callable[[Event], None]) -> None:
    if not attempt.loop.trains:
        emit(Note("nothing to profile: the model is not trained"))
        return
    costliest = attempt.profile(attempt.checkpoint.artifacts / records.PROFILE)
    emit(Note("the ten costliest operations of a training step:"))
    for line in costliest:
        emit(Note(line))
    record.tags["mlflow.note.content"] = (
        f"Profile: artifacts under `{records.PROFILE}/`. Open the trace in ui.perfetto.dev, or "
        f"download the folder and run `tensorboard --logdir {records.PROFILE}`."
    )


def run_alone(worker: Worker, events: int | None) -> int:
    """Run the worker's cell in this process, as `bench cell` does; its exit code.

    With the descriptor `events` it sends JSON lines there to a parent process, which has made its
    output the cell's log, and ends when that does; without, it shows its own progress.
    """
    stop = StopRequest()
    stop.on_signals()
    with lasting_output():
        if events is None:
            finished = _shown(worker, stop)
        else:
            os.set_inheritable(events, False)  # a process that it starts must not keep it open
            finished = _told(worker, stop, events)
    return finished.status.exit_code


def _shown(worker: Worker, stop: StopRequest) -> Finished:
    """How the cell ended, with its progress shown here."""
    cell = worker.cell
    with worker.screen.display(sys.stdout) as display:
        display.plan([plan.planned(cell)], plan.settings([cell]))
        display.cell_started(cell.name)

        def show(event: Event) -> None:
            if isinstance(event, Progress | Note):
                display.event(cell.name, event)

        finished = worker.work(show, stop)
        display.cell_finished(cell.name, finished, worker.command)
    return finished


def _told(worker: Worker, stop: StopRequest, events: int) -> Finished:
    """How the cell ended, with all events told to the parent process."""
    stop.on_end_of(sys.stdin)
    with contextlib.closing(lasting(events)) as parent:

        def emit(event: Event) -> None:
            parent.write(encode(event) + "\n")
            parent.flush()

        try:
            finished = worker.work(emit, stop, output_is_log=True)
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            finished = Finished(Status.FAILED, described(error))
        emit(finished)
    return finished
