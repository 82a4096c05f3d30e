"""The curves of a running cell: every point, from its start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench import records
from bench.records import Point
from bench.train.budget import Clock

LOSS_POINTS = 200  # evenly spaced over the budget


class Curves:
    """Collects points by training step; its state is part of the checkpoint."""

    def __init__(self, clock: Clock, validation: str) -> None:
        """Start empty; `clock` gives the step and the seconds of each point.

        `validation` is the metric key of what validation measures: the lower, the better.
        """
        self._clock, self._validation = clock, validation
        self._sums: dict[str, tuple[float, int]] = {}
        self.points: list[Point] = []
        self.last_loss = math.nan
        self.last_validation = math.nan
        self.best_validation = math.inf

    @property
    def next_mark(self) -> float:
        """The fraction of the budget at which the loss curve has its next point."""
        return (math.floor(self._clock.progress * LOSS_POINTS + 1e-9) + 1) / LOSS_POINTS

    def add_losses(
        self, losses: Sequence[float], logged: Mapping[str, Sequence[float]], due: bool
    ) -> None:
        """Add new losses; where a point is due, it is the mean of those since the last one.

        The same holds for the values the model `logged`, recorded as `train/<name>`.
        """
        self.last_loss = losses[-1]
        for key, values in {
            records.TRAIN_LOSS: losses,
            **{f"train/{name}": found for name, found in logged.items()},
        }.items():
            total, count = self._sums.get(key, (0.0, 0))
            self._sums[key] = total + sum(values), count + len(values)
        if due:
            for key, (total, count) in self._sums.items():
                self._add(key, total / count)
            self._sums = {}

    def add_validation(self, value: float) -> bool:
        """Add a validation's result; whether it is the best so far."""
        is_best = value < self.best_validation
        self.last_validation = value
        if is_best:
            self.best_validation = value
        self._add(self._validation, value)
        return is_best

    def validation(self) -> dict[str, float]:
        """The last and the best result, under their metric names."""
        folder, _, name = self._validation.partition("/")
        return {
            self._validation: self.last_validation,
            f"{folder}/best_{name}": self.best_validation,
        }

    def _add(self, key: str, value: float) -> None:
        step, timed = self._clock.steps, records.TRAIN_SECONDS
        self.points.append(Point.now(key, value, step))
        if next((p.step for p in reversed(self.points) if p.key == timed), None) != step:
            self.points.append(Point.now(timed, self._clock.seconds, step))

    def state(self) -> dict[str, Any]:
        """The state for `restore`."""
        return {
            "sums": self._sums,
            "last_loss": self.last_loss,
            "validation": [self.last_validation, self.best_validation],
            "points": [(p.key, p.value, p.step, p.timestamp_ms) for p in self.points],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`."""
        self._sums, self.last_loss = dict(state["sums"]), state["last_loss"]
        self.last_validation, self.best_validation = state["validation"]
        self.points = [Point(*point) for point in state["points"]]
