"""What can be deleted to make room, how much that is, and its deletion."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from bench import caches, records
from bench.listing.cells import status
from bench.locks import Busy
from bench.records import Status
from bench.run.checkpoint import Checkpoint
from bench.units import byte_size

if TYPE_CHECKING:
    from bench.store.mlflow import RecordedCell, Store

Kind = Literal["failed", "interrupted", "weights", "caches"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MEANS: dict[Kind, str] = {
    "failed": "runs that failed, ran out of memory or time",
    "interrupted": "cells that were stopped, with the checkpoints from which they would go on",
    "weights": "of finished cells, which predict, rescore and verify need; figures stay",
    "caches": "counts and trivial predictions, made anew when they are needed",
}
_FAILED = (Status.FAILED, Status.OUT_OF_MEMORY, Status.TIMEOUT)
"""Those that diverged or broke a rule say something of their model: they stay."""
_UNFINISHED = (Status.INTERRUPTED, Status.RUNNING)
"""Recorded of what goes on, was stopped, or was killed."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be deleted."""

    kind: Kind
    name: str
    size_bytes: int
    delete: Callable[[], bool]
    """Deletes it, unless it is in use by now or has become a result; whether it did."""


def found(store: Store | None, results: Path, suite: str | None) -> list[Item]:
    """All that can be deleted: of one `suite`, else of all, and then the caches, too.

    Without a store it is the caches alone. A cell that runs is left alone, and so is a result that
    MLflow is still to hold.

    Raises:
        UserError: there is no such suite.
    """
    items: list[Item] = []
    if store is not None:
        if suite is not None:
            store.require_suite(suite)
        for name in [suite] if suite else store.suites():
            for run in store.cells(name):
                items += _of_run(store, run, results)
    return items if suite else [*items, *_caches()]


def _of_run(store: Store, run: RecordedCell, results: Path) -> Iterator[Item]:
    state = status(run, results)
    checkpoint = Checkpoint(results, run.tags.get(records.TRAINED, ""))
    failed = state in _FAILED
    if failed or state == Status.INTERRUPTED:
        kind: Kind = "failed" if failed else "interrupted"
        still = _FAILED if failed else _UNFINISHED
        # One that failed has forgotten its run, but left its state: the next `run` would resume it.
        owner = checkpoint.run_id
        ours = owner == run.run_id or (failed and owner is None)
        if ours and (checkpoint.is_held or checkpoint.record is not None):
            return

        def delete() -> bool:
            if not ours:
                return _delete_run(store, run.run_id, still)
            try:
                with checkpoint.held():
                    is_result = checkpoint.record is not None
                    if is_result or not _delete_run(store, run.run_id, still):
                        return False
                    checkpoint.remove()
            except Busy:  # it goes on
                return False
            return True

        size = store.size_bytes(run.run_id) + (caches.size_bytes(checkpoint.folder) if ours else 0)
        yield Item(kind, run.name, size, delete)
    elif run.is_done and run.weights_bytes:

        def clear() -> bool:
            store.clear_weights(run.run_id)
            return True

        yield Item("weights", run.name, run.weights_bytes, clear)


def _delete_run(store: Store, run_id: str, while_: Sequence[Status]) -> bool:
    """Delete a run whose status is still one of these; whether it was."""
    now = store.run(run_id)
    if now is None or now.tags.get(records.STATUS, "") not in while_:
        return False
    store.delete(run_id)
    return True


def _caches() -> Iterator[Item]:
    root = caches.folder("").absolute()
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        yield Item("caches", folder.name, caches.size_bytes(folder), partial(_remove, folder))


def _remove(folder: Path) -> bool:
    folder.unlink() if folder.is_symlink() else shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def clean(
    items: Sequence[Item], kinds: Sequence[Kind], is_sure: Callable[[str], bool]
) -> tuple[int, int]:
    """How many of `items` were deleted, those of `kinds`, and their bytes.

    `is_sure` is asked once for each kind, with what is to go; where it says no, that stays.
    """
    count = size = 0
    for kind in kinds:
        of_kind = [item for item in items if item.kind == kind]
        room = sum(item.size_bytes for item in of_kind)
        if of_kind and is_sure(f"{kind}: {len(of_kind)}, {byte_size(room)} ({MEANS[kind]})"):
            deleted = [item for item in of_kind if item.delete()]
            count, size = count + len(deleted), size + sum(item.size_bytes for item in deleted)
    return count, size


def rows(items: Sequence[Item]) -> list[dict[str, object]]:
    """A row for each kind: how many there are, and how large they are."""
    return [
        {
            "what": kind,
            "count": len(of_kind),
            "size": byte_size(sum(item.size_bytes for item in of_kind)),
            "meaning": MEANS[kind],
        }
        for kind in KINDS
        for of_kind in [[item for item in items if item.kind == kind]]
    ]
