"""The process around one cell: its lock, its log, its MLflow run, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

import torch

from bench import records
from bench.errors import UserError
from bench.records import Status
from bench.run import plan
from bench.run.attempt import Attempt, Interrupted
from bench.run.checkpoint import Checkpoint
from bench.run.display import Screen
from bench.run.events import Event, Finished, Note, Progress, encode
from bench.store.mlflow import RunLog, Store, store_uri
from bench.suite.cell import Cell
from bench.train.held_out import Invalid
from bench.train.loop import Diverged
from datasets.contract import DataMissing

OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


class StopRequest:
    """True once this process was asked to stop: by a signal, or by the end of its parent."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def __call__(self) -> bool:
        """Whether it has been asked."""
        return self._asked.is_set()

    def on_signals(self) -> None:
        """Take SIGINT and SIGTERM as the request; a second one ends the process at once."""
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set():
            os._exit(128 + number)
        self._asked.set()

    def on_end_of(self, stream: TextIO) -> None:
        """Take the end of `stream` as the request: a parent that dies closes its end of it."""

        def wait() -> None:
            with contextlib.suppress(OSError, ValueError):
                while stream.read(1):
                    pass
            self._asked.set()

        threading.Thread(target=wait, daemon=True, name="parent watch").start()


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
    """

    cell: Cell
    store: Store
    results: Path
    screen: Screen
    parent: str = ""
    weights_of: str = ""
    profile: bool = False

    def work(self, emit: Callable[[Event], None], stop_asked: Callable[[], bool]) -> Finished:
        """Run the cell; `emit` is called with each event, `stop_asked` says whether to stop.

        Raises:
            UserError: another process is running this cell.
        """
        cell, store = self.cell, self.store
        checkpoint = Checkpoint(self.results, cell.trained)
        with checkpoint.held(), _log(checkpoint.log) as file:
            journal = self.screen.display(file)

            def publish(event: Event) -> None:
                emit(event)
                if isinstance(event, Progress | Note):
                    journal.event(cell.name, event)

            run_id = checkpoint.run_id or ""
            resumed = bool(run_id) and store.resume(run_id, self.parent)
            log = RunLog(store, run_id if resumed else self._begin(checkpoint))
            self._describe(log, checkpoint)
            with store.system_metrics(log.run_id, resumed):
                finished = self._attempt(log, checkpoint, publish, stop_asked)
            file.write(f"{cell.name}: {finished.status} {finished.error}\n")
            log.attach(checkpoint.log)
            store.end(log.run_id, Status(finished.status), finished.error)
            if finished.status == Status.DONE:
                checkpoint.remove()
            elif finished.status in (Status.DIVERGED, Status.INVALID):
                checkpoint.forget_state()  # going on would only end in the same way
        return finished

    def _begin(self, checkpoint: Checkpoint) -> str:
        """The id of a new MLflow run for the cell, which its checkpoint keeps."""
        checkpoint.forget_state()
        tags = self.cell.tags | {records.COMMAND: self.command}
        run_id = self.store.begin(self.cell.suite, self.cell.name, tags, self.parent)
        checkpoint.run_id = run_id
        return run_id

    @property
    def command(self) -> str:
        """The line that runs the cell again."""
        usual = store_uri(None, self.results)
        return self.cell.command(self.results, None if self.store.uri == usual else self.store.uri)

    def _describe(self, log: RunLog, checkpoint: Checkpoint) -> None:
        """Record parameters, tags and settings before the start, and again on resuming."""
        cell, spec = self.cell, self.cell.data.spec
        log.params(
            cell.params
            | {
                "context_frames": spec.context_frames,
                "horizon": spec.horizon,
                "frame_shape": "x".join(map(str, spec.frame_shape)),
                **({"classes": len(spec.classes)} if spec.classes else {}),
            },
        )
        tags = {records.DATA_DIGEST: cell.data_digests["test"]}
        tags[records.THREADS] = str(torch.get_num_threads())
        if cell.data.notice:
            tags[records.NOTICE] = cell.data.notice
        log.tag(tags)
        module = type(cell.data).__module__
        self.store.data_set(log.run_id, cell.dataset_name, module, cell.data_digests)
        settled = checkpoint.folder / records.SETTLED
        settled.write_text(cell.model_dump_json(indent=2), encoding="utf-8")
        log.attach(settled)

    def _attempt(
        self,
        log: RunLog,
        checkpoint: Checkpoint,
        emit: Callable[[Event], None],
        stop_asked: Callable[[], bool],
    ) -> Finished:
        """Run the cell; every outcome becomes a status."""
        try:
            attempt = Attempt(self.cell, log, checkpoint, emit, stop_asked)
            metrics = self._rescore(attempt) if self.weights_of else attempt.run()
            if self.profile:
                _profile(attempt, log, emit)
            return Finished(Status.DONE, run_id=log.run_id, metrics=metrics)
        except Interrupted:
            return Finished(Status.INTERRUPTED, "stopped before its end", log.run_id)
        except Diverged as error:
            return Finished(Status.DIVERGED, str(error), log.run_id)
        except Invalid as error:
            return Finished(Status.INVALID, str(error), log.run_id)
        except DataMissing as error:  # by a data set that looks for its files late
            return Finished(Status.SKIPPED, str(error), log.run_id)
        except Exception as error:
            traceback.print_exc()
            text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            return Finished(_status_of(error), text, log.run_id)

    def _rescore(self, attempt: Attempt) -> dict[str, float]:
        """Figures of the earlier run's weights, beside the curves and costs recorded then."""
        weights = self.store.artifact(self.weights_of, records.CHECKPOINT)
        if weights is None:
            raise UserError(f"the run {self.weights_of} has no weights: run the cell with --force")
        attempt.log.points(self.store.history(self.weights_of, records.SCORES))
        attempt.log.tag({records.WEIGHTS_OF: self.weights_of})
        return attempt.rescore(weights)


def _status_of(error: Exception) -> Status:
    text = str(error).lower()
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in text for words in OUT_OF_MEMORY_WORDS
    ):
        return Status.OUT_OF_MEMORY
    return Status.FAILED


def _profile(attempt: Attempt, log: RunLog, emit: Callable[[Event], None]) -> None:
    if not attempt.loop.trains:
        emit(Note("nothing to profile: the model is not trained"))
        return
    folder = attempt.checkpoint.folder / records.PROFILE
    costliest = attempt.profile(folder)
    log.attach(folder, records.PROFILE)
    emit(Note("the ten costliest operations of a training step:"))
    for line in costliest:
        emit(Note(line))
    text = (
        f"Profile: artifacts under `{records.PROFILE}/`. Open the trace in ui.perfetto.dev, or "
        f"download the folder and run `tensorboard --logdir {records.PROFILE}`."
    )
    log.tag({"mlflow.note.content": text})


@contextlib.contextmanager
def _log(path: Path) -> Iterator[TextIO]:
    """The file `path`, open to be added to; what the block prints goes there too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", buffering=1) as log:
        streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Tee(streams[0], log), _Tee(streams[1], log)
        try:
            yield log
        finally:
            sys.stdout, sys.stderr = streams


class _Tee:
    """A text stream that writes to two."""

    def __init__(self, first: TextIO, second: TextIO) -> None:
        self._first, self._second = first, second

    def write(self, text: str) -> int:
        self._second.write(text)
        return self._first.write(text)

    def flush(self) -> None:
        self._first.flush()
        self._second.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._first, name)


def run_alone(worker: Worker, events: bool) -> int:
    """Run the worker's cell in this process, as `bench cell` does; its exit code.

    With `events` it sends JSON lines to a parent process and ends when that does; without, it
    shows its own progress.
    """
    stop = StopRequest()
    stop.on_signals()
    out, cell = sys.stdout, worker.cell
    if events:
        stop.on_end_of(sys.stdin)

        def emit(event: Event) -> None:
            out.write(encode(event) + "\n")
            out.flush()

        finished = worker.work(emit, stop)
        emit(finished)
    else:
        with worker.screen.display(out) as display:
            display.plan([plan.planned(cell)], plan.settings([cell]))
            display.cell_started(cell.name)

            def show(event: Event) -> None:
                if isinstance(event, Progress | Note):
                    display.event(cell.name, event)

            finished = worker.work(show, stop)
            display.cell_finished(cell.name, finished, worker.command)
    return Status(finished.status).exit_code
