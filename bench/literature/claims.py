"""What published studies claimed, and which cells test it: `claims.toml`, read and checked."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

FILE = Path(__file__).parent / "claims.toml"

MeasureName = Literal["mse", "ssim", "lpips"]
Certainty = Literal["V", "S", "B"]

CERTAINTY: dict[Certainty, str] = {
    "V": "read in the study's own code or output",
    "S": "from a secondary source",
    "B": "believed, not confirmed",
}
"""How sure it is that a study published a figure."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Published(_Strict):
    """A model's figures as a study gives them, named as in `conventions.CONVENTIONS`."""

    model: str
    setting: str
    convention: str
    figures: dict[str, float] = Field(min_length=1)
    certainty: Certainty


class Beats(_Strict):
    """Upholds the claim where `first` is better than `second` on `dataset`."""

    kind: Literal["beats"]
    suite: str
    """One that runs these cells."""
    measure: MeasureName
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
    measure: Literal["mse", "lpips"]
    """One that is positive, for the ratio of the two is what falls."""
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
    """What a defect does to `model`: its result on `defective` beside that on `sound`."""

    suite: str
    measure: MeasureName
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
    """What our test of it cannot say."""


def all_claims() -> tuple[Claim, ...]:
    """Every claim, in the order of the file."""
    claims = tomllib.loads(FILE.read_text(encoding="utf-8"))["claim"]
    # as JSON, whose arrays strict mode takes for tuples
    return TypeAdapter(tuple[Claim, ...]).validate_json(json.dumps(claims))
