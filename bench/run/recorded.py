"""What a store holds of a suite's cells already."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from bench import records

if TYPE_CHECKING:
    from bench.store.mlflow import RecordedCell, Store
    from bench.suite.cell import Cell


class Recorded:
    """The runs of a suite, and the finished ones of a store by digest, this suite's first.

    Other suites are read only once a cell is not found in this one.
    """

    def __init__(self, store: Store | None, suite: str) -> None:
        self._store, self._suite = store, suite
        self.ours = store.cells(suite) if store else []

    def scored(self, cell: Cell) -> RecordedCell | None:
        """The newest run with the figures of `cell`."""
        return self._with(records.CELL, cell.scored)

    def trained(self, cell: Cell) -> RecordedCell | None:
        """The newest run that still holds the weights of `cell`."""
        run = self._with(records.TRAINED, cell.trained)
        has_them = run and self._store and self._store.holds(run.run_id, records.CHECKPOINT)
        return run if has_them else None

    def _with(self, tag: str, digest: str) -> RecordedCell | None:
        """The newest run of that digest, for a thousand cells found without a search of each."""
        return self._ours_by_digest.get((tag, digest)) or self._others_by_digest.get((tag, digest))

    @cached_property
    def _ours_by_digest(self) -> dict[tuple[str, str], RecordedCell]:
        return _by_digest(run for run in self.ours if run.is_done)

    @cached_property
    def _others_by_digest(self) -> dict[tuple[str, str], RecordedCell]:
        return _by_digest(self._elsewhere)

    def newest(self, wanted: Callable[[RecordedCell], bool]) -> RecordedCell | None:
        """The newest finished run that is `wanted`, of this suite where there is one."""
        done = (run for run in self.ours if run.is_done)
        found = next(filter(wanted, done), None)
        return found or next(filter(wanted, self._elsewhere), None)

    @cached_property
    def _elsewhere(self) -> list[RecordedCell]:
        return self._store.done_elsewhere(self._suite) if self._store else []

    def seconds(self, cell: Cell) -> float | None:
        """Duration of an earlier cell with the same settings."""
        settings = ("model", "size", "dataset", "budget", "device")
        wanted = {key: str(cell.params[key]) for key in settings}
        for run in self.ours:
            same = all(run.params.get(key) == value for key, value in wanted.items())
            if same and "time/wall_seconds" in run.metrics:
                return run.metrics["time/wall_seconds"]
        return None


def _by_digest(runs: Iterable[RecordedCell]) -> dict[tuple[str, str], RecordedCell]:
    """The first of `runs` with each digest of figures, and with each of weights that it has."""
    found: dict[tuple[str, str], RecordedCell] = {}
    for run in runs:
        for tag in (records.CELL, records.TRAINED):
            has_it = tag == records.CELL or run.tags.get(records.WEIGHTS_BYTES, "0") != "0"
            if has_it and tag in run.tags:
                found.setdefault((tag, run.tags[tag]), run)
    return found
