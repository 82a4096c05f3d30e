"""The verb `push`: what one store has of a suite, copied into another."""

from __future__ import annotations

from collections.abc import Callable

from bench import records
from bench.store.mlflow import PARENT, Store


def push(store: Store, suite: str, to: Store, announce: Callable[[str], None]) -> tuple[int, int]:
    """How many runs of `suite` were copied from `store` into the store `to`, and were there.

    Runs that ended are copied with all that is recorded of them: parameters, curves, tags, weights.
    They are found there by the ids they have here. Pushing again copies what is new, and whole
    what an interruption left half. `run` with that store goes on from there.

    Raises:
        UserError: there is no such suite.
    """
    store.require_suite(suite)
    copied, there, ids = 0, 0, dict[str, str]()
    for run in store.closed(suite):
        origin = run.tags.get(records.COPY_OF, run.run_id)
        known = to.copied(suite, origin)
        if known is None:
            parent = ids.get(run.tags.get(PARENT, ""), "")
            announce(f"{run.name}: {run.run_id}")
            known = store.copy(suite, run.run_id, to, parent)
            copied += 1
        else:
            there += 1
        ids[run.run_id] = known
    return copied, there
