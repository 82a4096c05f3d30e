"""Whose recipe trained each row of a table, and what is said where two recipes differ."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.report import recipes


def _cells(**facts: dict[str, str]) -> pd.DataFrame:
    """A finished, trained cell of each label with these facts."""
    rows = [
        {"label": label, "baseline": False, "status": "done", "facts": known}
        for label, known in facts.items()
    ]
    return pd.DataFrame(rows)


TUNED = {"recipe.origin": "ours", "recipe.trials": "5", "recipe.schedule": "one_cycle"}
OURS = {"recipe.origin": "ours", "recipe.trials": "0", "recipe.schedule": "one_cycle"}
OLD = {"recipe.source": "ours; not tuned", "recipe.schedule": "one_cycle"}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (TUNED, "tuned (5 trials)"),
        (TUNED | {"recipe.trials": "1"}, "tuned (1 trial)"),
        (OURS, "ours, not tuned here"),
        ({"recipe.origin": "authors"}, "the authors'"),
        ({"recipe.origin": "borrowed"}, "borrowed"),
        (OLD, "unknown"),
        ({}, "unknown"),
    ],
)
def test_origin_is_said(facts: dict[str, str], words: str) -> None:
    assert recipes.origin(facts) == words


@pytest.mark.parametrize(
    ("first", "second", "differing"),
    [
        (TUNED, TUNED, []),
        (TUNED | {"recipe.learning_rate": "1"}, TUNED | {"recipe.learning_rate": "2"}, []),
        (TUNED | {"kernels": "winograd"}, TUNED | {"kernels": ""}, []),
        (TUNED, OURS, ["tuned (5 trials) against ours, not tuned here"]),
        (OURS, OURS | {"recipe.schedule": "constant"}, ["one cycle against constant"]),
        (OURS | {"recipe.batch_size": "4"}, OURS | {"recipe.batch_size": "16"}, ["4 against 16"]),
        (OURS, OLD, []),  # what is unknown is no difference
    ],
)
def test_what_differs_is_said_and_nothing_else(
    first: dict[str, str], second: dict[str, str], differing: list[str]
) -> None:
    said = recipes.difference(_cells(a=first, b=second), "a", "b")
    assert bool(said) == bool(differing)
    assert all(words in said for words in differing)


def test_verdict_is_followed_by_how_its_two_best_differ() -> None:
    cells = _cells(a=TUNED, b=OURS, c=TUNED)
    summary = cells.assign(mse=[1.0, 2.0, 3.0])
    assert "a and b differ" in recipes.beside(cells, summary)
    assert recipes.beside(cells[:1], summary[:1]) == ""
