"""What is chosen with a model, as plain data: its sizes, its recipe, its paper. No torch here."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

TaskName = Literal["prediction", "recognition"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine", "one_cycle", "plateau"]
Origin = Literal["authors", "borrowed", "ours"]
"""Whose recipe it is: of the model's own authors, of somebody's for another model or task, ours."""

_LARGEST_BATCH = 1_000_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained. Schedules run over `progress`, the fraction of the budget spent.

    Raises:
        ValueError: where a field is of another type or out of its range; it says which.
    """

    source: str
    learning_rate: float
    batch_size: int
    optimizer: Optimizer = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    plateau_factor: float = 0.5
    """What the rate of schedule "plateau" is multiplied by once validations stop to improve."""
    plateau_patience: int = 4
    """How many validations in a row may be no better before that, as epochs in published code."""
    clip_norm: float | None = None
    """The longest gradient of all parameters together; longer ones are shortened."""
    clip_value: float | None = None
    """The largest element of a gradient; larger ones are cut."""
    origin: Origin = "ours"
    trials: int = 0
    """Of how many recipes, tried on validation, it was the best; 0 where that was not done."""

    def __post_init__(self) -> None:
        limits: list[tuple[str, str, bool]] = [
            ("source", "text", isinstance(self.source, str)),
            ("origin", "authors, borrowed or ours", self.origin in get_args(Origin)),
            ("trials", "a whole number from 0 on", _is_whole(self.trials, 0)),
            ("learning_rate", "a number above 0", _is_number(self.learning_rate, above=0)),
            ("batch_size", f"a whole number from 1 to {_LARGEST_BATCH:,}", self._has_a_batch),
            ("optimizer", "adam, adamw or sgd", self.optimizer in get_args(Optimizer)),
            ("betas", "two numbers in [0, 1)", _are_fractions(self.betas)),
            ("momentum", "a number in [0, 1)", _is_fraction(self.momentum)),
            ("weight_decay", "a number from 0 on", _is_number(self.weight_decay, least=0)),
            ("schedule", " or ".join(get_args(Schedule)), self.schedule in get_args(Schedule)),
            ("plateau_factor", "a number above 0 and below 1", self._falls_on_a_plateau),
            ("plateau_patience", "a whole number from 0 on", _is_whole(self.plateau_patience, 0)),
            ("clip_norm", "a number above 0, or left out", _may_clip(self.clip_norm)),
            ("clip_value", "a number above 0, or left out", _may_clip(self.clip_value)),
        ]
        for name, wanted, is_met in limits:
            if not is_met:
                given = repr(getattr(self, name))
                shown = given if len(given) <= 40 else f"{given[:37]}..."
                raise ValueError(f"{name} of a recipe is {wanted}, not {shown}")

    @property
    def _has_a_batch(self) -> bool:
        return _is_whole(self.batch_size, 1) and self.batch_size <= _LARGEST_BATCH

    @property
    def _falls_on_a_plateau(self) -> bool:
        return _is_number(self.plateau_factor, above=0) and self.plateau_factor < 1


TRAINING_FIELDS = tuple(
    field.name for field in fields(Recipe) if field.name not in ("source", "origin", "trials")
)
"""The fields of a recipe that decide how a model is trained; the others say whose it is."""


def _is_number(value: object, above: float = -math.inf, least: float = -math.inf) -> bool:
    """Whether `value` is a finite number, `above` the one and `least` the other; no bool is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return above < value >= least and value <= sys.float_info.max


def _is_whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and _is_number(value, least=0) and value < 1


def _are_fractions(values: object) -> bool:
    return isinstance(values, tuple) and len(values) == 2 and all(map(_is_fraction, values))


def _may_clip(limit: object) -> bool:
    return limit is None or _is_number(limit, above=0)


@dataclass(frozen=True, slots=True)
class Size:
    """One size of a model: the keyword arguments that build it and the recipe that trains it."""

    recipe: Recipe
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paper:
    """Where a model comes from."""

    title: str
    year: int
    url: str


DEFAULT_RECIPE = Recipe(source="the harness's default", learning_rate=1e-3, batch_size=16)


def small_recipe(learning_rate: float, how: str, batch_size: int = 4) -> Recipe:
    """Our recipe for small sizes on a CPU, under budgets of minutes; `how` it was found."""
    return Recipe(
        source=f"ours; {how}",
        learning_rate=learning_rate,
        batch_size=batch_size,
        schedule="one_cycle",
        clip_norm=1.0,
    )
