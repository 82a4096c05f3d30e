"""Whose recipe trained a model, and where two that are compared were trained by different ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from bench.records import Status
from bench.report.cells import UNKNOWN

Facts = Mapping[str, str]
"""Everything recorded about how a cell was run."""

_WORDS = {"authors": "the authors'", "borrowed": "borrowed", "ours": "ours, not tuned here"}


def origin(facts: Facts) -> str:
    """Whose the recipe of a cell is: the authors', borrowed, ours, or tuned in so many trials."""
    if many := trials(facts):
        return f"tuned ({many} trial{'s' * (many != 1)})"
    return _WORDS.get(facts.get("recipe.origin", ""), UNKNOWN)


def trials(facts: Facts) -> int:
    """Of how many trials the recipe of a cell is the best; 0 where it is not tuned."""
    try:
        return int(facts.get("recipe.trials", 0))
    except ValueError:
        return 0


def origins(cells: pd.DataFrame) -> str:
    """Whose the recipe of the cells of one model is; "" of a model that is not trained."""
    if bool(cells["baseline"].all()):
        return ""
    return _told(cells, origin)


def note(rows: Iterable[Any]) -> str:
    """Which rows of a table were trained by whose recipe; "" where no row says so."""
    models: dict[str, list[str]] = {}
    for row in rows:
        if row.recipe_from:
            models.setdefault(row.recipe_from, []).append(row.label)
    if models.keys() <= {UNKNOWN}:
        return ""
    if len(models) == 1:
        return f"Recipes: {next(iter(models))}, all."
    return f"Recipes: {'; '.join(f'{whose}: {_listed(of)}' for whose, of in models.items())}."


def beside(cells: pd.DataFrame, summary: pd.DataFrame) -> str:
    """How the recipes of a table's two best trained models differ; "" where they do not."""
    done = summary[(summary["status"] == Status.DONE) & ~summary["baseline"]]
    best = done["label"].tolist()[:2]
    return difference(cells, *best) if len(best) == 2 else ""


def difference(cells: pd.DataFrame, first: str, second: str) -> str:
    """How the recipes of two models of one table differ, as a sentence; "" where they do not.

    The learning rate is a model's own affair: a recipe is there to choose it. Nor does it matter
    which kernels computed the same products.
    """
    trained = cells[~cells["baseline"] & (cells["status"] == Status.DONE)]
    pair = [trained[trained["label"] == label] for label in (first, second)]
    if any(of.empty for of in pair):
        return ""
    found = []
    for words, tell in _COMPARED:
        one, other = (_told(of, tell) for of in pair)
        if one != other and UNKNOWN not in (one, other):
            found.append(f"{words}{one} against {other}")
    return f"The recipes of {first} and {second} differ: {'; '.join(found)}." if found else ""


def _recorded(name: str) -> Callable[[Facts], str]:
    return lambda facts: facts.get(name, UNKNOWN).replace("_", " ")


_COMPARED: tuple[tuple[str, Callable[[Facts], str]], ...] = (
    ("", origin),
    ("schedule ", _recorded("recipe.schedule")),
    ("batches of ", _recorded("recipe.batch_size")),
    ("optimizer ", _recorded("recipe.optimizer")),
)


def _told(cells: pd.DataFrame, tell: Callable[[Facts], str]) -> str:
    """What `tell` says of the cells, which may be several things."""
    return " and ".join(dict.fromkeys(tell(facts) for facts in cells["facts"]))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
