"""What a model must be: a `Predictor` or `Classifier`, its sizes, the recipe that trains it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.recipe import (
    DEFAULT_RECIPE,
    Optimizer,
    Paper,
    Recipe,
    Schedule,
    Size,
    TaskName,
    small_recipe,
)

__all__ = [
    "WHOLE",
    "Classifier",
    "FrameShape",
    "Model",
    "Optimizer",
    "Paper",
    "Part",
    "Predictor",
    "Recipe",
    "Schedule",
    "Size",
    "TaskName",
    "TrainingBatch",
    "UnfitFrame",
    "require_multiple",
    "small_recipe",
]

FrameShape = tuple[int, int, int]
"""Channels, height and width of one frame."""


class UnfitFrame(ValueError):
    """An architecture takes other heights and widths.

    Attributes:
        multiple: of what both have to be multiples; frames are padded to it.
    """

    def __init__(self, multiple: int, because: str, frame_shape: FrameShape) -> None:
        _, height, width = frame_shape
        super().__init__(
            f"frame height and width must be multiples of {multiple} ({because}), "
            f"not {height} x {width}"
        )
        self.multiple = multiple


def require_multiple(frame_shape: FrameShape, multiple: int, because: str) -> None:
    """Have frames of another shape padded: a model calls it first where it needs a `multiple`.

    Raises:
        UnfitFrame: height or width of `frame_shape` is none of `multiple`; the harness builds the
            model for larger frames instead, pads its clips and crops its predictions.
    """
    if frame_shape[1] % multiple or frame_shape[2] % multiple:
        raise UnfitFrame(multiple, because, frame_shape)


class Part(NamedTuple):
    """Which part of a step's clips a process has, where several devices share the step."""

    number: int = 0
    of: int = 1
    """How many equal parts there are."""
    generator: torch.Generator | None = None
    """One that begins alike in all of their processes."""


WHOLE = Part()
"""All clips of a step."""


class TrainingBatch:
    """What a predictor learns from in one training step.

    Attributes:
        clip: context and future frames together, [B,T+horizon,C,H,W] in [0,1].
        context_frames: how many of them are given at test time.
        progress: fraction of the budget spent, in [0,1], as a float32 tensor without dimensions on
            the clip's device; schedules are functions of it.
        generator: the source of random numbers, on the clip's device; None for PyTorch's own.
            Layers that draw from PyTorch's global state, such as dropout, may: it is seeded for
            every step. What is drawn by `uniform` is the same on one device and on several.
        part: which of the step's clips these are, where several devices share it.
        covariates: the numbers beside each frame, float32 [B,T+horizon,K], of a model that takes
            them where the data set has any; else None.
        logged: scalars to be recorded beside the loss, by name.

    A step is *static* where Python does the same in each: shapes stay, and it reads the value of no
    tensor, `progress` included (no `if`, `max`, `float` or `.item()` of one: write `clamp`, `where`
    and masks that are always drawn). Then the whole step can be one CUDA graph, which spares the
    device thousands of launches. A model that needs values works, too, and runs eagerly.
    """

    def __init__(
        self,
        clip: Tensor,
        context_frames: int,
        progress: Tensor | float,
        generator: torch.Generator | None = None,
        part: Part = WHOLE,
        covariates: Tensor | None = None,
    ) -> None:
        self.part, self.covariates = part, covariates
        self.clip = clip
        self.context_frames = context_frames
        self.progress = torch.as_tensor(progress, dtype=torch.float32, device=clip.device)
        self.generator = generator
        self.logged: dict[str, Tensor] = {}

    @property
    def context(self) -> Tensor:
        """The frames given at test time, [B,T,C,H,W]."""
        return self.clip[:, : self.context_frames]

    @property
    def future(self) -> Tensor:
        """The frames to predict, [B,horizon,C,H,W]."""
        return self.clip[:, self.context_frames :]

    def uniform(self, *shape: int, clips: int | None) -> Tensor:
        """Random numbers in [0,1) of `shape`, whose dimension `clips` is that of the clips.

        Each clip of the step has its own, on however many devices the step is computed; all have
        the same where `clips` is None.
        """
        number, of, common = self.part
        whole = [side * of if n == clips else side for n, side in enumerate(shape)]
        drawn = torch.rand(whole, generator=common or self.generator, device=self.clip.device)
        if clips is None:
            return drawn
        return drawn.narrow(clips, number * shape[clips], shape[clips])

    def log(self, name: str, value: Tensor) -> None:
        """Have the scalar `value`, such as an auxiliary loss, recorded under `name`."""
        self.logged[name] = value.detach()


class Model(nn.Module, ABC):
    """What predictors and classifiers share: a name, a paper, sizes.

    Class attributes:
        name: how suites, tables and the command line call it (default: the class's name).
        paper: the publication it follows, if any.
        sizes: its sizes by name; a model with one size calls it "only".
        task: "prediction" of the next frames, or "recognition" of what a clip shows.
        tunable: options that a search for a small size may vary, each with the values to try.
    """

    name: ClassVar[str]
    paper: ClassVar[Paper | None] = None
    sizes: ClassVar[Mapping[str, Size]] = {"only": Size(DEFAULT_RECIPE)}
    task: ClassVar[TaskName]
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    @abstractmethod
    def forward(self, *arguments: Any) -> Tensor:
        """What the model makes of a clip; see the two kinds below."""

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """What the optimiser is built from: one group of all parameters.

        A model may split them and give a group options of its own, such as "lr" (the schedule
        multiplies it) or "weight_decay"; the others are those of `recipe`.
        """
        return [{"params": list(self.parameters())}]


class Predictor(Model):
    """A model that continues a video. Subclass it, write `forward`, and the harness does the rest.

    Class attributes, beside those of `Model`:
        losses: the methods that give the losses of one training step, in turn. After each, its
            gradients update the parameters that it depends on, and no others. A model whose options
            decide sets its own.
        takes_covariates: whether it makes use of the numbers that a data set may have beside each
            frame, such as actions. Where that has K of them, the model is built with
            `covariates=K`, `forward` and its own `sample` get one more argument, float32
            [B,T+horizon,K], and batches have them; elsewhere it gets none. All others are shown
            frames only.
    """

    task = "prediction"
    losses: tuple[str, ...] = ("training_loss",)
    takes_covariates: ClassVar[bool] = False

    def __init__(self, frame_shape: FrameShape) -> None:
        """Build for frames of `frame_shape` = (channels, height, width).

        Raises:
            ValueError: where the architecture cannot take that shape, naming the constraint.
        """
        super().__init__()
        self.frame_shape = frame_shape

    @classmethod
    def options_on(cls, context_frames: int, horizon: int) -> Mapping[str, Any]:
        """The options that clips of such lengths decide where nobody does: here none.

        A model that reads a window of fixed length says here how long that is.
        """
        return {}

    @abstractmethod
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next `horizon` frames [B,horizon,C,H,W] after `context` [B,T,C,H,W] in [0,1].

        Any T, any horizon; no state survives the call. A stochastic model draws from PyTorch's
        global state, which is seeded for every batch of an evaluation by its place.
        """

    def sample(
        self, context: Tensor, horizon: int, samples: int, generator: torch.Generator
    ) -> Tensor:
        """Several futures [B,samples,horizon,C,H,W] of `context` [B,T,C,H,W], all in [0,1].

        A model that overrides this is stochastic: it draws them from `generator`. Those of all
        other models are the same; without parameters to train such a one runs with one seed only.
        """
        prediction: Tensor = self(context, horizon)
        return prediction[:, None].repeat(1, samples, 1, 1, 1, 1)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """The scalar to minimise on `batch`: here the MSE of the future."""
        covariates = () if batch.covariates is None else (batch.covariates,)
        return F.mse_loss(self(batch.context, batch.future.shape[1], *covariates), batch.future)

    def fit(self, clips: Iterable[Tensor]) -> None:
        """Set the buffers of a predictor without parameters from training `clips` [B,T,C,H,W].

        Called once, in place of training; a predictor with parameters is never given it.
        """


class Classifier(Model):
    """A model that says which of `classes` a clip shows. Subclass it and write `forward`."""

    task = "recognition"

    def __init__(self, frame_shape: FrameShape, classes: int) -> None:
        """Build for frames of `frame_shape` = (channels, height, width) and that many classes.

        Raises:
            ValueError: where the architecture cannot take that shape, naming the constraint.
        """
        super().__init__()
        self.frame_shape = frame_shape
        self.classes = classes

    @abstractmethod
    def forward(self, clip: Tensor) -> Tensor:
        """Logits [B,classes] of `clip` [B,T,C,H,W] in [0,1]; any T, no state survives the call."""

    def training_loss(self, clip: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, the scalar to minimise, of `clip` [B,T,C,H,W] with int64 `labels` [B]."""
        return F.cross_entropy(self(clip), labels)

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set the buffers of a classifier without parameters from training clips and labels.

        Each batch is clips [B,T,C,H,W] in [0,1] and their int64 labels [B]. Called once, in place
        of training; a classifier with parameters is never given it.
        """
