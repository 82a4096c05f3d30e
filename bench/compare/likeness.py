"""How alike the results of two runs of one cell are: weights, scores, figures and curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench import records
from bench.compare.recorded import Recorded
from bench.records import VALIDATION
from bench.score.metrics import PREDICTION
from bench.units import counted, figure

TOLERANCE = 0.01
"""The largest relative difference of a test figure that counts as the same result.

Other threads, another GPU or library add in another order. Training makes more of that the longer
it goes on, up to what another seed would do, so that only the figures can be asked to agree: to one
per cent, which is less than the intervals that verdicts rest on.
"""
GAINS = {m.key for m in PREDICTION if m.ratio and m.ratio.is_gain}
Verdict = Literal["bit-identical", "within tolerance", "differs"]


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of result, compared.

    Attributes:
        name: such as "weights".
        extent: what was compared; "" where there was nothing to compare.
        first: the first place where the two differ; "" where they are equal to the bit.
    """

    name: str
    extent: str
    first: str = ""

    @property
    def said(self) -> str:
        """The outcome in a line."""
        if not self.extent:
            return "not compared: not both have it"
        return f"{self.extent}: {self.first or 'equal to the bit'}"


@dataclass(frozen=True, slots=True)
class Likeness:
    """The parts, and of the test figures the largest relative difference."""

    parts: tuple[Part, ...]
    apart: float

    @property
    def verdict(self) -> Verdict:
        """The one word; parts that could not be compared have no say in it.

        Other weights that score the same to the bit are not those that were scored.
        """
        if not any(part.extent for part in self.parts):
            return "differs"  # nothing was shown to be the same
        if not any(part.first for part in self.parts):
            return "bit-identical"
        weights, scores = self.parts[:2]
        were_scored = not (weights.first and scores.extent and not scores.first)
        return "within tolerance" if self.apart <= TOLERANCE and were_scored else "differs"


def likeness(then: Recorded, now: Recorded) -> Likeness:
    """How alike a finished run and its repetition are."""
    figures, apart = _figures(then, now)
    return Likeness((_weights(then, now), _scores(then, now), figures, curves(then, now)), apart)


def curves(then: Recorded, now: Recorded, until: int | None = None) -> Part:
    """The curves of training loss and validation, to the step `until` where one is given.

    A point of the loss is the mean since the point before, so that only those of equal stretches
    are compared; curves of budgets in seconds and in steps have few in common.
    """
    wanted = (records.TRAIN_LOSS, *(measure.key for measure in VALIDATION.values()))
    extents, differing = [], []
    for key in wanted:
        both = [_stretches(each.curve(key), key) for each in (then, now)]
        common = [at for at in both[0] if at in both[1] and (until is None or at[1] <= until)]
        if common:
            extents.append(f"{key} at {counted(len(common), 'point')}")
        other = next((at for at in common if not same(both[0][at], both[1][at])), None)
        if other:
            values = f"{both[0][other]:.9g} then, {both[1][other]:.9g} now"
            differing.append(f"{key} differs from step {other[1]} on, {values}")
    return Part("curves", ", ".join(extents), "; ".join(differing))


def _stretches(curve: Sequence[tuple[int, float]], key: str) -> dict[tuple[int, int], float]:
    """The value of each stretch of steps, (after, up to); a validation is of its step alone."""
    begins = [0, *(step for step, _ in curve)] if key == records.TRAIN_LOSS else [0] * len(curve)
    return {(begin, step): value for begin, (step, value) in zip(begins, curve, strict=False)}


def _weights(then: Recorded, now: Recorded) -> Part:
    first, second = then.weights, now.weights
    if first is None or second is None:
        return Part("weights", "")
    extent = counted(len(first), "tensor")
    for name in sorted(first.keys() | second.keys()):
        a, b = first.get(name), second.get(name)
        if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
            return Part("weights", extent, f"{name} is not the same tensor")
        if not torch.equal(_bytes(a), _bytes(b)):
            by = float((a.double() - b.double()).abs().max())
            return Part("weights", extent, f"first {name}, by up to {by:.3g}")
    return Part("weights", extent)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)


def _scores(then: Recorded, now: Recorded) -> Part:
    first, second = then.scores, now.scores
    if first is None or second is None:
        return Part("scores", "")
    columns = [str(name) for name in first.columns if name in second.columns]
    extent = f"{counted(len(first), 'row')} of {', '.join(columns)}"
    if not first.index.equals(second.index):
        return Part("scores", extent, "they are of other test sequences")
    other = ~np.column_stack([_equal(first[name], second[name]) for name in columns])
    if not other.any():
        return Part("scores", extent)
    row = int(other.any(axis=1).argmax())
    column = columns[int(other[row].argmax())]
    where = first.index.to_frame(index=False).iloc[row].to_dict()
    place = ", ".join(f"{name!s} {number}" for name, number in where.items())
    values = f"{first[column].iloc[row]} then, {second[column].iloc[row]} now"
    words = f"{other.any(axis=1).sum()} rows differ, first {column} of {place}, {values}"
    return Part("scores", extent, words)


def _equal(first: pd.Series[Any], second: pd.Series[Any]) -> Any:
    return ((first == second) | (first.isna() & second.isna())).to_numpy()


def _figures(then: Recorded, now: Recorded) -> tuple[Part, float]:
    """The test figures, and their largest relative difference."""
    a, b = _means(then), _means(now)
    names = [name for name in a if name.startswith("test/") or name in b]
    lost = [name for name in names if name not in b]
    apart = {name: _apart(name, a[name], b[name]) for name in names if name in b}
    if lost:
        return Part(
            "figures", counted(len(names), "mean"), f"{lost[0]} was measured then, not now"
        ), math.inf
    if not apart:
        return Part("figures", ""), math.inf
    most = max(apart, key=apart.__getitem__)
    if not apart[most]:
        return Part("figures", counted(len(apart), "mean")), 0.0
    values = f"{figure(a[most])} then, {figure(b[most])} now"
    words = f"{most} is furthest apart, {apart[most]:.2g} of it, {values}"
    return Part("figures", counted(len(apart), "mean"), words), apart[most]


def _means(recorded: Recorded) -> dict[str, float]:
    """The test figures, and the means of the scores that are stored by sequence."""
    table = recorded.scores
    means = {} if table is None else table.select_dtypes("number").mean(skipna=False).to_dict()
    figures = {key: v for key, v in recorded.run.metrics.items() if key.startswith("test/")}
    return figures | {f"mean {name}": float(value) for name, value in means.items()}


def _apart(name: str, first: float, second: float) -> float:
    """The difference relative to the larger; 0 of equal ones, NaN among them.

    Of gains, which are near 0 where a model is no better than what it is compared with, it is the
    difference itself.
    """
    if same(first, second):
        return 0.0
    apart = abs(first - second) / (1.0 if name in GAINS else max(abs(first), abs(second)))
    return apart if math.isfinite(apart) else math.inf


def same(first: float | None, second: float | None) -> bool:
    """Whether two figures are equal, both NaN, or both unknown."""
    if first is None or second is None:
        return first is second
    return first == second or (math.isnan(first) and math.isnan(second))
