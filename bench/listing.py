"""What `ls` lists: models, data sets, suites, and the cells that were run or will be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench import catalogue, records
from bench import suite as suites
from bench.checkpoint import Checkpoint
from bench.flops import Cost
from bench.plan import cells, resolve_suite
from bench.records import Status
from bench.tracking import CellRun, Store
from datasets.contract import Spec
from models.contract import Model, Paper, Predictor, Recogniser

COLUMNS = {
    "models": ["name", "size", "task", "parameters", "gflops", "year", "title", "paper"],
    "datasets": ["name", "what"],
    "suites": ["name", "models", "datasets", "seeds", "budget"],
    "cells": ["suite", "cell", "status", "test_mse", "train_seconds", "started", "error"],
}
AS_MOVING_MNIST = Spec(frame_shape=(1, 64, 64), context_frames=10, horizon=10)
SOMETHING_SOMETHING_CLASSES = 174


def rows(what: str, suite: str | None, uri: str, results: Path) -> list[dict[str, object]]:
    """One row for each of `what`; its columns are `COLUMNS[what]`."""
    if what == "cells":
        return _cells(suite, uri, results)
    return {"models": _models, "datasets": _datasets, "suites": _suites}[what]()


def _models() -> list[dict[str, object]]:
    """Every model in each of its sizes, as for 1x64x64: 10 -> 10 frames, or 174 classes."""
    return [
        {"name": name, "size": size, "task": model.task}
        | _cost(model, content.options)
        | _published(model.paper)
        for name, model in sorted(catalogue.all_models().items())
        for size, content in model.sizes.items()
    ]


def _cost(model: type[Model], options: Mapping[str, Any]) -> dict[str, object]:
    """Parameters, and of a predictor FLOPs."""
    cost: dict[str, object] = {}
    if issubclass(model, Predictor):
        predictor = Cost(model, options, AS_MOVING_MNIST)
        cost["parameters"] = predictor.parameters
        if predictor.predict_flops is not None:
            cost["gflops"] = round(predictor.predict_flops / 1e9, 2)
    elif issubclass(model, Recogniser):
        with torch.device("meta"):
            built = model(AS_MOVING_MNIST.frame_shape, SOMETHING_SOMETHING_CLASSES, **options)
        cost["parameters"] = sum(p.numel() for p in built.parameters())
    return cost


def _published(paper: Paper | None) -> dict[str, object]:
    return {"year": paper.year, "title": paper.title, "paper": paper.url} if paper else {}


def _datasets() -> list[dict[str, object]]:
    """Every data set; none is opened, for that may fetch it."""
    return [
        {"name": name, "what": (cls.__doc__ or "").strip().partition("\n")[0]}
        for name, cls in sorted(catalogue.all_datasets().items())
    ]


def _suites() -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "models": " ".join(suite.models),
            "datasets": " ".join(suite.datasets),
            "seeds": " ".join(map(str, suite.seeds)),
            "budget": str(suite.budget),
        }
        for name in suites.names()
        for suite in [suites.load(name)]
    ]


def _cells(reference: str | None, uri: str, results: Path) -> list[dict[str, object]]:
    store = Store(uri)
    if reference is None:
        names = store.suites()
        return [row for name in names for row in _recorded(name, store.cells(name), results)]
    suite = resolve_suite(suites.load(reference))
    recorded = store.cells(suite.name)
    found = _recorded(suite.name, recorded, results)
    known = {run.tags.get(records.CELL) for run in recorded}
    for cell in cells(suite, reference, ()):
        if cell.key not in known:
            found.append({"suite": suite.name, "cell": cell.name, "status": "not run"})
    return found


def _recorded(suite: str, runs: list[CellRun], results: Path) -> list[dict[str, object]]:
    """The newest run of each cell."""
    newest: dict[str, CellRun] = {}
    for run in runs:
        newest.setdefault(run.tags.get(records.CELL, run.run_id), run)
    return [
        {
            "suite": suite,
            "cell": run.name,
            "status": _status(run, results),
            "test_mse": run.metrics.get("test/mse"),
            "train_seconds": run.metrics.get(records.TRAIN_SECONDS),
            "started": run.started.astimezone().strftime("%Y-%m-%d %H:%M"),
            "error": run.tags.get(records.ERROR, ""),
        }
        for run in newest.values()
    ]


def _status(run: CellRun, results: Path) -> str:
    """The recorded status; a run that says it is running, with no process here, was interrupted."""
    status = run.tags.get(records.STATUS, "")
    checkpoint = Checkpoint(results, run.tags.get(records.CELL, ""))
    is_ours = checkpoint.run_id == run.run_id
    if status == Status.RUNNING and is_ours and not checkpoint.is_held:
        return Status.INTERRUPTED
    return status
