"""Sends the record of a cell to MLflow, and tidies its checkpoint once it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import records
from bench.records import Status
from bench.run.checkpoint import Checkpoint
from bench.run.record import Record

if TYPE_CHECKING:
    from bench.store.mlflow import Store


def begin(record: Record, store: Store, checkpoint: Checkpoint) -> str:
    """The id of a new run for the `record`, which the checkpoint keeps."""
    run_id = store.begin(record.suite, record.name, record.tags, record.parent)
    checkpoint.run_id = run_id
    return run_id


def describe(record: Record, store: Store, run_id: str) -> None:
    """Send what is known before the cell starts."""
    store.params(run_id, record.params)
    store.tag(run_id, {k: v for k, v in record.tags.items() if k != records.STATUS})
    if record.data_digests:
        store.data_set(run_id, *record.data_source, record.data_digests)


def send(record: Record, store: Store, checkpoint: Checkpoint) -> str:
    """Send all of it, with artifacts and log, to the cell's run in `store`; the run's id.

    A store that does not know the run gets a new one. Afterwards the checkpoint is what the
    cell needs to go on, if anything.
    """
    store.hear()
    run_id = checkpoint.run_id
    run = store.run(run_id) if run_id else None
    if run_id is None or run is None or not record.describes(run):
        run_id = begin(record, store, checkpoint)
    describe(record, store, run_id)
    store.points(run_id, record.points)
    if checkpoint.artifacts.is_dir():
        store.attach(run_id, checkpoint.artifacts)
    for file in (checkpoint.environment, checkpoint.log):
        if file.exists():
            store.attach(run_id, file)
    store.end(run_id, record.status, record.error)
    if record.status is Status.DONE:
        checkpoint.remove()
        return run_id
    if record.status in (Status.DIVERGED, Status.INVALID):
        checkpoint.forget_state()  # going on would only end in the same way
    if record.status is not Status.INTERRUPTED:
        checkpoint.forget_run()  # it may hold points beyond the state
    checkpoint.forget_record()
    return run_id
