"""What every test gives, whatever its task."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Protocol


class Result(Protocol):
    """What a model is worth on the test clips."""

    @property
    def not_measured(self) -> dict[str, str]:
        """The reason for each metric that could not be had, by name."""

    @property
    def frames_per_second(self) -> float:
        """Frames predicted, or looked at, per second of synchronised forward time."""

    def means(self) -> dict[str, float]:
        """Each recorded metric that could be had, by name."""

    def points(self) -> list[tuple[str, float, int]]:
        """What is recorded beside these: metric, value and step."""

    def write(self, folder: Path) -> None:
        """Put what the figures were made of into `folder`."""


def usual_speed(speeds: list[float]) -> float:
    """The median over batches, the first left out where there are more."""
    return median(speeds[1:] or speeds)
