"""What can be deleted to make room, how much that is, and its deletion."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from bench import caches, records
from bench.errors import unknown
from bench.listing.cells import status
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


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be deleted."""

    kind: Kind
    name: str
    size_bytes: int
    delete: Callable[[], None]


def found(store: Store | None, results: Path, suite: str | None) -> list[Item]:
    """All that can be deleted: of one `suite`, else of all, and then the caches, too.

    Without a store it is the caches alone. A cell that runs is left alone, and so is a result that
    MLflow is still to hold.

    Raises:
        UserError: there is no such suite.
    """
    items: list[Item] = []
    if store is not None:
        names = store.suites()
        if suite is not None and suite not in names:
            raise unknown("suite", suite, names)
        for name in [suite] if suite else names:
            for run in store.cells(name):
                items += _of_run(store, run, results)
    return items if suite else [*items, *_caches()]


def _of_run(store: Store, run: RecordedCell, results: Path) -> Iterator[Item]:
    state = status(run, results)
    checkpoint = Checkpoint(results, run.tags.get(records.TRAINED, ""))
    if state in _FAILED:
        size = store.size_bytes(run.run_id)
        yield Item("failed", run.name, size, lambda: store.delete(run.run_id))
    elif state == Status.INTERRUPTED:
        ours = checkpoint.run_id == run.run_id
        if ours and (checkpoint.is_held or checkpoint.record is not None):
            return

        def delete() -> None:
            if ours:
                with checkpoint.held():
                    checkpoint.remove()
            store.delete(run.run_id)

        size = store.size_bytes(run.run_id) + (_size(checkpoint.folder) if ours else 0)
        yield Item("interrupted", run.name, size, delete)
    elif run.is_done and run.weights_bytes:
        yield Item("weights", run.name, run.weights_bytes, lambda: store.clear_weights(run.run_id))


def _caches() -> Iterator[Item]:
    root = caches.folder("").absolute()
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        yield Item("caches", folder.name, _size(folder), partial(shutil.rmtree, folder))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


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
            for item in of_kind:
                item.delete()
            count, size = count + len(of_kind), size + room
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
