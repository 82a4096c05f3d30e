"""The model of a finished cell, loaded from MLflow alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from bench import records
from bench.errors import UserError
from bench.escape import one_line
from bench.predict.own_clips import Window
from bench.store.mlflow import RecordedCell, Store
from bench.store.named import finished
from bench.suite import catalogue, fingerprint
from bench.suite.reference import Reference, is_file_reference
from bench.train import hardware
from bench.train.task import task_for
from datasets.contract import Covariate, Spec
from datasets.video.dataset import CachedDataset
from datasets.video.source import FrameFormat


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model with the format of its input.

    Attributes:
        run: the cell's.
        model: in evaluation mode, in float32, on `device`.
        device: where it is.
        spec: of its data set, with the covariates that the model is given.
        notice: what a user should know, such as that the model's code has changed; "" for nothing.
    """

    run: RecordedCell
    model: Any
    device: torch.device
    spec: Spec
    notice: str

    @property
    def window(self) -> Window:
        """The frames of a clip that it is shown."""
        (step,) = _counts(self.run, "frame_step")
        return Window(self.spec.context_frames, step, middle=bool(self.spec.classes))

    @property
    def frame_format(self) -> FrameFormat:
        """What every picture becomes for it.

        Raises:
            UserError: it takes frames that no picture has.
        """
        channels = self.spec.frame_shape[0]
        if channels not in (1, 3):
            raise UserError(
                f"{self.run.name} takes frames of {channels} channels, which no picture has: use"
                " nextframe.load(...).predict from Python"
            )
        reference = _param(self.run, records.DATASET_REFERENCE)
        cls = catalogue.dataset(reference)
        made = FrameFormat(*self.spec.frame_shape)
        if not issubclass(cls, CachedDataset):
            return made
        cached = cls.preparation(**Reference.parse(reference).options).format
        return replace(made, fit=cached.fit, frames_per_second=cached.frames_per_second)


def load(asked: str, uri: str, device: str) -> Trained:
    """The model of the run or cell `asked` for, on `device`.

    Raises:
        UserError: there is no such finished cell, or its model is not what it was.
    """
    store = Store(uri, create=False)
    run = finished(store, asked)
    place = torch.device(hardware.resolve_device(device))
    hardware.set_arithmetic()
    weights = store.artifact(run.run_id, records.CHECKPOINT)
    if weights is None:
        raise UserError(f"the run {run.run_id} ({run.name}) has no weights")
    stored, classes = _stored(run, weights)
    spec = _spec(run, classes)
    model = _build(run, spec)
    try:
        model.load_state_dict(stored)
    except RuntimeError as error:
        raise UserError(_changed(run, "its parameters")) from error
    return Trained(run, model.to(place).eval(), place, spec, _notice(run))


def _notice(run: RecordedCell) -> str:
    """A line where the code of the model is not that which was trained."""
    cls = catalogue.model(_param(run, records.MODEL_REFERENCE))
    then = run.tags.get(records.MODEL_CODE)
    if then in (None, fingerprint.code_digest(cls)):
        return ""
    return f"{_changed(run, 'its code')}, or its predictions may be others"


def _stored(run: RecordedCell, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The stored weights of `run`, and the names of its classes.

    Raises:
        UserError: the file is damaged, or holds no numbers.
    """
    damaged = f"the weights of the run {run.run_id} ({run.name}) are damaged"
    try:
        with safe_open(path, "pt") as file:
            named = json.loads((file.metadata() or {}).get(records.CLASSES, "[]"))
        weights = load_file(path)
    except (SafetensorError, OSError, ValueError, RecursionError, MemoryError) as error:
        why = one_line(str(error), 200) or type(error).__name__
        raise UserError(f"{damaged}: {why}; run the cell again") from error
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise UserError(f"{damaged}: its classes are no list of names; run the cell again")
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"{damaged}: {name} holds what is no number; run the cell again")
    return weights, tuple(named)


def _build(run: RecordedCell, spec: Spec) -> Any:
    """The model of `run`, without its weights.

    Raises:
        UserError: it is not what it was.
    """
    reference = _param(run, records.MODEL_REFERENCE)
    cls = catalogue.model(reference)
    _, size = catalogue.size_of(cls, _param(run, "size"))
    options = {**size.options, **catalogue.model_options(reference)}
    for name, value in options.items():
        then = run.params.get(f"model.{name}")
        if then != str(value):
            raise UserError(_changed(run, f"{name} (then {then}, now {value})"))
    if (cls.task == "recognition") != bool(spec.classes):
        raise UserError(_changed(run, f"its task, now {cls.task}"))
    if spec.covariates and not getattr(cls, "takes_covariates", False):
        raise UserError(_changed(run, "it takes no covariates now"))
    try:
        return task_for(cls, spec).build(cls, options)
    except UserError:
        raise
    except Exception as error:  # a model is anybody's code
        why = one_line(f"{type(error).__name__}: {error}", 200)
        raise UserError(_changed(run, f"it cannot be built ({why})")) from error


def _param(run: RecordedCell, name: str) -> str:
    """A recorded parameter.

    Raises:
        UserError: the run was recorded by a version that did not say so, or by hand.
    """
    if name not in run.params:
        raise UserError(f"{run.name} was recorded by an older version: run the cell again")
    return run.params[name]


def _counts(run: RecordedCell, name: str, sides: int = 1) -> tuple[int, ...]:
    """A recorded parameter of whole numbers, such as `3x64x64`.

    Raises:
        UserError: it is none.
    """
    parts = _param(run, name).split("x")
    if len(parts) != sides or not all(part.isdecimal() and len(part) < 7 for part in parts):
        raise UserError(f"{run.name} was recorded with {name} {_param(run, name)!r}: no numbers")
    return tuple(map(int, parts))


def _changed(run: RecordedCell, what: str) -> str:
    commit = run.tags.get(records.COMMIT, "")
    if is_file_reference(run.params.get(records.MODEL_REFERENCE, "")):
        commit = ""  # which is the harness's, and never held a user's file
    name = run.params.get("model", run.name)
    return (
        f"{name} has changed since it was trained in run {run.run_id}: {what};"
        f" predict with the code of then{f', commit {commit[:12]}' if commit else ''}"
    )


def _spec(run: RecordedCell, classes: tuple[str, ...]) -> Spec:
    """The recorded spec of the data set, of these classes."""
    channels, height, width = _counts(run, "frame_shape", 3)
    if run.params.get("task") == "recognition" and not classes:
        raise UserError(f"{run.name} was recorded without its classes' names: run the cell again")
    (context_frames,), (horizon,) = _counts(run, "context_frames"), _counts(run, "horizon")
    shape = channels, height, width
    try:
        names = json.loads(run.params.get(records.COVARIATES, "[]"))
        if isinstance(names, int):
            names = range(names)
        covariates = tuple(Covariate(str(name)) for name in names)
        return Spec(shape, context_frames, horizon, classes, covariates=covariates)
    except (ValueError, TypeError) as error:
        raise UserError(f"{run.name} was recorded with odd settings: {error}") from error
