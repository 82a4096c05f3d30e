"""A model in training for a few steps of noise, as the checks of resuming and replaying need it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.check.promises import FRAME
from bench.train.step import Training, fabric_on
from bench.train.task import task_of
from datasets.contract import Covariate, LabelledClips, LabelledDataset, Spec, TaskName
from models.contract import Recipe

CLASSES = tuple("abcde")
SPECS: dict[TaskName, Spec] = {
    "prediction": Spec(FRAME, 3, 2),
    "recognition": Spec(FRAME, 4, 0, CLASSES),
}
COVARIATES = tuple(map(Covariate, "uvw"))


class Noise(LabelledDataset):
    """Random clips of random classes and covariates, to train on alone."""

    def __init__(self, spec: Spec) -> None:
        """Clips of `spec`."""
        self.spec = spec

    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clips [count,T,C,H,W] and their classes."""
        shape = (count, self.spec.clip_frames, *self.spec.frame_shape)
        drawn: Any = {"generator": generator, "device": generator.device}
        clips = torch.randint(256, shape, dtype=torch.uint8, **drawn)
        return clips, torch.randint(len(CLASSES), (count,), **drawn)

    def train_clips_with_covariates(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Clips [count,T,C,H,W] and their covariates."""
        shape = (count, self.spec.clip_frames, len(self.spec.covariates))
        drawn = torch.rand(shape, generator=generator, device=generator.device)
        return self.train_clips(count, generator), drawn

    def held_out(self, split: object) -> LabelledClips:
        """None."""
        raise NotImplementedError


def training_on_noise(model: Any, spec: Spec, recipe: Recipe) -> Training:
    """`model` on clips of `spec` on a CPU in float32, with batches of two clips."""
    recipe, fabric = replace(recipe, batch_size=2), fabric_on("cpu", "32")
    task = task_of("recognition" if spec.classes else "prediction", spec)
    return Training(model, recipe, task, Noise(spec), 0, fabric)
