"""The clusters of test sequences: those of one are not independent of each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FEW = 10
"""Clusters below which there is no interval: too few to know how far they differ."""


@dataclass(frozen=True, eq=False, slots=True)
class Clusters:
    """The cluster of each test sequence.

    Attributes:
        of: the number of each sequence's cluster, int64 [sequences].
        name: what one is, in the singular, such as "person".
        unrecorded: whether nothing is known of clusters where there may be some; each sequence
            counts as one then.
    """

    of: npt.NDArray[np.int64]
    name: str = "sequence"
    unrecorded: bool = False

    @classmethod
    def single(cls, sequences: int, *, unrecorded: bool = False) -> Clusters:
        """Of so many sequences each is its own."""
        return cls(np.arange(sequences), unrecorded=unrecorded)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(np.unique(self.of))

    @property
    def said(self) -> str:
        """How many there are in words, such as `420 sequences of only 9 persons`."""
        count, sequences = self.count, len(self.of)
        only, plural = "only " * (count < FEW), "s" * (count != 1)
        unknown = ", clusters not recorded" if self.unrecorded else ""
        within = f"{sequences:,} sequences of " if self.name != "sequence" else ""
        return f"{within}{only}{count:,} {self.name}{plural}{unknown}"
