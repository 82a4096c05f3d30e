"""Which steps of the catalogue's models are taken on fake CUDA."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from bench.suite import catalogue
from models.contract import Model
from models.layers.rollout import FrameByFrame
from tests.fake_cuda import table
from tests.fake_cuda.step import Step, measure

SHORT = {"batch": 2, "context": 1, "horizon": 2}
PUBLISHED = {"batch": 2, "context": 10, "horizon": 10}
CLIPS = {"small": "1 frame, 2 to predict", "published": "10 frames, 10 to predict"}
MID_SAMPLING = 0.2
"""Progress at which scheduled sampling mixes true frames and predictions."""


def trained() -> dict[str, type[Model]]:
    """The models of the catalogue that have a small size: all that are trained."""
    models = catalogue.all_models().items()
    return {name: model for name, model in models if "small" in model.sizes}


def checked(names: Sequence[str] = ()) -> dict[str, list[Step]]:
    """Steps of each model at its small size: in each precision, and at every stage of its budget.

    The first two are those that the table has, in the order of its precisions.
    """
    torch.set_num_threads(1)
    steps = {}
    for name, model in trained().items():
        if names and name not in names:
            continue
        steps[name] = [
            measure(model, "small", precision, progress=progress, **SHORT)
            for precision, progress in (("bf16", MID_SAMPLING), ("32", MID_SAMPLING))
        ]
        if issubclass(model, FrameByFrame):  # what others do does not depend on it
            steps[name] += [
                measure(model, "small", "bf16", progress=progress, **SHORT)
                for progress in (0.0, 1.0)
            ]
    return steps


def write() -> None:
    """Count all sizes and write the table."""
    torch.set_num_threads(1)
    rows: dict[tuple[str, str], dict[str, table.Launches]] = {}
    for size, clip in (("small", SHORT), ("published", PUBLISHED)):
        for name, model in trained().items():
            sys.stderr.write(f"{name}, {size}\n")
            rows[name, size] = {
                precision: measure(model, size, precision, progress=MID_SAMPLING, **clip).launches
                for precision in table.PRECISIONS
            }
    table.TABLE.write_text(table.render(CLIPS, rows), encoding="utf-8")
