"""Claims of published studies, and the cells that test them: `claims.toml`, read and checked."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from bench.literature.published import PublishedRow, all_rows
from bench.score.metrics import RECORDED

FILE = Path(__file__).parent / "claims.toml"


def _metric(name: str) -> str:
    if name not in RECORDED["prediction"]:
        raise ValueError(f"there is no metric {name!r} of predictions")
    return name


def _error(name: str) -> str:
    if RECORDED["prediction"][_metric(name)].perfect != 0:
        raise ValueError(f"{name} is no error metric: it has no ratio")
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


class Beats(_Strict):
    """Upholds the claim where `first` is better than `second` on `dataset`."""

    kind: Literal["beats"]
    suite: str
    """One that runs these cells."""
    measure: MetricName
    first: str
    second: str
    dataset: str

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """The models and data sets it needs."""
        return ((self.first, self.dataset), (self.second, self.dataset))


class Gains(_Strict):
    """Upholds the claim where `first` does better against `second` on `after` than on `before`."""

    kind: Literal["gains"]
    suite: str
    measure: ErrorName
    first: str
    second: str
    before: str
    after: str

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """The models and data sets it needs."""
        both = (self.first, self.second)
        return tuple((model, dataset) for dataset in (self.before, self.after) for model in both)


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


Test = Annotated[Beats | Gains, Field(discriminator="kind")]


class Defect(_Strict):
    """Something wrong with the published experiment, and where its effect can be seen."""

    what: str
    effects: tuple[Effect, ...] = ()


class Claim(_Strict):
    """A sentence of a study; it is upheld where all `tests` are."""

    name: str
    sentence: str
    source: str
    published: tuple[Published, ...] = ()
    defects: tuple[Defect, ...] = ()
    tests: tuple[Test, ...] = Field(min_length=1)
    note: str = ""
    """The limits of our test of it."""


def all_claims() -> tuple[Claim, ...]:
    """Every claim, in the order of the file."""
    claims = tomllib.loads(FILE.read_text(encoding="utf-8"))["claim"]
    # as JSON, whose arrays strict mode takes for tuples
    return TypeAdapter(tuple[Claim, ...]).validate_json(json.dumps(claims))
