"""Frames of any height and width for predictors whose architecture takes only some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.contract import FrameShape, Predictor, Recipe, TrainingBatch, UnfitFrame


def build(cls: type[Predictor], frame_shape: FrameShape, options: Mapping[str, Any]) -> Predictor:
    """A predictor of `cls` for frames of `frame_shape`, padded where it takes multiples only."""
    try:
        return cls(frame_shape, **options)
    except UnfitFrame as unfit:
        channels, *sides = frame_shape
        height, width = (side + -side % unfit.multiple for side in sides)
        return Padded(cls((channels, height, width), **options), frame_shape)


def padded_from(model: torch.nn.Module) -> str:
    """Which padding `model` works with, such as "90x160 to 96x160"; "" for none."""
    if not isinstance(model, Padded):
        return ""
    given, taken = (
        "x".join(map(str, shape[1:])) for shape in (model.frame_shape, model.model.frame_shape)
    )
    return f"{given} to {taken}"


class Padded(Predictor):
    """A predictor of larger frames: it gets the edges repeated, its predictions are cropped.

    The frame lies in the middle. Its losses are those of the larger frames, the repeated edges
    included: a model's own losses may be of more than pixels.
    """

    def __init__(self, model: Predictor, frame_shape: FrameShape) -> None:
        """Have `model` predict frames of `frame_shape`, no higher or wider than its own."""
        super().__init__(frame_shape)
        self.model = model
        self.losses = model.losses
        for name in model.losses:
            setattr(self, name, MethodType(partial(Padded._loss, name=name), self))
        above, left = (
            (taken - given) // 2
            for taken, given in zip(model.frame_shape[1:], frame_shape[1:], strict=True)
        )
        below = model.frame_shape[1] - frame_shape[1] - above
        right = model.frame_shape[2] - frame_shape[2] - left
        self._padding = left, right, above, below

    def pad(self, clip: Tensor) -> Tensor:
        """The larger frames of `clip` [B,T,C,H,W]."""
        larger = F.pad(clip.flatten(0, 1), self._padding, "replicate")
        return larger.view(*clip.shape[:2], *larger.shape[1:])

    def crop(self, frames: Tensor) -> Tensor:
        """The middle [...,C,H,W] of larger `frames`."""
        (left, _, above, _), (_, height, width) = self._padding, self.frame_shape
        return frames[..., above : above + height, left : left + width]

    def forward(self, context: Tensor, horizon: int, *covariates: Tensor) -> Tensor:
        """The middle of what the model predicts, [B,horizon,C,H,W]."""
        return self.crop(self.model(self.pad(context), horizon, *covariates))

    def sample(
        self,
        context: Tensor,
        horizon: int,
        samples: int,
        generator: torch.Generator,
        *covariates: Tensor,
    ) -> Tensor:
        """The middle of its samples, [B,samples,horizon,C,H,W]."""
        padded = self.pad(context)
        return self.crop(self.model.sample(padded, horizon, samples, generator, *covariates))

    def fit(self, clips: Iterable[Tensor]) -> None:
        """Have the model see the larger frames."""
        self.model.fit(map(self.pad, clips))

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """The model's own."""
        return self.model.parameter_groups(recipe)

    def _loss(self, batch: TrainingBatch, name: str) -> Tensor:
        larger = TrainingBatch(
            self.pad(batch.clip),
            batch.context_frames,
            batch.progress,
            batch.generator,
            batch.part,
            batch.covariates,
        )
        larger.logged = batch.logged
        loss: Tensor = getattr(self.model, name)(larger)
        return loss
