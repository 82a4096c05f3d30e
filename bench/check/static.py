"""The check that a training step is static: recorded once, its replays are the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.check.promises import require
from bench.check.tape import Tape
from bench.check.training import training_on_noise
from bench.train.static import NotStatic
from bench.train.warm_up import copied
from datasets.contract import Spec
from models.contract import Recipe

WHY = "the training step cannot be replayed as one CUDA graph, so that it will run eagerly"


def require_static(build: Callable[[], Any], spec: Spec, recipe: Recipe) -> None:
    """Raise `ContractBroken` where a step, recorded at one progress, is not that at another.

    Args:
        build: a new model.
        spec: of the clips that it is for.
        recipe: how it is trained.
    """
    model = build()
    if not [*model.parameters()]:
        return
    training = training_on_noise(model, spec, recipe)
    start = copied(training.state())

    def step(number: int, progress: float) -> list[Tensor]:
        """The loss of that step from the start, and the weights after it."""
        loss = training.step(number, progress)
        training.batches.drop()
        weights = [each.clone() for each in training.state()["model"].values()]
        training.restore(start)
        return [loss, *weights]

    eager = step(1, 0.3)
    try:
        training.record(Tape, 0)
    except NotStatic as error:
        require(False, f"{WHY}: {error}")
    training.restore(start)
    step(0, 0.9)
    pairs = zip(eager, step(1, 0.3), strict=True)  # NaN is equal to itself: it is told elsewhere
    same = all(torch.allclose(*pair, rtol=0, atol=0, equal_nan=True) for pair in pairs)
    require(same, f"{WHY}: it depends on more than its clips, `progress` and PyTorch's generators")
