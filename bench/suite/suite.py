"""A suite file, read into a frozen `Suite`, and its cells: model x data set x seed."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    with_config,
)

from bench.errors import UserError, unknown
from bench.suite import catalogue
from bench.train.budget import Budget
from datasets.contract import Dataset, HeldOutName, TaskName
from models.contract import Model, Recipe

SUITES = Path(__file__).parent / "suites"
LONGEST_NAME = 100

with_config(ConfigDict(extra="forbid"))(Recipe)  # a mistyped key of [recipe] is an error too


def _parse_budget(text: object) -> Budget:
    if not isinstance(text, str):
        raise ValueError("write it as text, such as '60s' or '2000steps'")
    try:
        return Budget.parse(text)
    except UserError as error:
        raise ValueError(str(error)) from error


def _is_folder_name(name: str) -> str:
    """`name`, which is to be that of a folder in the results and of an MLflow experiment."""
    plain = name.isprintable() and not set(name) & set("/\\") and name.strip(". ") != ""
    if not plain or len(name.encode(errors="replace")) > LONGEST_NAME:
        raise ValueError(
            f"{name[:40]!r} is to name a folder: write a word of at most {LONGEST_NAME} bytes, "
            "without slashes and control characters"
        )
    return name


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Evaluation(_Strict):
    """How many held-out clips are used, and how often validation runs."""

    test_clips: int = Field(default=1000, ge=1)
    validation_clips: int = Field(default=128, ge=1)
    evaluations: int = Field(default=10, ge=1)
    """Validations, evenly spaced over the budget; the last is at its end."""
    showcase_clips: int = Field(default=6, ge=0)
    """Test clips whose predicted frames are kept: first, median and worst for copy-last."""

    @property
    def clips(self) -> dict[HeldOutName, int]:
        """How many clips of each split are asked for; fewer are used where there are fewer."""
        return {"validation": self.validation_clips, "test": self.test_clips}


class Limits(_Strict):
    """When a cell counts as hung and is killed."""

    silence_seconds: float = Field(default=900, gt=0)
    """Without an event: a training step, or a batch evaluated."""
    cell_seconds: float | None = Field(default=None, gt=0)
    """From start to end; None means ten budgets and an hour, for a budget in seconds."""


class Suite(_Strict):
    """A matrix of cells under one budget."""

    name: Annotated[str, AfterValidator(_is_folder_name)]
    task: TaskName = "prediction"
    models: tuple[str, ...] = Field(min_length=1)
    datasets: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    budget: Annotated[Budget, BeforeValidator(_parse_budget)]
    size: str = "auto"
    """A size by name; "auto" means published on an accelerator, small on a CPU."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "32", "bf16"] = "auto"
    recipe: Literal["published"] | Recipe = "published"
    """"published": each model's own; else one recipe for all."""
    evaluation: Evaluation = Evaluation()
    limits: Limits = Limits()

    def coordinates(self) -> Iterator[Coordinates]:
        """Every cell of the matrix, models first, so that each data set's baselines come early."""
        for dataset in self.datasets:
            for seed in self.seeds:
                for model in self.models:
                    yield Coordinates(model, dataset, seed)

    def select_models(self, patterns: Sequence[str]) -> list[str]:
        """The models that `patterns` pick, as `select` says; built-in ones only of its task."""
        return select(patterns, self.models, self._offered(catalogue.all_models(), patterns))

    def select_datasets(self, patterns: Sequence[str]) -> list[str]:
        """The data sets that `patterns` pick, as `select` says; built-in ones only of its task."""
        return select(patterns, self.datasets, self._offered(catalogue.all_datasets(), patterns))

    def _offered(
        self, known: Mapping[str, type[Model] | type[Dataset]], patterns: Sequence[str]
    ) -> list[str]:
        """The names of its task, and those written out in `patterns`, which are checked later."""
        return [name for name, cls in known.items() if cls.task == self.task or name in patterns]

    def with_overrides(self, **overrides: Any) -> Suite:
        """This suite with every override that is not None, checked as the file is.

        Raises:
            UserError: an override is of the wrong type.
        """
        fields = self.model_dump(mode="json", exclude={"budget"}) | {"budget": str(self.budget)}
        given = {key: value for key, value in overrides.items() if value is not None}
        return _validated(fields | given, "command line")


@dataclass(frozen=True, slots=True)
class Coordinates:
    """A cell's place in a suite: references of model and data set, and the seed."""

    model: str
    dataset: str
    seed: int


def suite_names() -> list[str]:
    """The names of the built-in suites."""
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def load_suite(reference: str) -> Suite:
    """The suite named `reference`, or the one in that TOML file.

    Raises:
        UserError: there is none, or its content is wrong; the message names the place.
    """
    path = Path(reference) if reference.endswith(".toml") else SUITES / f"{reference}.toml"
    if not path.is_file():
        if reference.endswith(".toml"):
            raise UserError(f"there is no suite file {path}")
        raise unknown("suite", reference, suite_names())
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    suite = _validated({"name": path.stem} | fields, path.name)
    _check_references(suite, path.name)
    return suite


def select(patterns: Sequence[str], listed: Sequence[str], known: Sequence[str]) -> list[str]:
    """The names that `patterns` pick: out of those `listed` in the suite, else of all `known`.

    A pattern may be a name or `path/to/file.py:Class`, either with options, or a glob such as
    `conv*`.

    Raises:
        UserError: a pattern picks nothing.
    """
    picked: list[str] = []
    for pattern in patterns:
        if catalogue.is_file_reference(pattern) or "(" in pattern:
            picked.append(pattern)
            continue
        matches = fnmatch.filter(listed, pattern) or fnmatch.filter(known, pattern)
        if not matches:
            raise unknown("name", pattern, [*listed, *known])
        picked += matches
    return list(dict.fromkeys(picked))


def _check_references(suite: Suite, place: str) -> None:
    try:
        for model in suite.models:
            catalogue.model_for(suite.task, model)
        for dataset in suite.datasets:
            catalogue.dataset_for(suite.task, dataset)
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def _validated(fields: dict[str, Any], place: str) -> Suite:
    """The suite of `fields`, validated as JSON, whose arrays strict mode accepts as tuples."""
    try:
        return Suite.model_validate_json(json.dumps(fields, default=str))
    except ValidationError as error:
        raise UserError(f"{place}: {_first_error(error)}") from error


def _first_error(error: ValidationError) -> str:
    # A mistyped key comes first, for it often makes another one missing.
    unknown_key = ("extra_forbidden", "unexpected_keyword_argument")
    errors = [e for e in error.errors() if e["loc"] != ("recipe", "literal['published']")]
    first = min(errors or error.errors(), key=lambda e: e["type"] not in unknown_key)
    where = [str(part) for part in first["loc"] if part != "Recipe"]
    if first["type"] not in unknown_key:
        return f"{'.'.join(where)}: {first['msg'].removeprefix('Value error, ')}"
    sections: dict[str, type[BaseModel]] = {"evaluation": Evaluation, "limits": Limits}
    known = (
        [field.name for field in dataclasses.fields(Recipe)]
        if where[0] == "recipe"
        else [*sections.get(where[0], Suite).model_fields]
    )
    near = difflib.get_close_matches(where[-1], known, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    return f"{'.'.join(where)}: unknown key{hint}"
