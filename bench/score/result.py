"""The result of a test, common to all tasks."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Protocol


class Result(Protocol):
    """The scores of a model on the test clips."""

    @property
    def not_measured(self) -> dict[str, str]:
        """The reason for each metric that could not be computed, by name."""

    @property
    def frames_per_second(self) -> float:
        """Frames predicted, or looked at, per second of synchronised forward time."""

    def means(self) -> dict[str, float]:
        """Each recorded metric that could be computed, by name."""

    def points(self) -> list[tuple[str, float, int]]:
        """Further recorded points: metric, value and step."""

    def write(self, folder: Path) -> None:
        """Write the tables behind the figures into `folder`."""


def common_speed(speeds: list[list[float]]) -> float:
    """The speed of all processes together, from those of the batches of each."""
    return sum(usual_speed(of_process) for of_process in speeds if of_process)


def usual_speed(speeds: list[float]) -> float:
    """Median speed over batches, without the first where there are more."""
    return median(speeds[1:] or speeds)
