"""The process around one cell: its lock, its log, its MLflow run, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TextIO

import torch

from bench.console import announce, display_for
from bench.run.checkpoint import Checkpoint
from bench.run.events import Event, Finished, Note, Progress, encode
from bench.store import records
from bench.store.mlflow import Store
from bench.store.records import Status
from bench.suite.cell import Cell, run_settings
from bench.train.loop import CellRun, Diverged, Interrupted
from datasets.contract import DataMissing

OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


class StopRequest:
    """True once somebody asked this process to stop: a signal, or the end of its parent."""

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


def work(
    cell: Cell,
    store: Store,
    results: Path,
    emit: Callable[[Event], None],
    stop: Callable[[], bool],
    parent: str = "",
    profile: bool = False,
) -> Finished:
    """Run `cell` to its end, whatever that is, and record it.

    Args:
        cell: what to run.
        store: where it is recorded.
        results: the folder its checkpoint lies in.
        emit: is told what happens.
        stop: says whether to stop at the next opportunity.
        parent: the MLflow run of the invocation that this belongs to.
        profile: whether to profile a few steps after the budget.

    Raises:
        UserError: another process is running this cell.
    """
    checkpoint = Checkpoint(results, cell.key)
    with checkpoint.held(), _log(checkpoint.log) as log:
        journal = display_for(log)

        def tell(event: Event) -> None:
            emit(event)
            if isinstance(event, Progress | Note):
                journal.event(cell.name, event)

        resumed = checkpoint.run_id is not None and store.resume(checkpoint.run_id, parent)
        run_id = (checkpoint.run_id or "") if resumed else _begin(cell, store, checkpoint, parent)
        _describe(cell, store, run_id)
        with store.system_metrics(run_id, resumed):
            finished = _attempt(cell, store, checkpoint, run_id, tell, stop, profile)
        log.write(f"{cell.name}: {finished.status} {finished.error}\n")
        store.attach(run_id, checkpoint.log)
        store.end(run_id, Status(finished.status), finished.error)
        if finished.status == Status.DONE:
            checkpoint.remove()
        elif finished.status == Status.DIVERGED:
            checkpoint.forget_state()  # going on would only diverge again
    return finished


def _begin(cell: Cell, store: Store, checkpoint: Checkpoint, parent: str) -> str:
    """A new MLflow run for the cell, which its checkpoint knows from now on."""
    checkpoint.forget_state()
    run_id = store.begin(cell.suite.name, cell.name, cell.tags, parent)
    checkpoint.run_id = run_id
    return run_id


def _describe(cell: Cell, store: Store, run_id: str) -> None:
    """Record all that is known before the cell starts; again on resuming, for a kill in between."""
    spec = cell.dataset.spec
    store.params(
        run_id,
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
    if cell.dataset.notice:
        tags[records.NOTICE] = cell.dataset.notice
    store.tag(run_id, tags)
    module = type(cell.dataset).__module__
    store.data_set(run_id, cell.dataset_name, module, cell.data_digests)


def _attempt(
    cell: Cell,
    store: Store,
    checkpoint: Checkpoint,
    run_id: str,
    emit: Callable[[Event], None],
    stop: Callable[[], bool],
    profile: bool,
) -> Finished:
    """Run the cell; every way it can end becomes a status."""
    try:
        run = CellRun(cell, store, checkpoint, run_id, emit, stop)
        metrics = run.run()
        if profile:
            _profile(run, store, checkpoint, run_id, emit)
        return Finished(Status.DONE, run_id=run_id, metrics=metrics)
    except Interrupted:
        return Finished(Status.INTERRUPTED, "stopped before its end", run_id)
    except Diverged as error:
        return Finished(Status.DIVERGED, str(error), run_id)
    except DataMissing as error:  # by a data set that looks for its files late
        return Finished(Status.SKIPPED, str(error), run_id)
    except Exception as error:
        traceback.print_exc()
        text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return Finished(_status_of(error), text, run_id)


def _status_of(error: Exception) -> Status:
    text = str(error).lower()
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in text for words in OUT_OF_MEMORY_WORDS
    ):
        return Status.OUT_OF_MEMORY
    return Status.FAILED


def _profile(
    run: CellRun,
    store: Store,
    checkpoint: Checkpoint,
    run_id: str,
    emit: Callable[[Event], None],
) -> None:
    if not run.can_be_profiled:
        emit(Note("nothing to profile: the model is not trained"))
        return
    folder = checkpoint.folder / records.PROFILE
    costliest = run.profile(folder)
    store.attach(run_id, folder, records.PROFILE)
    emit(Note("the ten costliest operations of a training step:"))
    for line in costliest:
        emit(Note(line))
    text = (
        f"Profile: artifacts under `{records.PROFILE}/`. Open the trace in ui.perfetto.dev, or "
        f"download the folder and run `tensorboard --logdir {records.PROFILE}`."
    )
    store.tag(run_id, {"mlflow.note.content": text})


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


def run_alone(cell: Cell, uri: str, results: Path, parent: str, profile: bool, events: bool) -> int:
    """Run `cell` in this process, as `bench cell` does; its exit code.

    With `events` it speaks JSON lines to a parent process and ends when that does; without, it
    shows its own progress.
    """
    stop = StopRequest()
    stop.on_signals()
    out = sys.stdout
    store = Store(uri, announce)
    if events:
        stop.on_end_of(sys.stdin)

        def emit(event: Event) -> None:
            out.write(encode(event) + "\n")
            out.flush()

        finished = work(cell, store, results, emit, stop, parent, profile)
        emit(finished)
    else:
        with display_for(out) as display:
            display.plan([cell.planned()], run_settings(cell.suite))
            display.cell_started(cell.name)

            def show(event: Event) -> None:
                if isinstance(event, Progress | Note):
                    display.event(cell.name, event)

            finished = work(cell, store, results, show, stop, parent, profile)
            display.cell_finished(cell.name, finished, cell.command)
    return {Status.DONE: 0, Status.INTERRUPTED: 130}.get(Status(finished.status), 1)
