"""The check that training goes on from a saved state as if it had not stopped."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.check.promises import FRAME, require
from bench.train.hidden_state import changed, hidden_state, recorded
from bench.train.step import Training, fabric_on
from bench.train.task import task_of
from datasets.contract import LabelledClips, LabelledDataset, Spec, TaskName
from models.contract import Recipe

STEPS = 1
"""Before the stop, and after it."""
CLASSES = tuple("abcde")
SPECS: dict[TaskName, Spec] = {
    "prediction": Spec(FRAME, 3, 2),
    "recognition": Spec(FRAME, 4, 0, CLASSES),
}


class Noise(LabelledDataset):
    """Random clips of random classes, to train on alone."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        shape = (count, self.spec.clip_frames, *self.spec.frame_shape)
        clips = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        return clips, torch.randint(len(CLASSES), (count,), generator=generator)

    def held_out(self, split: object) -> LabelledClips:
        raise NotImplementedError


def require_resumable(build: Callable[[], Any], task: TaskName, recipe: Recipe) -> None:
    """Raise `ContractBroken` where a model trained without a stop differs from one resumed.

    Args:
        build: a new model, always with the same weights.
        task: its task.
        recipe: how it is trained.
    """
    if not [*build().parameters()]:
        return
    recipe = replace(recipe, batch_size=2)
    fabric = fabric_on("cpu", "32")

    def training() -> Training:
        spec = SPECS[task]
        return Training(build(), recipe, task_of(task, spec), Noise(spec), 0, fabric)

    def train(one: Training, first: int) -> None:
        for number in range(first, first + STEPS):
            one.step(number, number / (2 * STEPS))
        one.batches.drop()

    whole, resumed, file = training(), training(), io.BytesIO()
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
