"""The rows of `ls models NAME` and `ls datasets NAME`: every option, its values and its meaning."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import get_type_hints

import docstring_parser

from bench.errors import UserError
from bench.literature import parameters
from bench.suite import catalogue
from datasets.contract import Dataset
from models.contract import Model
from models.recipe import TRAINING_FIELDS, Recipe, Size

Rows = list[dict[str, object]]


def of(what: str, name: str) -> tuple[Rows, list[str], str]:
    """The rows and columns for one of the `models` or `datasets`, and what it is in a few lines.

    Raises:
        UserError: there is none of that name, or `what` is something else.
    """
    if what == "models":
        return _of_model(catalogue.model(name))
    if what == "datasets":
        return _of_dataset(catalogue.dataset(name))
    raise UserError(f"a name is for models and data sets: write ls {what} alone")


def _of_model(cls: type[Model]) -> tuple[Rows, list[str], str]:
    """A row for each option and field of its recipe, with its value in each size."""
    sizes: list[tuple[str, Size]] = list(cls.sizes.items())
    rows: Rows = [
        {"option": option, "type": _type(cls.__init__, option), "meaning": meaning}
        | {size: content.options.get(option, _default(parameter)) for size, content in sizes}
        for option, parameter, meaning in _options(cls)
    ]
    rows += [
        {"option": field, "type": _type(Recipe, field), "meaning": "of the recipe"}
        | {size: getattr(content.recipe, field) for size, content in sizes}
        for field in TRAINING_FIELDS
    ]
    lines = [_what(cls)]
    if getattr(cls, "takes_covariates", False):
        lines.append("takes the covariates of a data set, such as actions")
    if cls.paper:
        lines += [f"{cls.paper.title} ({cls.paper.year})", cls.paper.url]
    lines += [f"{size}: recipe: {content.recipe.source}" for size, content in sizes]
    count = parameters.of(cls.name)
    lines += [count.sentence] if count else []
    return rows, ["option", *(size for size, _ in sizes), "meaning", "type"], "\n".join(lines)


def _of_dataset(cls: type[Dataset]) -> tuple[Rows, list[str], str]:
    """A row for each option."""
    rows: Rows = [
        {
            "option": option,
            "default": _default(parameter),
            "meaning": meaning,
            "type": _type(cls.__init__, option),
        }
        for option, parameter, meaning in _options(cls)
    ]
    return rows, ["option", "default", "meaning", "type"], _what(cls)


def _what(cls: type) -> str:
    """The first line of its docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _options(cls: type[Model | Dataset]) -> Iterator[tuple[str, inspect.Parameter, str]]:
    """The options of a class with their meanings, as its docstrings or those it inherits say."""
    meanings: dict[str, str] = {}
    for parent in inspect.getmro(cls):
        for text in (getattr(parent.__dict__.get("__init__"), "__doc__", None), parent.__doc__):
            meanings = {**_arguments(text), **meanings}
    parameters = inspect.signature(cls).parameters
    for option in catalogue.options_of(cls):
        yield option, parameters[option], meanings.get(option, "")


def _arguments(text: str | None) -> Mapping[str, str]:
    """What a docstring says of each argument, in one line."""
    found = docstring_parser.parse(text or "").params
    return {each.arg_name: " ".join((each.description or "").split()) for each in found}


def _type(of: Callable[..., object], name: str) -> str:
    """How a parameter or a field is annotated, as far as can be told."""
    try:
        hint = get_type_hints(of).get(name, "")
    except Exception:  # a name that is imported for type checkers alone
        hint = getattr(of, "__annotations__", {}).get(name, "")
    return hint if isinstance(hint, str) else inspect.formatannotation(hint)


def _default(parameter: inspect.Parameter) -> object:
    return None if parameter.default is parameter.empty else parameter.default
