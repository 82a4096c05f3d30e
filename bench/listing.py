"""The rows of `ls`: models, data sets, suites, and cells, whether run or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench import records
from bench.records import Status
from bench.run.checkpoint import Checkpoint
from bench.score.metrics import LEADING
from bench.store.mlflow import RecordedCell, Store
from bench.suite import catalogue
from bench.suite.cell import settle
from bench.suite.suite import load_suite, suite_names
from bench.train.cost import Cost
from datasets.contract import Spec, TaskName
from models.contract import Model, Paper

RESULTS = {measure.key.replace("/", "_"): measure.key for measure in LEADING.values()}
"""The leading measure of each task: the name of its column, and its metric."""
COLUMNS = {
    "models": ["name", "size", "task", "parameters", "gflops", "year", "title", "paper"],
    "datasets": ["name", "task", "what"],
    "suites": ["name", "task", "models", "datasets", "seeds", "budget"],
    "cells": [
        "suite",
        "cell",
        "status",
        *RESULTS,
        "train_seconds",
        "weights_mib",
        "started",
        "error",
    ],
}
AS_ON: dict[TaskName, Spec] = {
    "prediction": Spec(frame_shape=(1, 64, 64), context_frames=10, horizon=10),
    "recognition": Spec((1, 64, 64), 10, 0, classes=tuple(map(str, range(174)))),
}
"""The clips that costs are listed for: Moving MNIST's, and Something-Something V2's classes."""


def rows(
    what: str, suite: str | None, store: Callable[[], Store], results: Path
) -> list[dict[str, object]]:
    """One row for each of `what`; its columns are `COLUMNS[what]`. Only cells need the `store`."""
    if what == "cells":
        return _cells(suite, store(), results)
    return {"models": _models, "datasets": _datasets, "suites": _suites}[what]()


def _models() -> list[dict[str, object]]:
    """Every model in each of its sizes, as for clips of `AS_ON`."""
    return [
        {"name": name, "size": size, "task": model.task}
        | _cost(model, content.options)
        | _published(model.paper)
        for name, model in sorted(catalogue.all_models().items())
        for size, content in model.sizes.items()
    ]


def _cost(model: type[Model], options: Mapping[str, Any]) -> dict[str, object]:
    """Parameters, and FLOPs where they can be counted."""
    cost = Cost(model, options, AS_ON[model.task])
    flops = {} if cost.predict_flops is None else {"gflops": round(cost.predict_flops / 1e9, 2)}
    return {"parameters": cost.parameters, **flops}


def _published(paper: Paper | None) -> dict[str, object]:
    return {"year": paper.year, "title": paper.title, "paper": paper.url} if paper else {}


def _datasets() -> list[dict[str, object]]:
    """Every data set; none is opened, as that may download it."""
    return [
        {"name": name, "task": cls.task, "what": (cls.__doc__ or "").strip().partition("\n")[0]}
        for name, cls in sorted(catalogue.all_datasets().items())
    ]


def _suites() -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "task": suite.task,
            "models": " ".join(suite.models),
            "datasets": " ".join(suite.datasets),
            "seeds": " ".join(map(str, suite.seeds)),
            "budget": str(suite.budget),
        }
        for name in suite_names()
        for suite in [load_suite(name)]
    ]


def _cells(reference: str | None, store: Store, results: Path) -> list[dict[str, object]]:
    if reference is None:
        names = store.suites()
        return [row for name in names for row in _recorded(name, store.cells(name), results)]
    suite = load_suite(reference)
    recorded = store.cells_and_borrowed(suite.name)
    found = _recorded(suite.name, recorded, results)
    known = {run.tags.get(records.CELL) for run in recorded}
    for cell in settle(suite):
        if cell.scored not in known:
            found.append({"suite": suite.name, "cell": cell.name, "status": "not run"})
    return found


def _recorded(suite: str, runs: list[RecordedCell], results: Path) -> list[dict[str, object]]:
    """The newest run of each cell."""
    newest: dict[str, RecordedCell] = {}
    for run in runs:
        newest.setdefault(run.tags.get(records.CELL, run.run_id), run)
    return [
        {
            "suite": suite,
            "cell": run.name,
            "status": _status(run, results),
            **{name: run.metrics.get(metric) for name, metric in RESULTS.items()},
            "train_seconds": run.metrics.get(records.TRAIN_SECONDS),
            "weights_mib": run.weights_bytes / 2**20 if run.weights_bytes else None,
            "started": run.started.astimezone().strftime("%Y-%m-%d %H:%M"),
            "error": run.tags.get(records.ERROR, ""),
        }
        for run in newest.values()
    ]


def _status(run: RecordedCell, results: Path) -> str:
    """The recorded status; "running" without a live process counts as interrupted."""
    status = run.tags.get(records.STATUS, "")
    checkpoint = Checkpoint(results, run.tags.get(records.TRAINED, ""))
    is_ours = checkpoint.run_id == run.run_id
    if status == Status.RUNNING and is_ours and not checkpoint.is_held:
        return Status.INTERRUPTED
    return status
