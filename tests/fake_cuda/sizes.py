"""Which steps of the catalogue's models are taken on fake CUDA."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from bench.suite import catalogue
from models.contract import Model
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
    """Steps of each model at its small size, in each precision, in the order of the table's.

    Progress has no value on fake CUDA, so one step stands for every stage of the budget.
    """
    torch.set_num_threads(1)
    return {
        name: [*measure(model, "small", table.PRECISIONS, progress=MID_SAMPLING, **SHORT).values()]
        for name, model in trained().items()
        if not names or name in names
    }


def write() -> None:
    """Count all sizes and write the table."""
    torch.set_num_threads(1)
    rows: dict[tuple[str, str], dict[str, table.Launches]] = {}
    for size, clip in (("small", SHORT), ("published", PUBLISHED)):
        for name, model in trained().items():
            sys.stderr.write(f"{name}, {size}\n")
            steps = measure(model, size, table.PRECISIONS, progress=MID_SAMPLING, **clip)
            rows[name, size] = {precision: step.launches for precision, step in steps.items()}
    table.TABLE.write_text(table.render(CLIPS, rows), encoding="utf-8")
