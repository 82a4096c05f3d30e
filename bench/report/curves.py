"""Training curves of the cells of a section."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench import records
from bench.records import VALIDATION
from bench.report.cells import at_once, each, is_figure

if TYPE_CHECKING:
    from bench.report.section import Section
    from bench.store.mlflow import Store


class Curves:
    """Reads training curves out of a store, those of a section once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[tuple[str, ...], pd.DataFrame] = {}

    def of(self, section: Section) -> pd.DataFrame:
        """Those of trained cells: label, model, run_id, metric, what was spent, value.

        Spent were train_seconds, steps and samples; the last is NaN where a cell has not counted
        them.
        """
        key = tuple(section.done["run_id"])
        if key not in self._read:
            self._read[key] = _curves(self._store, section)
        return self._read[key]


def _curves(store: Store, section: Section) -> pd.DataFrame:
    metrics = records.TRAIN_LOSS, VALIDATION[section.task].key

    def read(cell: dict[str, Any]) -> list[tuple[Any, ...]]:
        first, *curves = store.curves_of(cell["run_id"], (records.TRAIN_SECONDS, *metrics))
        clock = dict(first)
        batch = cell["train/samples"] / (cell["train/steps"] or np.nan)
        who = (cell["label"], cell["model"], cell["run_id"])
        return [
            (*who, metric, clock[step], step, step * batch, value)
            for metric, curve in zip(metrics, curves, strict=True)
            for step, value in curve
            if is_figure(value) and is_figure(clock.get(step, np.nan))
        ]

    rows = chain.from_iterable(at_once(read, each(section.done[~section.done["baseline"]])))
    columns = ["label", "model", "run_id", "metric", "train_seconds", "steps", "samples", "value"]
    return pd.DataFrame(rows, columns=columns)
