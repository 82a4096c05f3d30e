"""The figures that were published for data sets of this repository: `results/published.csv`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.errors import UserError
from bench.suite.reference import Reference

FILE = Path(__file__).parent / "published.csv"  # the file in results/, which a package takes along
FIGURES = ("mse", "mse_per_frame", "mae", "psnr", "ssim", "ssim_colour", "lpips", "rmse")
"""Its columns of figures, named as in `conventions.CONVENTIONS`."""

VARIANTS = ("", "/official", "/long", "/study")
"""Of a data set: those whose frames are the published ones. Others pose a task of their own."""

CERTAINTY = {
    "V": "read in the study's own code or output",
    "S": "from a secondary source",
    "B": "believed, not confirmed",
}
"""How sure it is that a study published a figure."""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """The figures of one source for one model, as in the file; "" is unknown.

    Attributes:
        dataset: the name of the data set here, with the variable where it has several.
        model: the name of the model here, with options, "" where there is none.
        published_as: what the source calls it.
        context_frames: frames given.
        horizon: frames predicted.
        budget: how long it was trained.
        samples: how many sequences that are.
        split: what it was tested on, and whether that picked the checkpoint.
        test_data: the data set here that tests on the same clips, and picks by others.
        test_clips: how many these are.
        convention: how the figures were computed, by name.
        figures: as they are printed, by name.
        params_m: parameters of the model, in millions.
        certainty: one of `CERTAINTY`.
        doubt: why a figure of it cannot be right, or its setting not be known; else "".
        source: where it stands.
    """

    dataset: str
    model: str
    published_as: str
    context_frames: str
    horizon: str
    budget: str
    samples: str
    split: str
    test_data: str
    test_clips: str
    convention: str
    figures: dict[str, str]
    params_m: str
    certainty: str
    doubt: str
    source: str

    def is_of(self, dataset: str, context_frames: int | str, horizon: int | str) -> bool:
        """Whether a cell on `dataset`, with these frames, has the task of the row."""
        (ours, variable), (theirs, its_variable) = _posed(dataset), _posed(self.dataset)
        return (
            ours in {theirs + variant for variant in VARIANTS}
            and variable == its_variable
            and (self.context_frames, self.horizon) == (str(context_frames), str(horizon))
        )


@cache
def _posed(dataset: str) -> tuple[str, object]:
    """The name of a data set, and which variable of it is to be predicted; None for the usual."""
    try:
        reference = Reference.parse(dataset)
    except UserError:  # a name that is no reference
        return dataset, None
    return reference.name, reference.options.get("variable")


@cache
def all_rows() -> tuple[PublishedRow, ...]:
    """Every row, in the order of the file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_row(fields) for fields in csv.DictReader(file))


def _row(fields: dict[str, str]) -> PublishedRow:
    figures = {name: fields[name] for name in FIGURES if fields[name]}
    names = (name for name in PublishedRow.__dataclass_fields__ if name != "figures")
    return PublishedRow(figures=figures, **{name: fields[name] for name in names})
