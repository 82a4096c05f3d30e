"""The check that training goes on from a saved state as if it had not stopped."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch

from bench.check.promises import require
from bench.check.training import training_on_noise
from bench.train.hidden_state import changed, hidden_state, recorded
from bench.train.step import Training
from datasets.contract import Spec
from models.contract import Recipe

STEPS = 1
"""Before the stop, and after it."""


def require_resumable(build: Callable[[], Any], spec: Spec, recipe: Recipe) -> None:
    """Raise `ContractBroken` where a model trained without a stop differs from one resumed.

    Args:
        build: a new model, always with the same weights.
        spec: of the clips that it is for.
        recipe: how it is trained.
    """
    if not [*build().parameters()]:
        return

    def train(one: Training, first: int) -> None:
        for number in range(first, first + STEPS):
            one.step(number, number / (2 * STEPS))
        one.batches.drop()

    whole, resumed = (training_on_noise(build(), spec, recipe) for _ in range(2))
    file = io.BytesIO()
    train(whole, 0)
    torch.save(whole.state(), file)
    file.seek(0)
    resumed.restore(torch.load(file))
    lost = changed(*(hidden_state(one.model.module) for one in (resumed, whole)))
    train(whole, STEPS)
    train(resumed, STEPS)
    differ = changed(recorded(whole.model.module), recorded(resumed.model.module))
    why = f"{', '.join(lost[:3])} is not in it" if lost else "no attribute of the model says why"
    weight = differ[0] if differ else ""
    require(not differ, f"resumed from its saved state, training gives another {weight}: {why}")
