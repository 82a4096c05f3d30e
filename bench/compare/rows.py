"""Facts that differ between two runs, each with both of its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ABSENT = "—"


@dataclass(frozen=True, slots=True)
class Row:
    """One fact that differs."""

    name: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.name} {self.first} then, {self.second} now"


def differing(first: Mapping[str, str], second: Mapping[str, str]) -> list[Row]:
    """The facts that differ, in the order of the first; what one lacks is `ABSENT`."""
    names = [*first, *(name for name in second if name not in first)]
    both = [Row(name, first.get(name, ABSENT), second.get(name, ABSENT)) for name in names]
    return [row for row in both if row.first != row.second]
