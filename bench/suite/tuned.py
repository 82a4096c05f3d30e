"""The recipes that `bench tune` found for a suite, in a TOML file beside it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bench import PROGRAM, atomic
from bench.errors import UserError
from bench.suite import reference
from bench.suite.suite import SUITES, TUNED, Suite, toml
from models.recipe import Recipe

if TYPE_CHECKING:
    from bench.suite.cell import Cell


class Trial(BaseModel):
    """One recipe that was tried, and how it did."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    learning_rate: float
    batch_size: int
    options: str = ""
    """Those of the model that were tried with it, such as `(width=24)`; "" where these are fixed.
    """
    validation: float | None = None
    """The mean over seeds of the best validation figure; None where a seed did not finish."""
    ended: str = "done"
    """How it ended, where not all of its seeds are done."""


class Tuned(BaseModel):
    """The best of the trials of one model on one data set, and what finding it cost."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    model: str
    """Its name, with the options asked for."""
    size: str
    dataset: str
    options: str
    """All that the model was built with, such as `(width=32, layers=2)`."""
    recipe: Recipe
    trials: tuple[Trial, ...]
    validation: float
    """The winner's figure."""
    seeds: tuple[int, ...]
    """Of every trial."""
    budget: str
    """Of every seed of every trial."""
    flops: float | None = None
    """What training all of them took."""
    cpu_seconds: float | None = None
    """The same in seconds of the processes on all cores, where that was measured."""
    device: str
    precision: str
    commit: str
    code_digest: str
    """Of the code of model, data set, training and scores that the trials ran with."""

    @property
    def name(self) -> str:
        """The model's name, without options."""
        return reference.split(self.model)[0]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it was tuned for: a newer one takes its place."""
        return self.dataset, self.model, self.size, self.budget


class _File(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    tuned: tuple[Tuned, ...] = ()


def read(file: Path) -> tuple[Tuned, ...]:
    """The recipes in `file`; none where it is not there.

    Raises:
        UserError: it holds something else.
    """
    if not file.is_file():
        return ()
    try:
        text = json.dumps(toml(file), default=str)
        return _File.model_validate_json(text).tuned
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where} {first['msg'].removeprefix('Value error, ')}"
        raise UserError(f"{file} holds no tuned recipes of this version: {what}") from error


def write(file: Path, found: Sequence[Tuned]) -> None:
    """Write the recipes `found` into `file`, in place of older ones for the same."""
    by_key = {tuned.key: tuned for tuned in read(file)} | {tuned.key: tuned for tuned in found}
    head = f'# Written by `{PROGRAM} tune`; read by suites that say recipe = "tuned".\n'
    blocks = [_block(tuned) for _, tuned in sorted(by_key.items())]
    atomic.write_text(file, "\n".join([head, *blocks]))


def recipe_of(cell: Cell, suite: Suite) -> Recipe | None:
    """The recipe tuned for the model, size, options and data set of `cell`; None without one.

    Of several it is the best of those tuned at the suite's budget; one alone serves every budget.

    Raises:
        UserError: there is no file of them, or it has several, all for other budgets; it says how
            to find one.
    """
    file = Path(suite.tuned_recipes)
    words = [*PROGRAM.split(), "tune", *_suite_words(file), "--models", cell.model]
    line = shlex.join(words)
    if not file.is_file():
        raise UserError(f"there are no tuned recipes, no {file}: find them by `{line}`")
    wanted = cell.model_class.name, cell.size, cell.dataset_name, options_text(cell.options)
    fitting = [t for t in read(file) if (t.name, t.size, t.dataset, t.options) == wanted]
    if at_budget := [t for t in fitting if t.budget == str(cell.budget)]:
        return min(at_budget, key=lambda tuned: tuned.validation).recipe
    if len(fitting) <= 1:
        return fitting[0].recipe if fitting else None
    raise UserError(
        f"{cell.name.rpartition('/')[0]} has no tuned recipe in {file} at {cell.budget}, but"
        f" several, at {', '.join(t.budget for t in fitting)}: find one by `{line}`"
    )


def _suite_words(file: Path) -> list[str]:
    """The words that name a suite whose recipes go into `file`."""
    typed = file.with_name(file.name.replace(TUNED, ""))
    if typed == file or not typed.is_file():
        return ["--suite", "SUITE", "--out", str(file)]
    return ["--suite", typed.stem if typed.parent == SUITES else str(typed)]


def options_text(options: Mapping[str, Any]) -> str:
    """All `options` of a model in one way of writing, such as `(layers=2, width=32)`."""
    plain = json.loads(json.dumps(dict(options), default=str))
    return reference.Reference("", plain).label("")


def _block(tuned: Tuned) -> str:
    """One recipe as TOML."""
    fields = tuned.model_dump(exclude={"recipe", "trials"}) | {"seeds": list(tuned.seeds)}
    lines = ["[[tuned]]", *_lines(fields), "trials = ["]
    for trial in tuned.trials:
        told = trial.model_dump(exclude_defaults=True)
        lines.append(f"    {{ {', '.join(_lines(told))} }},")
    lines += ["]", "[tuned.recipe]", *_lines(_plain(tuned.recipe))]
    return "\n".join(lines) + "\n"


def _plain(recipe: Recipe) -> dict[str, Any]:
    """What of `recipe` is not as by default."""
    usual = asdict(Recipe("", 1.0, 1))
    always = ("source", "learning_rate", "batch_size", "schedule")
    return {k: v for k, v in asdict(recipe).items() if k in always or v != usual[k]}


def _lines(fields: Mapping[str, Any]) -> list[str]:
    """`name = value` of all that are known; JSON writes such values as TOML does."""
    known = {name: value for name, value in fields.items() if value is not None}
    return [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in known.items()]
