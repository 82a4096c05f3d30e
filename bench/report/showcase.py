"""The stored predictions of each model in a section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench import records
from bench.report.artifacts import Artifacts, frames_shown
from bench.report.cells import each
from bench.score.metrics import RECORDED

if TYPE_CHECKING:
    from bench.report.section import Section


@dataclass(frozen=True, slots=True)
class Showcase:
    """A model's predictions of fixed test sequences, all uint8 [S,T,C,H,W]."""

    label: str
    model: str
    sequence: npt.NDArray[np.int64]
    context: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8]
    prediction: npt.NDArray[np.uint8]
    why: tuple[str, ...] = ()
    """Why each sequence was chosen; "" where that was not recorded."""


def showcases(artifacts: Artifacts, section: Section) -> list[Showcase]:
    """The stored predictions of each model's first seed, the lowest test MSE first."""
    if section.task != "prediction":
        return []
    mse = RECORDED["prediction"]["mse"].key
    first = section.done.sort_values("seed").drop_duplicates("label").sort_values(mse)
    found = {}
    for cell in each(first):
        arrays = artifacts.read(cell["run_id"], records.SHOWCASE, frames_shown)
        if arrays is not None and len(arrays["sequence"]):
            why = tuple(map(str, arrays["why"]))
            shown = {name: array for name, array in arrays.items() if name != "why"}
            found[cell["run_id"]] = Showcase(cell["label"], cell["model"], **shown, why=why)
    shapes = {run_id: (s.context.shape[1:], s.truth.shape[1:]) for run_id, s in found.items()}
    odd = artifacts.refuse_odd(records.SHOWCASE, shapes)
    return [showcase for run_id, showcase in found.items() if run_id not in odd]
