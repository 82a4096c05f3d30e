"""How a model is built, trained and validated, by task: prediction and recognition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.train.held_out import Batch, Forward, HeldOut
from datasets.contract import Dataset, LabelledDataset, Spec, TaskName
from models.contract import Classifier, Predictor, TrainingBatch


class Task(ABC):
    """A task on clips of one `spec`.

    Attributes:
        validation: the metric key of what validation measures: the lower, the better.
    """

    validation: ClassVar[str]

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    @abstractmethod
    def build(self, cls: type[Any], options: Mapping[str, Any]) -> Any:
        """A model of the class `cls` for the clips of the task."""

    @abstractmethod
    def blank(self) -> Batch:
        """A batch of one clip without content, float, on PyTorch's default device."""

    @abstractmethod
    def draw(self, dataset: Any, count: int, generator: torch.Generator) -> Batch:
        """`count` random training clips as bytes, on the generator's device."""

    @abstractmethod
    def fit(self, model: Any, batches: Iterable[Batch]) -> None:
        """Fit a model without parameters to `batches`, float."""

    @abstractmethod
    def losses(self, model: Any) -> tuple[str, ...]:
        """The methods of `model` that give the losses of one training step, in turn."""

    @abstractmethod
    def loss_arguments(
        self, batch: Batch, progress: float, generator: torch.Generator | None
    ) -> tuple[object, ...]:
        """The arguments of each of these methods for a `batch`, float."""

    @abstractmethod
    def forward(self, model: Any, clips: Tensor) -> Tensor:
        """The output of `model` for `clips`, in validation and test."""

    @abstractmethod
    def check(self, output: Tensor, frames: Tensor) -> None:
        """Raise a ValueError where the `output` for the clips `frames` has the wrong shape."""

    @abstractmethod
    def validate(self, forward: Forward, held_out: HeldOut) -> float:
        """The validation value that picks the weights: the lower, the better."""


class Prediction(Task):
    """The horizon is predicted from the context; validation is the MSE of clamped predictions."""

    validation = "val/mse"

    def build(self, cls: type[Predictor], options: Mapping[str, Any]) -> Predictor:
        """A predictor for frames of the task's shape."""
        return cls(self.spec.frame_shape, **options)

    def blank(self) -> Batch:
        """One clip without content."""
        return (torch.empty(1, self.spec.clip_frames, *self.spec.frame_shape),)

    def draw(self, dataset: Dataset, count: int, generator: torch.Generator) -> Batch:
        """`count` random training clips as bytes."""
        return (dataset.train_clips(count, generator),)

    def fit(self, model: Predictor, batches: Iterable[Batch]) -> None:
        """Fit a predictor without parameters to clips."""
        model.fit(clips for (clips,) in batches)

    def losses(self, model: Predictor) -> tuple[str, ...]:
        """The losses the model names."""
        return model.losses

    def loss_arguments(
        self, batch: Batch, progress: float, generator: torch.Generator | None
    ) -> tuple[object, ...]:
        """One `TrainingBatch`."""
        (clips,) = batch
        return (TrainingBatch(clips, self.spec.context_frames, progress, generator),)

    def forward(self, model: Any, clips: Tensor) -> Tensor:
        """The horizon [B,horizon,C,H,W] after the context of `clips`."""
        prediction: Tensor = model(clips[:, : self.spec.context_frames], self.spec.horizon)
        return prediction

    def check(self, output: Tensor, frames: Tensor) -> None:
        """Raise a ValueError where a prediction has another shape than the truth."""
        expected, got = list(frames[:, self.spec.context_frames :].shape), list(output.shape)
        if got != expected:
            raise ValueError(f"the prediction has shape {got}, the truth {expected}")

    def validate(self, forward: Forward, held_out: HeldOut) -> float:
        """MSE of predictions clamped to [0,1], over pixels, frames and sequences."""
        errors = []
        for batch in held_out.passes(forward):
            self.check(batch.output, batch.frames)
            truth = batch.frames[:, self.spec.context_frames :]
            difference = batch.output.float().clamp(0, 1) - truth
            errors.append(difference.square().mean((-3, -2, -1)))
        return float(torch.cat(errors).cpu().double().mean())


class Recognition(Task):
    """Each clip gets a logit for every class; validation is the cross-entropy, in nats."""

    validation = "val/cross_entropy"

    def build(self, cls: type[Classifier], options: Mapping[str, Any]) -> Classifier:
        """A classifier of the task's classes in frames of its shape."""
        return cls(self.spec.frame_shape, len(self.spec.classes), **options)

    def blank(self) -> Batch:
        """One clip without content, of the first class."""
        clip = torch.empty(1, self.spec.clip_frames, *self.spec.frame_shape)
        return clip, torch.zeros(1, dtype=torch.long)

    def draw(self, dataset: LabelledDataset, count: int, generator: torch.Generator) -> Batch:
        """`count` random training clips as bytes, and the class of each."""
        return dataset.train_labelled_clips(count, generator)

    def fit(self, model: Classifier, batches: Iterable[Batch]) -> None:
        """Fit a classifier without parameters to clips and their classes."""
        model.fit((clips, labels) for clips, labels in batches)

    def losses(self, model: Classifier) -> tuple[str, ...]:
        """The one loss there is."""
        return ("training_loss",)

    def loss_arguments(
        self, batch: Batch, progress: float, generator: torch.Generator | None
    ) -> tuple[object, ...]:
        """Clips and their classes."""
        return batch

    def forward(self, model: Any, clips: Tensor) -> Tensor:
        """The logits [B,classes] of `clips`."""
        logits: Tensor = model(clips)
        return logits

    def check(self, output: Tensor, frames: Tensor) -> None:
        """Raise a ValueError where there is not one logit for each class."""
        expected, got = [len(frames), len(self.spec.classes)], list(output.shape)
        if got != expected:
            raise ValueError(f"the logits have shape {got}, not {expected}")

    def validate(self, forward: Forward, held_out: HeldOut) -> float:
        """Mean cross-entropy of the clips."""
        logits = []
        for batch in held_out.passes(forward):
            self.check(batch.output, batch.frames)
            logits.append(batch.output.float().cpu())
        clips: Any = held_out.clips  # a recognition cell has labelled ones
        labels = clips.labels[: held_out.count]
        losses = F.cross_entropy(torch.cat(logits), labels, reduction="none")
        return float(losses.double().mean())


_TASKS: dict[TaskName, type[Task]] = {"prediction": Prediction, "recognition": Recognition}


def task_of(name: TaskName, spec: Spec) -> Task:
    """The task `name` on clips of `spec`."""
    return _TASKS[name](spec)
