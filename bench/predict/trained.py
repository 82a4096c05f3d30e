"""The model of a finished cell, loaded from MLflow alone."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from bench import records
from bench.errors import UserError, unknown
from bench.predict.own_clips import Window
from bench.records import Status
from bench.store.mlflow import RecordedCell, Store
from bench.suite import catalogue
from bench.suite.reference import Reference
from bench.train import hardware
from bench.train.task import task_of
from datasets.contract import Spec
from datasets.video.dataset import CachedDataset
from datasets.video.source import FrameFormat


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model with the format of its input.

    Attributes:
        run: the cell's.
        model: in evaluation mode, in float32, on `device`.
        device: where it is.
        spec: of its data set.
        frame_format: what every frame becomes for it.
        window: the frames of a clip that it is shown.
    """

    run: RecordedCell
    model: Any
    device: torch.device
    spec: Spec
    frame_format: FrameFormat
    window: Window


def load(asked: str, uri: str, device: str) -> Trained:
    """The model of the run or cell `asked` for, on `device`.

    Raises:
        UserError: there is no such finished cell, or its model is not what it was.
    """
    store = Store(uri, create=False)
    run = _find(store, asked)
    place = torch.device(hardware.resolve_device(device))
    hardware.set_arithmetic()
    weights = store.artifact(run.run_id, records.CHECKPOINT)
    if weights is None:
        raise UserError(f"the run {run.run_id} ({run.name}) has no weights")
    spec = _spec(run, weights)
    model = _build(run, spec)
    try:
        model.load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise UserError(_changed(run, "its parameters")) from error
    return Trained(run, model.to(place).eval(), place, spec, *_reading(run, spec))


def _find(store: Store, asked: str) -> RecordedCell:
    """The finished run that is `asked` for by its id or, the newest, by its cell's name."""
    run = store.run(asked) if "/" not in asked else None
    runs = [run] if run else [run for suite in store.suites() for run in store.cells(suite)]
    found = [run for run in runs if asked in (run.name, run.run_id)]
    if not found:
        raise unknown("cell", asked, {run.name for run in runs})
    done = [run for run in found if run.tags.get(records.STATUS) == Status.DONE]
    if not done:
        status = found[0].tags.get(records.STATUS, "no cell's")
        raise UserError(f"{asked} has no model: its run is {status}")
    return max(done, key=lambda run: run.started)


def _build(run: RecordedCell, spec: Spec) -> Any:
    reference = _reference(run, records.MODEL_REFERENCE)
    cls = catalogue.model(reference)
    _, size = catalogue.size_of(cls, run.params["size"])
    options = {**size.options, **Reference.parse(reference).options}
    for name, value in options.items():
        then = run.params.get(f"model.{name}")
        if then != str(value):
            raise UserError(_changed(run, f"{name} (then {then}, now {value})"))
    return task_of(cls.task, spec).build(cls, options)


def _reference(run: RecordedCell, param: str) -> str:
    """The reference of the run's model or data set.

    Raises:
        UserError: the run was recorded by a version that did not say so.
    """
    if param not in run.params:
        raise UserError(f"{run.name} was recorded by an older version: run the cell again")
    return run.params[param]


def _changed(run: RecordedCell, what: str) -> str:
    commit = run.tags.get(records.COMMIT, "")
    return (
        f"{run.params['model']} has changed since it was trained in run {run.run_id}: {what};"
        f" predict with the code of then{f', commit {commit[:12]}' if commit else ''}"
    )


def _spec(run: RecordedCell, weights: Path) -> Spec:
    """The recorded spec of the data set; the names of its classes are stored with the weights."""
    channels, height, width = map(int, run.params["frame_shape"].split("x"))
    if channels not in (1, 3):
        raise UserError(f"{run.name} takes frames of {channels} channels: no picture has them")
    with safe_open(weights, "pt") as file:
        classes = tuple(json.loads((file.metadata() or {}).get(records.CLASSES, "[]")))
    if run.params.get("task") == "recognition" and not classes:
        raise UserError(f"{run.name} was recorded without its classes' names: run the cell again")
    frames = int(run.params["context_frames"]), int(run.params["horizon"])
    return Spec((channels, height, width), *frames, classes)


def _reading(run: RecordedCell, spec: Spec) -> tuple[FrameFormat, Window]:
    """The frame format and the window of the run's data set."""
    reference = _reference(run, records.DATASET_REFERENCE)
    cls = catalogue.dataset(reference)
    options = Reference.parse(reference).options
    default = inspect.signature(cls).parameters.get("frame_step")
    step = options.get("frame_step", default.default if default else 1)
    fit = cls.preparation(**options).format.fit if issubclass(cls, CachedDataset) else "stretch"
    window = Window(spec.context_frames, step, middle=bool(spec.classes))
    return FrameFormat(*spec.frame_shape, fit), window
