"""How a model is built, trained and validated, by task: prediction and recognition."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import Invalid
from bench.train import any_size
from bench.train.held_out import Batch, Forward, HeldOut, Pass, require_covariates
from datasets.contract import Dataset, LabelledDataset, Spec, TaskName, to_unit
from models.contract import WHOLE, Classifier, Model, Part, Predictor, TrainingBatch

RESEMBLES = 0.75
"""The share of a clip's variation that an output in 0 to 255 may leave unexplained.

Values outside [0,1] are common and are clamped; those of a model that learnt badly may be large,
too. But to pass for frames in 0 to 255 they would have to be the picture, at least 34 times as
strong, while all black, a constant and noise leave all of its variation.
"""


class NotFinite(Invalid):
    """An output holds NaN or infinity."""


class Task(ABC):
    """A task on clips of one `spec`.

    Attributes:
        validation: the metric key of what validation measures: the lower, the better.
        output_name: what a model puts out, for messages.
    """

    validation: ClassVar[str]
    output_name: ClassVar[str]

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
        self,
        batch: Batch,
        progress: Tensor,
        generator: torch.Generator | None,
        part: Part = WHOLE,
    ) -> tuple[object, ...]:
        """The arguments of each of these methods for a `batch`, float: that `part` of a step's."""

    def given(self, batch: Batch) -> Batch:
        """What a model is given of a `batch` in validation and test."""
        clips, *covariates = batch
        return clips[:, : self.spec.context_frames], *covariates

    @abstractmethod
    def forward(self, model: Any, context: Tensor, *covariates: Tensor) -> Tensor:
        """The output of `model` for the `context` frames of clips, in validation and test."""

    def check(self, batch: Pass) -> None:
        """Make sure that the output for `batch` is one.

        Raises:
            ValueError: it has the wrong shape.
            Invalid: it holds integers, or what is no number, or what this task rules out.
        """
        expected, got = self.output_shape(batch), [*batch.output.shape]
        if got != expected:
            raise ValueError(f"{self.output_name} of shape {got}, not {expected}")
        if not batch.output.is_floating_point():
            raise Invalid(f"{self.output_name} of {batch.output.dtype}, not of floats")
        wrong = int((~batch.output.isfinite()).sum())
        if wrong:
            raise NotFinite(
                f"{wrong:,} of {batch.output.numel():,} values of the {self.output_name} from clip"
                f" {batch.first} on are NaN or infinite"
            )

    @abstractmethod
    def output_shape(self, batch: Pass) -> list[int]:
        """The shape that the output for `batch` should have."""

    @abstractmethod
    def validate(self, forward: Forward, held_out: HeldOut) -> float:
        """The validation value that picks the weights: the lower, the better."""


class Prediction(Task):
    """The horizon is predicted from the context; validation is the MSE of clamped predictions."""

    validation = "val/mse"
    output_name = "prediction"

    def build(self, cls: type[Predictor], options: Mapping[str, Any]) -> Predictor:
        """A predictor for clips of the task's shape and lengths, and as many covariates."""
        by_clips = cls.options_on(self.spec.context_frames, self.spec.horizon)
        known = inspect.signature(cls).parameters  # a subclass may have fixed some
        own = {name: value for name, value in by_clips.items() if name in known} | {**options}
        if numbers := len(self.spec.covariates):
            own["covariates"] = numbers
        return any_size.build(cls, self.spec.frame_shape, own)

    def blank(self) -> Batch:
        """One clip without content, and its covariates."""
        frames, numbers = self.spec.clip_frames, len(self.spec.covariates)
        covariates = (torch.empty(1, frames, numbers),) if numbers else ()
        return torch.empty(1, frames, *self.spec.frame_shape), *covariates

    def draw(self, dataset: Dataset, count: int, generator: torch.Generator) -> Batch:
        """`count` random training clips as bytes, and their covariates."""
        if not self.spec.covariates:
            return (dataset.train_clips(count, generator),)
        clips, covariates = dataset.train_clips_with_covariates(count, generator)
        require_covariates(covariates, clips, len(self.spec.covariates))
        return clips, covariates

    def fit(self, model: Predictor, batches: Iterable[Batch]) -> None:
        """Fit a predictor without parameters to clips."""
        model.fit(clips for clips, *_ in batches)

    def losses(self, model: Predictor) -> tuple[str, ...]:
        """The losses the model names."""
        return model.losses

    def loss_arguments(
        self,
        batch: Batch,
        progress: Tensor,
        generator: torch.Generator | None,
        part: Part = WHOLE,
    ) -> tuple[object, ...]:
        """One `TrainingBatch`."""
        context_frames = self.spec.context_frames
        clips, *covariates = batch
        return (TrainingBatch(clips, context_frames, progress, generator, part, *covariates),)

    def forward(self, model: Any, context: Tensor, *covariates: Tensor) -> Tensor:
        """The horizon [B,horizon,C,H,W] after the `context`."""
        prediction: Tensor = model(context, self.spec.horizon, *covariates)
        return prediction

    def output_shape(self, batch: Pass) -> list[int]:
        """That of the truth."""
        return [*batch.truth.shape]

    def check(self, batch: Pass) -> None:
        """As every task's.

        Raises:
            ValueError: as there.
            Invalid: as there, and where frames go from 0 to 255.
        """
        super().check(batch)
        _require_unit_range(batch, self.spec.context_frames)

    def validate(self, forward: Forward, held_out: HeldOut) -> float:
        """MSE of predictions clamped to [0,1], over pixels, frames and sequences."""
        errors = []
        for batch in held_out.passes(forward, self.spec.context_frames):
            self.check(batch)
            difference = batch.output.float().clamp(0, 1) - batch.truth
            errors.append(difference.square().mean((-3, -2, -1)))
        return float(torch.cat(held_out.of_all(errors)).cpu().double().mean())


class Recognition(Task):
    """Each clip gets a logit for every class; validation is the cross-entropy, in nats."""

    validation = "val/cross_entropy"
    output_name = "logits"

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
        self,
        batch: Batch,
        progress: Tensor,
        generator: torch.Generator | None,
        part: Part = WHOLE,
    ) -> tuple[object, ...]:
        """Clips and their classes."""
        return batch

    def given(self, batch: Batch) -> Batch:
        """Whole clips, without their classes."""
        return batch[:1]

    def forward(self, model: Any, context: Tensor, *covariates: Tensor) -> Tensor:
        """The logits [B,classes] of whole clips: all of their frames are `context`."""
        logits: Tensor = model(context)
        return logits

    def output_shape(self, batch: Pass) -> list[int]:
        """One logit for each class."""
        return [len(batch.clips), len(self.spec.classes)]

    def validate(self, forward: Forward, held_out: HeldOut) -> float:
        """Mean cross-entropy of the clips."""
        logits = []
        for batch in held_out.passes(forward, self.spec.context_frames):
            self.check(batch)
            logits.append(batch.output.float().cpu())
        clips: Any = held_out.clips  # a recognition cell has labelled ones
        labels = clips.labels[: held_out.count]
        losses = F.cross_entropy(torch.cat(held_out.of_all(logits)), labels, reduction="none")
        return float(losses.double().mean())


def _require_unit_range(batch: Pass, context_frames: int) -> None:
    """Raise `Invalid` where the output looks like frames in 0 to 255.

    That is where, divided by 255, it resembles the truth or the last frame of the context: it
    leaves at most `RESEMBLES` of their variation, clip by clip, for half of the clips that vary.
    """
    if not len(batch.output) or float(batch.output.amax()) < 2:
        return
    output = batch.output.float() / 255
    last = to_unit(batch.clips[:, context_frames - 1 : context_frames]).to(output.device)
    for frames in (batch.truth, last.expand_as(batch.truth)):
        clips = (-4, -3, -2, -1)
        variation = frames.var(clips, correction=0)
        left = (output - frames).square().mean(clips)
        alike = (left <= RESEMBLES * variation)[variation > 0]
        if alike.numel() and float(alike.float().mean()) >= 0.5:
            raise Invalid(
                f"the prediction goes up to {float(batch.output.amax()):.4g} and resembles the"
                " clips once divided by 255: frames are in [0,1]"
            )


_TASKS: dict[TaskName, type[Task]] = {"prediction": Prediction, "recognition": Recognition}


def task_of(name: TaskName, spec: Spec) -> Task:
    """The task `name` on clips of `spec`."""
    return _TASKS[name](spec)


def task_for(cls: type[Model], spec: Spec) -> Task:
    """That of a model of `cls` on clips of `spec`: shown frames only, where it takes no covariates.

    Then it is the task of clips that have none.
    """
    takes = issubclass(cls, Predictor) and cls.takes_covariates
    return task_of(cls.task, spec if takes else replace(spec, covariates=()))
