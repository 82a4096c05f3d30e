"""The artifacts and final metrics of a finished cell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from bench import records
from bench.score.result import Result
from bench.train.budget import Clock
from bench.train.cost import Cost


def write(
    result: Result, weights: Mapping[str, Tensor], classes: Sequence[str], folder: Path
) -> None:
    """Write the files of the result and the weights into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    result.write(folder)
    # Each by itself: the format has no tensor that is two names', as tied weights are.
    whole = {
        n: tensor.clone(memory_format=torch.contiguous_format) for n, tensor in weights.items()
    }
    metadata = {records.CLASSES: json.dumps(classes)} if classes else None
    save_file(whole, folder / records.CHECKPOINT, metadata)


def quality(result: Result) -> dict[str, float]:
    """The test figures under their metric names."""
    return {f"test/{name}": value for name, value in result.means().items()}


def spent(clock: Clock, cost: Cost) -> dict[str, float]:
    """The cost of training, in every unit of a budget, its conditions, and the model's cost."""
    metrics: dict[str, float] = {
        records.TRAIN_SECONDS: clock.seconds,
        "time/waiting_seconds": clock.waiting_seconds,
        records.TRAIN_STEPS: clock.steps,
        "train/samples": clock.samples,
        "model/parameters": cost.parameters,
    }
    if clock.seconds:
        metrics["speed/train_samples_per_second"] = clock.samples / clock.seconds
    if clock.steps:  # a model without parameters takes none
        metrics |= clock.conditions.metrics() | {records.OVERSPEND: clock.overspend}
    if cost.predict_flops is not None:
        metrics["model/flops_per_sample"] = cost.predict_flops
    if cost.train_flops is not None:
        metrics["train/flops"] = clock.samples * cost.train_flops
    return metrics
