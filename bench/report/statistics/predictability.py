"""How far ahead models predict better than what needs no training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.report.cells import each
from bench.report.columns import PREDICTABLE
from bench.report.scores import SequenceScores
from bench.report.section import Section


def with_predictability(section: Section, scores: SequenceScores) -> Section:
    """`section` with each predictor's predictability horizon, of the tables that were read."""
    if section.task != "prediction":
        return section
    done = {cell["run_id"] for cell in each(section.done)}
    frames = [
        _predictable(scores.by_frame(run_id)) if run_id in done else np.nan
        for run_id in section.cells["run_id"]
    ]
    return replace(section, cells=section.cells.assign(**{PREDICTABLE.key: frames}))


def _predictable(by_frame: pd.DataFrame | None) -> float:
    """The frames before the first without positive skill, by the mean over clips; NaN unknown."""
    if by_frame is None or "skill" not in by_frame:
        return np.nan
    positive = by_frame.sort_values("frame")["skill"].to_numpy() > 0
    return float(np.logical_and.accumulate(positive).sum())
