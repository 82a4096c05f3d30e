"""A model in training for a few steps of noise, as the checks of resuming and replaying need it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.check.promises import FRAME
from bench.train.step import Training, fabric_on
from bench.train.task import task_of
from datasets.contract import LabelledClips, LabelledDataset, Spec, TaskName
from models.contract import Recipe

CLASSES = tuple("abcde")
SPECS: dict[TaskName, Spec] = {
    "prediction": Spec(FRAME, 3, 2),
    "recognition": Spec(FRAME, 4, 0, CLASSES),
}


class Noise(LabelledDataset):
    """Random clips of random classes, to train on alone."""

    def __init__(self, spec: Spec) -> None:
        """Clips of `spec`."""
        self.spec = spec

    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clips [count,T,C,H,W] and their classes."""
        shape = (count, self.spec.clip_frames, *self.spec.frame_shape)
        drawn: Any = {"generator": generator, "device": generator.device}
        clips = torch.randint(256, shape, dtype=torch.uint8, **drawn)
        return clips, torch.randint(len(CLASSES), (count,), **drawn)

    def held_out(self, split: object) -> LabelledClips:
        """None."""
        raise NotImplementedError


def training_on_noise(model: Any, task: TaskName, recipe: Recipe) -> Training:
    """`model` on a CPU in float32, with batches of two clips."""
    spec, recipe = SPECS[task], replace(recipe, batch_size=2)
    fabric = fabric_on("cpu", "32")
    return Training(model, recipe, task_of(task, spec), Noise(spec), 0, fabric)
