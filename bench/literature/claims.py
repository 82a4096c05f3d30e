"""Claims of published studies, and the cells that test them: `claims.toml`, read and checked."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from bench.literature.published import PublishedRow, all_rows
from bench.score.metrics import RECORDED
from bench.train.budget import BudgetKind

FILE = Path(__file__).parent / "claims.toml"
BASELINE = "best baseline"
"""In the place of a model: of those that are not trained the best one on the data set."""


def _metric(name: str) -> str:
    if not any(name in metrics for metrics in RECORDED.values()):
        raise ValueError(f"there is no metric {name!r}")
    return name


def _error(name: str) -> str:
    if name not in RECORDED["prediction"] or RECORDED["prediction"][name].perfect != 0:
        raise ValueError(f"{name} is no error metric of predictions: it has no ratio")
    return name


MetricName = Annotated[str, AfterValidator(_metric)]
ErrorName = Annotated[str, AfterValidator(_error)]
"""A metric that is 0 for a perfect prediction and else positive, so that ratios have a meaning."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Published(_Strict):
    """A row of `published.csv`, by the fields that identify it."""

    dataset: str
    published_as: str
    context_frames: int
    horizon: int
    convention: str

    @property
    def row(self) -> PublishedRow:
        """The row.

        Raises:
            LookupError: where not exactly one row has these fields.
        """
        wanted = {name: str(value) for name, value in self.model_dump().items()}
        found = [
            row
            for row in all_rows()
            if all(getattr(row, name) == value for name, value in wanted.items())
        ]
        if len(found) != 1:
            raise LookupError(f"{len(found)} rows of published.csv have {wanted}")
        return found[0]


class _OnOneDataset(_Strict):
    suite: str
    """One that runs these cells."""
    first: str
    second: str
    """A model, or of `Beats` also `BASELINE`."""
    dataset: str
    margin: float = Field(default=0, ge=0, lt=100)
    """In per cent: of the second's figure, of the ratio of the two, or of what the second needs.

    In points where that has no meaning."""

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """The models and the data set it needs."""
        return ((self.first, self.dataset), (self.second, self.dataset))


class Beats(_OnOneDataset):
    """As claimed where `first` is better than `second` on `dataset` by more than `margin`."""

    kind: Literal["beats"]
    measure: MetricName

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """The models and the data set it needs; any baseline will do."""
        return tuple(cell for cell in super().cells if cell[0] != BASELINE)


class Gains(_Strict):
    """As claimed where `first` does better against `second` on `after` than on `before`."""

    kind: Literal["gains"]
    suite: str
    measure: ErrorName
    first: str
    second: str
    before: str
    after: str
    margin: float = Field(default=0, ge=0, lt=100)
    """In per cent by which the ratio of the two falls."""

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """The models and data sets it needs."""
        both = (self.first, self.second)
        return tuple((model, dataset) for dataset in (self.before, self.after) for model in both)


class Longer(_OnOneDataset):
    """As claimed where `first` does better against `second` the more both are trained.

    The budget is compared with the smallest of its kind that is a third of it or less.
    """

    kind: Literal["longer"]
    measure: ErrorName


class Sooner(_OnOneDataset):
    """As claimed where `first` reaches a validation MSE in less of `unit` than `second`.

    The target is the worse of their best ones: the one that both have reached.
    """

    kind: Literal["sooner"]
    unit: Literal["seconds", "samples"]


class Effect(_Strict):
    """The effect of a defect on `model`: its result on `defective` beside that on `sound`."""

    suite: str
    measure: MetricName
    model: str
    sound: str
    defective: str

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """The model and data sets it needs."""
        return ((self.model, self.sound), (self.model, self.defective))


Test = Annotated[Beats | Gains | Longer | Sooner, Field(discriminator="kind")]


class Defect(_Strict):
    """Something wrong with the published experiment, and where its effect can be seen."""

    what: str
    effects: tuple[Effect, ...] = ()


class Minimum(_Strict):
    """What every trained cell of a test must have; else it is trained too little to decide.

    Beyond it, each must predict better than every trivial baseline.
    """

    steps: int = Field(default=1000, ge=1)
    tuned: bool = False
    """Whether recipes must be tuned, each in as many trials."""


class Claim(_Strict):
    """A sentence of a study: its primary test decides, the others show how far that holds."""

    name: str
    sentence: str
    source: str
    published: tuple[Published, ...] = ()
    defects: tuple[Defect, ...] = ()
    budgets: tuple[BudgetKind, ...] = ("samples", "seconds")
    """The kinds of budget that it is to be tested under, each equal for all models."""
    minimum: Minimum = Minimum()
    primary: Test
    """Nearest to what the study did, or to what it says."""
    robustness: tuple[Test, ...] = ()
    """Tests that the study did not make: they cannot refute it."""
    note: str = ""
    """The limits of our test of it."""

    @property
    def tests(self) -> tuple[Beats | Gains | Longer | Sooner, ...]:
        """The primary test and the others."""
        return (self.primary, *self.robustness)


def all_claims() -> tuple[Claim, ...]:
    """Every claim, in the order of the file."""
    claims = tomllib.loads(FILE.read_text(encoding="utf-8"))["claim"]
    # as JSON, whose arrays strict mode takes for tuples
    return TypeAdapter(tuple[Claim, ...]).validate_json(json.dumps(claims))
