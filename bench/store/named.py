"""Finds the run that a user asks for: by its id, or by the name of its cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import records
from bench.errors import UserError, unknown

if TYPE_CHECKING:
    from bench.store.mlflow import RecordedCell, Store


def newest(store: Store, asked: str) -> RecordedCell:
    """The run of that id or, by its cell's name, the newest: one that finished, if any did.

    A run that was copied here by `bench push` is also found by the id it had before.

    Raises:
        UserError: there is none.
    """
    if not isinstance(asked, str):
        raise UserError(f"a run is named by its id, or its cell's name, not {asked!r:.40}")
    run = store.run(asked) if "/" not in asked else None
    kind = run.tags.get(records.KIND, "cell") if run else "cell"
    if kind != "cell":
        raise UserError(f"{asked} is the run of a {kind}: name one of its cells")
    runs = [run] if run else [run for suite in store.suites() for run in store.cells(suite)]
    found = [run for run in runs if asked in (run.name, run.run_id, run.tags.get(records.COPY_OF))]
    if not found:
        raise unknown("cell", asked, {run.name for run in runs})
    return max(found, key=lambda run: (run.is_done, run.started))


def finished(store: Store, asked: str) -> RecordedCell:
    """As `newest`, where it finished.

    Raises:
        UserError: there is none that did.
    """
    run = newest(store, asked)
    if not run.is_done:
        status = run.tags.get(records.STATUS, "no cell's")
        raise UserError(f"{asked} is not finished: its run is {status}")
    return run
