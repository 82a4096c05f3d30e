"""A suite file, read into a frozen `Suite`, and its cells: model x data set x seed.

What looks up models and data sets imports the catalogue, and with it torch, when it is called: a
suite can be read and listed without.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    with_config,
)

from bench.errors import UserError, one_line, unknown
from bench.suite.epochs import Epochs, parse
from bench.suite.launch import Launch
from bench.suite.reference import Reference, from_table, is_file_reference, split, unknown_name
from bench.suite.tuning import Tuning
from bench.train.budget import Budget
from models.recipe import Recipe, TaskName

if TYPE_CHECKING:
    from datasets.contract import Dataset, HeldOutName
    from models.contract import Model

SUITES = Path(__file__).parent / "suites"
TUNED = ".tuned"
"""How the name of a file of tuned recipes ends, before its extension."""
LONGEST_NAME = 100
OURS = ("artifacts", "checkpoints")
"""What lies in the folder of the results beside that of each suite; `mlflow.db` and its like do."""
LONGEST_LABEL = 200  # of a model or data set; MLflow's databases keep 250 of a cell's name
MOST_DEVICES = 64  # of one machine
MOST_CLIPS, MOST_EVALUATIONS, LONGEST_SECONDS = 1_000_000_000, 10_000, 1e9
MOST_SAMPLES = 10_000  # which are in memory together

# A mistyped key of [recipe] is an error too, and so is a text or a bool in the place of a number.
with_config(ConfigDict(extra="forbid", strict=True))(Recipe)


def _parse_budget(text: object) -> Budget | Epochs:
    if not isinstance(text, str):
        raise ValueError("write it as text, such as '60s' or '2000steps'")
    try:
        return parse(text)
    except UserError as error:
        raise ValueError(str(error)) from error


def _listed(models: object) -> object:
    """References of models; where they are tables, those with the options in them."""
    if not isinstance(models, dict):
        return tuple(models) if isinstance(models, list) else models
    for name, table in models.items():
        if not isinstance(table, dict):
            raise ValueError(f"{name} is to be a table of its options: [models.{name}]")
    try:
        return tuple(from_table(name, table) for name, table in models.items())
    except UserError as error:
        raise ValueError(str(error)) from error


def _is_folder_name(name: str) -> str:
    """`name`, which is to be that of a folder in the results and of an MLflow experiment."""
    plain = name.isprintable() and not set(name) & set("/\\") and name.strip(". ") != ""
    if name.lower() in OURS or name.lower().startswith("mlflow."):
        raise ValueError(f"{name!r} is a name of the harness's own in the results: choose another")
    if not plain or len(name.encode(errors="replace")) > LONGEST_NAME:
        raise ValueError(
            f"{name[:40]!r} is to name a folder: write a word of at most {LONGEST_NAME} bytes, "
            "without slashes and control characters"
        )
    return name


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"{value!r} is listed twice")
    return values


FolderName = Annotated[str, AfterValidator(_is_folder_name)]
"""The name of a suite: of its folder in the results and its MLflow experiment."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(gt=0, le=LONGEST_SECONDS)]

Checked = TypeVar("Checked", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Evaluation(_Strict):
    """How many held-out clips are used, and how often validation runs."""

    test_clips: int = Field(default=1000, ge=1, le=MOST_CLIPS)
    validation_clips: int = Field(default=128, ge=1, le=MOST_CLIPS)
    evaluations: int = Field(default=10, ge=1, le=MOST_EVALUATIONS)
    """Validations, evenly spaced over the budget; the last is at its end."""
    showcase_clips: int = Field(default=6, ge=0, le=MOST_CLIPS)
    """Test clips whose predicted frames are kept: first, median and worst for copy-last."""
    samples: int = Field(default=10, ge=1, le=MOST_SAMPLES)
    """Futures of each test clip, of models that draw several; of no concern to any other."""
    target: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Of validation (MSE, or cross-entropy): a report says what it took each model to reach it."""
    also_test_on: Annotated[tuple[str, ...], AfterValidator(_distinct)] | None = None
    """Further data sets with frames of the same shape, on whose test clips every model of the suite
    is tested as well, whatever it was trained on."""

    @property
    def clips(self) -> dict[HeldOutName, int]:
        """How many clips of each split are asked for; fewer are used where there are fewer."""
        return {"validation": self.validation_clips, "test": self.test_clips}


class Limits(_Strict):
    """When a cell counts as hung and is killed."""

    silence_seconds: Seconds = 900
    """Without an event: a training step, or a batch evaluated."""
    cell_seconds: Seconds | None = None
    """From start to end; None means ten budgets and an hour, for a budget in seconds.

    A budget of work has none then: it takes long on a slow machine that is not hung."""


class Suite(_Strict):
    """A matrix of cells under one budget."""

    name: FolderName
    task: TaskName = "prediction"
    models: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(_distinct), BeforeValidator(_listed)
    ]
    """A list, or a table of the options of each, `[models.convlstm]`, in the order written."""
    datasets: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_distinct)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)] = (0,)
    budget: Annotated[Budget | Epochs, BeforeValidator(_parse_budget)]
    """Epochs become samples of each data set when its cells are settled."""
    budget_on_cpu: Annotated[Budget | Epochs | None, BeforeValidator(_parse_budget)] = None
    """In its place on a CPU: in FLOPs, so that what else a CPU does changes no figure."""
    size: str = "auto"
    """A size by name; "auto" means published on an accelerator, small on a CPU."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Annotated[int, Field(ge=1, le=MOST_DEVICES)] = 1
    """That train a cell together, each a part of every batch."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    step: Literal["auto", "eager", "graph"] = "auto"
    """"graph": training steps replayed from one CUDA graph; "auto": where that is found to work."""
    recipe: Literal["published", "tuned"] | Recipe = "published"
    """"published": each model's own; "tuned": those found by `bench tune`; else one for all."""
    tuned_recipes: str = ""
    """The file of the tuned ones, as from the suite's (default: NAME.tuned.toml beside it)."""
    tuning: Annotated[Tuning, Field(validate_default=True)] = Tuning()
    evaluation: Evaluation = Evaluation()
    limits: Limits = Limits()
    launch: Launch = Launch()

    @field_validator("tuning")
    @classmethod
    def _has_seeds_of_its_own(cls, tuning: Tuning, info: ValidationInfo) -> Tuning:
        shared = set(tuning.seeds) & set(info.data.get("seeds", ()))
        if shared:
            raise ValueError(
                f"seed {min(shared)} is one of the suite's: tune on seeds that are compared nowhere"
            )
        return tuning

    def with_reference(self) -> Suite:
        """This suite with copy_last, which every figure of a prediction stands beside.

        It is not trained, so that it costs one pass over the test clips of each data set.
        """
        from bench.score.metrics import REFERENCE
        from bench.suite import catalogue

        reference = REFERENCE[self.task]
        named = {catalogue.model(each).name for each in self.models}
        if self.task != "prediction" or reference in named:
            return self
        return self.model_copy(update={"models": (reference, *self.models)})

    @property
    def devices_a_node(self) -> int:
        """How many of a cell's devices one machine is to have.

        Raises:
            UserError: not equally many on each of its nodes.
        """
        nodes = self.launch.nodes if self.launch.launcher == "slurm" else 1
        if self.devices % nodes:
            raise UserError(
                f"--devices {self.devices} cannot be spread equally over {nodes} nodes: choose"
                f" --devices {nodes} or a multiple of it"
            )
        return self.devices // nodes

    def coordinates(self) -> Iterator[Coordinates]:
        """Every cell of the matrix, models first, so that each data set's baselines come early."""
        for dataset in self.datasets:
            for seed in self.seeds:
                for model in self.models:
                    yield Coordinates(model, dataset, seed)

    def check_labels(self) -> None:
        """Make sure that the labels of models and data sets can stand in tables.

        Raises:
            UserError: two are the same, or one is too long.
        """
        from bench.suite import catalogue

        for find, references in (
            (catalogue.model, self.models),
            (catalogue.dataset, self.datasets),
        ):
            found: dict[str, str] = {}
            for reference in references:
                label = Reference.parse(reference).label(find(reference).name)
                if len(label) > LONGEST_LABEL:
                    raise UserError(
                        f"{label[:60]!r}... has {len(label):,} characters, with its options:"
                        f" make it {LONGEST_LABEL} at most"
                    )
                other = found.setdefault(label, reference)
                if other != reference:
                    raise UserError(
                        f"{other} and {reference} are both called {label!r}: leave one out, or"
                        " give its class another `name`"
                    )

    def select_models(self, patterns: Sequence[str]) -> list[str]:
        """The models that `patterns` pick, as `select` says; built-in ones only of its task."""
        from bench.suite import catalogue

        return select(patterns, self.models, self._offered(catalogue.all_models(), patterns))

    def select_datasets(self, patterns: Sequence[str]) -> list[str]:
        """The data sets that `patterns` pick, as `select` says; built-in ones only of its task."""
        from bench.suite import catalogue

        return select(patterns, self.datasets, self._offered(catalogue.all_datasets(), patterns))

    def _offered(
        self, known: Mapping[str, type[Model] | type[Dataset]], patterns: Sequence[str]
    ) -> list[str]:
        """The names of its task, and those written out in `patterns`, which are checked later."""
        return [name for name, cls in known.items() if cls.task == self.task or name in patterns]

    def budget_on(self, device: str) -> Budget | Epochs:
        """The budget of each cell on a `device` of that type."""
        return (self.budget_on_cpu if device == "cpu" else None) or self.budget

    def with_overrides(self, **overrides: Any) -> Suite:
        """This suite with every override that is not None, checked as the file is.

        A `budget` holds on every device.

        Raises:
            UserError: an override is of the wrong type.
        """
        given = {key: value for key, value in overrides.items() if value is not None}
        budgets = {"budget": self.budget, "budget_on_cpu": self.budget_on_cpu}
        fields = self.model_dump(mode="json", exclude=set(budgets))
        if "budget" not in given:
            fields |= {name: budget.exactly for name, budget in budgets.items() if budget}
        return validated(Suite, fields | given, "command line")


@dataclass(frozen=True, slots=True)
class Coordinates:
    """A cell's place in a suite: references of model and data set, and the seed."""

    model: str
    dataset: str
    seed: int


def suite_names() -> list[str]:
    """The names of the built-in suites."""
    names = (path.stem for path in SUITES.glob("*.toml"))
    return sorted(name for name in names if not name.endswith(TUNED))


def load_suite(reference: str) -> Suite:
    """The suite named `reference`, or the one in that TOML file, with models and data sets found.

    Raises:
        UserError: as `read_suite`, or it names models or data sets that are not there or not for
            its task.
    """
    suite = read_suite(reference)
    check_references(suite, _file(reference).name)
    return suite


def build_suite(fields: Mapping[str, Any]) -> Suite:
    """The suite of these fields, named as a suite's file has them, with models and data sets found.

    Raises:
        UserError: a field is unknown, missing or wrong, or they name models or data sets that are
            not there or not for its task.
    """
    suite = validated(
        Suite, {"tuned_recipes": f"{fields.get('name')}{TUNED}.toml", **fields}, "suite"
    )
    check_references(suite, f"suite {suite.name}")
    return suite


def read_suite(reference: str) -> Suite:
    """As `load_suite`, but what the suite names is not looked for. Its paths are as from its file.

    Raises:
        UserError: there is none, or its content is wrong; the message names the place.
    """
    path = _file(reference)
    if reference.endswith(".toml"):
        if not os.path.isfile(path):  # noqa: PTH113, which raises where a name is too long
            shown = path if reference.isprintable() else repr(reference)
            raise UserError(f"there is no suite file {shown}")
    elif reference not in suite_names():
        raise unknown("suite", reference, suite_names())
    fields = {"name": path.stem, "tuned_recipes": f"{path.stem}{TUNED}.toml"} | toml(path)
    suite = validated(Suite, fields, path.name)

    def beside(references: Sequence[str]) -> list[str]:
        return [_from_folder(path.parent, reference) for reference in references]

    also = suite.evaluation.also_test_on
    changes = {"also_test_on": tuple(beside(also))} if also else {}
    return suite.with_overrides(
        models=beside(suite.models),
        datasets=beside(suite.datasets),
        tuned_recipes=str(path.parent / suite.tuned_recipes),
        evaluation=suite.evaluation.model_copy(update=changes).model_dump(mode="json"),
    )


def _from_folder(folder: Path, reference: str) -> str:
    """`reference` as from the folder of the suite that has it, where it names a file."""
    place, options = split(reference)
    return f"{folder / place}{options}" if is_file_reference(reference) else reference


def _file(reference: str) -> Path:
    return Path(reference) if reference.endswith(".toml") else SUITES / f"{reference}.toml"


def toml(path: Path) -> dict[str, Any]:
    """The content of the TOML file at `path`.

    Raises:
        UserError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # Windows may begin with a mark
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: save it as such") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply") from error
    except ValueError as error:  # a number of too many digits, too
        raise UserError(f"{path} is not TOML: {one_line(error)}") from error


def select(patterns: Sequence[str], listed: Sequence[str], known: Sequence[str]) -> list[str]:
    """The names that `patterns` pick: out of those `listed` in the suite, else of all `known`.

    A pattern may be a name or `path/to/file.py:Class`, either with options, or a glob such as
    `conv*`.

    Raises:
        UserError: a pattern picks nothing.
    """
    picked: list[str] = []
    for pattern in patterns:
        if is_file_reference(pattern) or "(" in pattern:
            picked.append(pattern)
            continue
        matches = fnmatch.filter(listed, pattern) or fnmatch.filter(known, pattern)
        if not matches:
            raise unknown_name("name", pattern, {*listed, *known})
        picked += matches
    return list(dict.fromkeys(picked))


def check_references(suite: Suite, place: str) -> None:
    """Import the models and data sets that `suite` names.

    Raises:
        UserError: one is not there, or not for its task; the message begins with `place`.
    """
    from bench.suite import catalogue

    try:
        for model in suite.models:
            catalogue.model_for(suite.task, model)
        for dataset in suite.datasets:
            catalogue.dataset_for(suite.task, dataset)
        for dataset in suite.evaluation.also_test_on or ():
            catalogue.dataset_for(suite.task, dataset)
        suite.check_labels()
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def validated(cls: type[Checked], fields: Mapping[str, Any], place: str) -> Checked:
    """The suite of `fields`, or another `cls` of its tables, told of in one line where it is wrong.

    It is validated as JSON, whose arrays strict mode accepts as tuples.

    Raises:
        UserError: a field is unknown, missing or wrong; the message begins with `place`.
    """
    try:
        text = json.dumps(fields, default=str, ensure_ascii=False)
        return cls.model_validate_json(text.encode())
    except UnicodeEncodeError as error:
        before, after = error.object[: error.start], error.object[error.start :]
        wrong = before.rpartition('"')[2] + after.partition('"')[0]
        raise UserError(f"{place}: {wrong[:200]!a} is not UTF-8 text: rename it") from error
    except ValidationError as error:
        raise UserError(f"{place}: {_first_error(error)}") from error
    except (ValueError, RecursionError) as error:  # a number of too many digits; deep nesting
        raise UserError(f"{place}: {one_line(error)}") from error


def _first_error(error: ValidationError) -> str:
    # A mistyped key comes first, for it often makes another one missing.
    unknown_key = ("extra_forbidden", "unexpected_keyword_argument")
    errors = [e for e in error.errors() if e["loc"][1:] != ("literal['published','tuned']",)]
    first = min(errors or error.errors(), key=lambda e: e["type"] not in unknown_key)
    where = [str(part) for part in first["loc"] if part != "Recipe"]
    if first["type"] == "missing":
        example = ', such as source = "ours"' if where == ["recipe", "source"] else ""
        return f"{'.'.join(where)} is missing: write it{example}"
    if first["type"] not in unknown_key:
        return f"{'.'.join(where)}: {first['msg'].removeprefix('Value error, ')}"
    sections: dict[str, type[BaseModel]] = {
        "evaluation": Evaluation,
        "limits": Limits,
        "launch": Launch,
        "tuning": Tuning,
    }
    known = (
        [field.name for field in dataclasses.fields(Recipe)]
        if where[0] == "recipe"
        else [*sections.get(where[0], Suite).model_fields]
    )
    near = difflib.get_close_matches(where[-1], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"
    return f"{'.'.join(where)}: unknown key, {hint}"
