"""How many parameters published models have, and why ours have others: `parameters.csv`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("parameters.csv")


@dataclass(frozen=True, slots=True)
class PublishedCount:
    """What one published model counts, as in the file.

    Attributes:
        model: the reference that builds it here from the published size.
        frames: the shape of the frames it is for, such as "1x64x64".
        parameters: how many it has.
        differs: how many more ours has for the same frames; below 0 how many fewer.
        why: what they are; "" where ours has as many.
        source: whose code, and how it was counted.
    """

    model: str
    frames: str
    parameters: int
    differs: int
    why: str
    source: str

    @property
    def sentence(self) -> str:
        """The count, and how ours differs, in one line."""
        said = f"published: {self.parameters:,} parameters for frames of {self.frames}"
        if not self.differs:
            return f"{said}, and as many here ({self.source})"
        more = "more" if self.differs > 0 else "fewer"
        return f"{said}, {abs(self.differs):,} {more} here: {self.why} ({self.source})"


@cache
def all_counts() -> tuple[PublishedCount, ...]:
    """Every row, in the order of the file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            PublishedCount(
                model=row["model"],
                frames=row["frames"],
                parameters=int(row["parameters"]),
                differs=int(row["differs"] or 0),
                why=row["why"],
                source=row["source"],
            )
            for row in csv.DictReader(file)
        )


def of(name: str) -> PublishedCount | None:
    """The count of the published size of the model called `name`: the first row of that name."""
    return next((it for it in all_counts() if it.model.partition("(")[0] == name), None)
