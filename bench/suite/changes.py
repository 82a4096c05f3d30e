"""`--set`: what a line changes in a suite, a cell or a reference, such as `recipe.batch_size=8`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from bench.errors import UserError, unknown
from bench.suite import catalogue
from bench.suite.epochs import Epochs
from bench.suite.reference import with_options
from bench.suite.suite import Evaluation, Limits, Suite, validated
from models.recipe import TRAINING_FIELDS

if TYPE_CHECKING:
    from bench.suite.cell import Cell
    from datasets.contract import Dataset
    from models.contract import Model

REFERRED = ("model", "recipe", "dataset")
"""What is written behind the names of models and data sets."""
TABLES = ("evaluation", "limits", "tuning")
"""Tables of a suite's file."""


class _Tables(BaseModel):
    """Those of a suite that a cell has, too."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    evaluation: Evaluation
    limits: Limits


@dataclass(frozen=True, slots=True)
class Change:
    """One option that is to have another value: `where.name=value`."""

    where: str
    name: str
    value: Any

    @classmethod
    def parse(cls, text: str) -> Change:
        """The change written as `text`; a value that is no Python literal is a word.

        Raises:
            UserError: it has another form, or names what cannot be set.
        """
        key, equals, written = text.partition("=")
        where, dot, name = key.strip().partition(".")
        if not (equals and dot and name.isidentifier() and written.strip()):
            raise UserError(
                f"--set {text!r} is not understood: write WHERE.NAME=VALUE, such as"
                " recipe.learning_rate=3e-3 or model.width=64"
            )
        if where not in (*REFERRED, *TABLES):
            raise unknown("place for --set", where, (*REFERRED, *TABLES))
        if where == "recipe" and name not in TRAINING_FIELDS:
            raise unknown("field of a recipe", name, TRAINING_FIELDS)
        try:
            return cls(where, name, ast.literal_eval(written.strip()))
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            return cls(where, name, written.strip())


def parsed(words: Iterable[str]) -> list[Change]:
    """The changes written as `words`.

    Raises:
        UserError: as `Change.parse`, or one is given twice.
    """
    found: dict[tuple[str, str], Change] = {}
    for change in map(Change.parse, words):
        if found.setdefault((change.where, change.name), change) is not change:
            raise UserError(f"--set gives {change.where}.{change.name} twice")
    return list(found.values())


def changed(suite: Suite, words: Sequence[str]) -> Suite:
    """`suite` with what `words` set.

    Options are written behind the names of all models, or data sets, that have them; rows with
    other options are told apart by that. Models that are not trained have no recipe.

    Raises:
        UserError: as `parsed`, or nothing in the suite has such an option.
    """
    changes = parsed(words)
    if not changes:
        return suite
    tables = suite.model_dump(mode="json", include=set(TABLES))
    for change in changes:
        if change.where in TABLES:
            tables[change.where][change.name] = change.value
    return suite.with_overrides(
        models=models(suite.models, changes),
        datasets=datasets(suite.datasets, changes),
        **{table: content for table, content in tables.items() if _of(changes, table)},
    )


def changed_cell(cell: Cell, words: Sequence[str]) -> Cell:
    """`cell` with what `words` set: another cell.

    Raises:
        UserError: as `parsed`, or it has no such option.
    """
    changes = parsed(words)
    if _of(changes, "tuning"):
        raise UserError("a cell has no tuning: set that of a suite")
    if not changes:
        return cell
    [model], [dataset] = models([cell.model], changes), datasets([cell.dataset], changes)
    fields = cell.model_dump(mode="json", include=set(_Tables.model_fields))
    asked = {table: content | _of(changes, table) for table, content in fields.items()}
    tables = validated(_Tables, asked, "command line")
    recipe = catalogue.recipe_as_asked(cell.recipe, _of(changes, "recipe"))
    new = cell.changed(model=model, dataset=dataset, recipe=recipe, settled_data={}, **dict(tables))
    if new.missing_data:
        return new
    if cell.epochs:  # of another number of clips
        new = new.changed(budget=Epochs(cell.epochs).of(new.dataset, new.data))
    return new.changed(settled_data=new.data_digests)


def changed_reference(reference: str, words: Sequence[str]) -> str:
    """`reference` of a model or data set with what `words` set.

    Raises:
        UserError: as `parsed`, or it has no such option.
    """
    changes = parsed(words)
    for change in changes:
        if change.where in TABLES:
            raise UserError(f"a model or data set has no {change.where}: set that of a suite")
    if any(change.where == "dataset" for change in changes):
        return datasets([reference], changes)[0]
    return models([reference], changes)[0] if changes else reference


def models(references: Sequence[str], changes: Iterable[Change]) -> list[str]:
    """`references` of models with the options of `model` and `recipe` among `changes`.

    Raises:
        UserError: none of them has such an option, or it takes no such value.
    """
    asked = list(changes)
    options, recipe = _of(asked, "model"), _of(asked, "recipe")
    written = _written("model", references, options, catalogue.model)
    return [with_options(reference, recipe) for reference in written]


def datasets(references: Sequence[str], changes: Iterable[Change]) -> list[str]:
    """`references` of data sets with the options of `dataset` among `changes`.

    Raises:
        UserError: none of them has such an option, or it takes no such value.
    """
    return _written("data set", references, _of(changes, "dataset"), catalogue.dataset)


def _of(changes: Iterable[Change], where: str) -> dict[str, Any]:
    return {change.name: change.value for change in changes if change.where == where}


def _written(
    kind: str,
    references: Sequence[str],
    options: Mapping[str, Any],
    find: Callable[[str], type[Model | Dataset]],
) -> list[str]:
    """`references`, each with those of `options` that its class has."""
    known = {reference: catalogue.options_of(find(reference)) for reference in references}
    every = dict.fromkeys(option for names in known.values() for option in names)
    for option in options:
        if option not in every:
            if kind == "model" and option in TRAINING_FIELDS:
                raise UserError(f"{option} is of the recipe: write --set recipe.{option}=...")
            raise unknown(f"option of any {kind} here", option, every)
    return [
        with_options(
            reference, {name: options[name] for name in options if name in known[reference]}
        )
        for reference in references
    ]
