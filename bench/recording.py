"""What a finished cell leaves in MLflow beside its curves: artifacts and final figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from bench import records
from bench.clock import Clock
from bench.evaluate import Evaluation
from bench.flops import Cost
from bench.tracking import Point


def write_artifacts(result: Evaluation, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Put the per-frame table, the showcase frames and the weights into `folder`."""
    folder.mkdir(exist_ok=True)
    result.frames.to_parquet(folder / records.PER_FRAME_TABLE, index=False)
    np.savez_compressed(folder / records.SHOWCASE, **result.showcase)
    whole = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(whole, folder / records.CHECKPOINT)


def horizon_points(result: Evaluation) -> list[Point]:
    """Each measure per predicted frame: the step of a point is the frame, from 1."""
    return [
        Point.now(f"horizon/{name}", value, frame)
        for name, values in result.horizon().items()
        for frame, value in enumerate(values, 1)
    ]


def quality(result: Evaluation) -> dict[str, float]:
    """The test figures under their metric names."""
    return {f"test/{name}": value for name, value in result.means().items()}


def spent(clock: Clock, cost: Cost) -> dict[str, float]:
    """What training cost, in every unit a budget may have, and what the model costs."""
    metrics: dict[str, float] = {
        records.TRAIN_SECONDS: clock.seconds,
        "train/steps": clock.steps,
        "train/samples": clock.samples,
        "model/parameters": cost.parameters,
    }
    if clock.seconds:
        metrics["speed/train_samples_per_second"] = clock.samples / clock.seconds
    if cost.predict_flops is not None:
        metrics["model/flops_per_sample"] = cost.predict_flops
    if cost.train_flops is not None:
        metrics["train/flops"] = clock.samples * cost.train_flops
    return metrics
