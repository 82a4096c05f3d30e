"""A budget written in epochs: so many passes over the training clips of a data set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.train.budget import Budget

if TYPE_CHECKING:
    from datasets.contract import Dataset

MOST = 1e9
_WRITTEN = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*epochs?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Epochs:
    """So many epochs, which are a budget in samples once it is known what is trained on.

    Raises:
        ValueError: the amount is not above zero, or more than anyone has.
    """

    amount: float

    def __post_init__(self) -> None:
        if not 0 < self.amount <= MOST:
            raise ValueError(f"epochs are above 0 and at most {MOST:g}, not {self.amount:g}")

    @property
    def exactly(self) -> str:
        """The text that `parse` reads as these, all digits kept."""
        return f"{self.amount!r}epochs"

    def __str__(self) -> str:
        return f"{self.amount:.12g} epoch{'s' * (self.amount != 1)}"

    def of(self, reference: str, data: Dataset) -> Budget:
        """The samples that they are of the data set that `reference` names.

        Raises:
            UserError: it draws clips without end, or they are more than a budget may have.
        """
        clips = data.epoch_clips
        if clips is not None and (type(clips) is not int or clips < 1):
            raise UserError(
                f"{reference} says that an epoch has {repr(clips)[:40]} clips: epoch_clips is a"
                " whole number from 1 on, or None"
            )
        if clips is None:
            raise UserError(
                f"{reference} draws training clips without end, so it has no epochs: give the"
                " budget in samples, or in steps, seconds or flops"
            )
        try:
            return Budget("samples", float(max(1, round(self.amount * clips))))
        except ValueError as error:
            raise UserError(f"{self} of {clips:,} clips of {reference}: {error}") from error


def parse(text: str) -> Budget | Epochs:
    """The budget written as `20epochs`, or as `Budget.parse` reads it.

    Raises:
        UserError: it is written otherwise, or the amount is out of its range.
    """
    match = _WRITTEN.fullmatch(text.lower())
    if match is None:
        return Budget.parse(text)
    try:
        return Epochs(float(match[1]))
    except ValueError as error:
        why = "is none" if "convert" in str(error) else f"cannot be: {error}"
        raise UserError(f"budget {text[:40]!r} {why}; write it as 20epochs") from error
