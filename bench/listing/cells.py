"""The rows of `ls cells`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench import records
from bench.records import Status
from bench.run.checkpoint import Checkpoint
from bench.score.metrics import LEADING
from bench.suite.epochs import Epochs
from bench.suite.suite import load_suite, suite_names

if TYPE_CHECKING:
    from bench.store.mlflow import RecordedCell, Store

VALIDATION = {key.replace("/", "_"): key for key in records.BEST_VALIDATION.values()}
TEST = {measure.key.replace("/", "_"): measure.key for measure in LEADING.values()}
"""The leading measures of each task: the name of the column, and the metric. What is chosen by hand
is chosen by the first: it stands before the test's."""
COLUMNS = [
    "suite",
    "cell",
    "status",
    *VALIDATION,
    *TEST,
    "error",
    "budget",
    "train_seconds",
    "weights_mib",
    "started",
]


def rows(suite: str | None, store: Store, results: Path) -> list[dict[str, object]]:
    """One row for each cell of `suite`, whether run or not; of every suite those that were run.

    What was run from a suite's file is found by the suite's name, too, without what was not run.

    Raises:
        UserError: there is no such suite, neither here nor in the store.
    """
    known = store.suites()
    if suite is None or (suite in known and suite not in suite_names()):
        names = known if suite is None else [suite]
        return [row for name in names for row in _recorded(name, store.cells(name), results)]
    from bench.suite.settle import settle  # and with it torch

    asked = load_suite(suite).with_reference()
    recorded = store.cells_and_borrowed(asked.name)
    run_here = {run.tags.get(records.CELL) for run in recorded}
    missing: list[dict[str, object]] = [
        {"suite": asked.name, "cell": cell.name, "status": "not run"}
        for cell in settle(asked)
        if cell.scored not in run_here
    ]
    return [*_recorded(asked.name, recorded, results), *missing]


def _recorded(suite: str, runs: list[RecordedCell], results: Path) -> list[dict[str, object]]:
    """The newest run of each cell."""
    newest: dict[str, RecordedCell] = {}
    for run in runs:
        newest.setdefault(run.tags.get(records.CELL, run.run_id), run)
    return [
        {
            "suite": suite,
            "cell": run.name,
            "status": status(run, results),
            **{name: run.metrics.get(metric) for name, metric in (VALIDATION | TEST).items()},
            "budget": _budget(run),
            "train_seconds": run.metrics.get(records.TRAIN_SECONDS),
            "weights_mib": run.weights_bytes / 2**20 if run.weights_bytes else None,
            "started": run.started.astimezone().strftime("%Y-%m-%d %H:%M"),
            "error": run.tags.get(records.ERROR, ""),
        }
        for run in newest.values()
    ]


def _budget(run: RecordedCell) -> str | None:
    """The budget, with the epochs that it was written as."""
    budget, written = run.params.get("budget"), run.params.get(records.EPOCHS)
    told = str(Epochs(float(written))) if written else budget
    return budget if told == budget else f"{budget} ({told})"


def status(run: RecordedCell, results: Path) -> str:
    """The recorded status; "running" without a live process counts as interrupted."""
    recorded = run.tags.get(records.STATUS, "")
    checkpoint = Checkpoint(results, run.tags.get(records.TRAINED, ""))
    is_ours = checkpoint.run_id == run.run_id
    if recorded == Status.RUNNING and is_ours and not checkpoint.is_held:
        return Status.INTERRUPTED
    return recorded
