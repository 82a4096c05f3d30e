"""The space that `bench tune` draws trials from: the table [tuning] of a suite file."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.recipe import Recipe, Schedule

HALTON_SEED = 0  # the same points for every suite, model and machine

Rate = Annotated[float, Field(gt=0, le=1e3)]
Flops = Annotated[float, Field(gt=0, le=1e30)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Tuning(BaseModel):
    """What differs between trials, and what does not; one for all models of a suite.

    The defaults are for small models under budgets of minutes.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    trials: int = Field(default=5, ge=1, le=1000)
    learning_rates: tuple[Rate, Rate] = (3e-4, 3e-2)
    """The lowest and the highest; rates are drawn evenly on a logarithmic scale."""
    batch_sizes: Annotated[tuple[BatchSize, ...], Field(min_length=1)] = (4,)
    schedule: Schedule = "one_cycle"
    clip_norm: Rate | None = 1.0
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1_000_001, 1_000_002)
    """Those of the trials; none may be a seed of the suite."""
    flops_per_sequence: tuple[Flops, Flops] | None = None
    """Where given, trials also draw the options that a model calls `tunable`, among those with
    which it predicts a sequence for as much; else each model is tuned as its size has it."""

    @field_validator("learning_rates", "flops_per_sequence")
    @classmethod
    def _rises(cls, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"write the lower bound first, not {bounds[0]:g} and {bounds[1]:g}")
        return bounds

    @field_validator("seeds", "batch_sizes")
    @classmethod
    def _differ(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(values)) < len(values):
            raise ValueError("a value is listed twice")
        return values

    def points(self) -> list[tuple[float, float, float]]:
        """The trials as points of the unit cube: rate, batch size, options.

        A scrambled Halton sequence, which covers the cube more evenly than random numbers do (Owen
        2017, "A randomized Halton algorithm in R"); more trials only add points.
        """
        from scipy.stats import qmc

        drawn = qmc.Halton(3, scramble=True, seed=HALTON_SEED).random(self.trials)
        return [(float(a), float(b), float(c)) for a, b, c in drawn]

    def recipe(self, point: tuple[float, float, float], source: str) -> Recipe:
        """The recipe of the trial at `point`."""
        low, high = map(math.log, self.learning_rates)
        rate = math.exp(low + point[0] * (high - low))
        return Recipe(
            source,
            learning_rate=float(f"{rate:.3g}"),  # as it is printed
            batch_size=self.batch_sizes[int(point[1] * len(self.batch_sizes))],
            schedule=self.schedule,
            clip_norm=self.clip_norm,
        )
