"""The literal transcriptions of published code in `tests/literal`, as models to be trained."""

from __future__ import annotations

import importlib
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bench import PACKAGE
from bench.errors import UserError
from bench.suite import catalogue
from bench.suite.cell import Cell
from bench.suite.fingerprint import REPOSITORY
from models.contract import FrameShape, Model, Predictor, TrainingBatch

FOLDER = REPOSITORY / "tests" / "literal"


class Transcription(Protocol):
    """A module of that folder; one may say in MODE that it describes "eval" instead of "train"."""

    def weights(self, model: Any) -> dict[str, Tensor]:
        """The published parameters, from those of ours."""

    def training_loss(self, w: dict[str, Tensor], clip: Tensor, context_frames: int) -> Tensor:
        """The loss of the whole clip [B,T,C,H,W]."""

    def prediction(self, w: dict[str, Tensor], context: Tensor, horizon: int) -> Tensor:
        """The next frames."""


def require_folder() -> None:
    """Make sure that the transcriptions are here.

    Raises:
        UserError: they are not: they are no part of an installed package, and import ours by their
            plain names.
    """
    if PACKAGE != "bench" or not FOLDER.is_dir():
        raise UserError(
            "the literal transcriptions are in tests/literal of a checkout of nextframe: run"
            " `python -m bench speed` there, or leave out --against"
        )


def has_transcription(cls: type[Model]) -> bool:
    """Whether there is one of the model: of a built-in one, that is."""
    is_ours = catalogue.all_models().get(cls.name) is cls
    return is_ours and (FOLDER / f"{cls.name}.py").is_file()


def transcription(cls: type[Model]) -> Transcription:
    """The transcription of a model that has one."""
    module: Any = importlib.import_module(f"tests.literal.{cls.name}")
    return module  # type: ignore[no-any-return]


class LiteralCell(Cell):
    """A cell whose model is the transcription of the model that it names."""

    @cached_property
    def model_class(self) -> type[Model]:
        """The transcription, with the weights that the model would begin with."""
        cls = catalogue.predictors()[catalogue.model(self.model).name]
        return as_model(cls, transcription(cls))


class ComparableCell(Cell):
    """A cell whose model does just what its transcription does: one loss, nothing by chance."""

    @cached_property
    def model_class(self) -> type[Model]:
        """The model, whose dropout and drop path are off."""
        cls = catalogue.predictors()[catalogue.model(self.model).name]
        return without_chance(cls, transcription(cls))


def as_model(cls: type[Predictor], literal: Transcription) -> type[Predictor]:
    """The transcription of `cls` as a model: built alike, with the weights of one built so."""

    class Literal(Predictor):
        name = cls.name
        sizes = cls.sizes

        def __init__(self, frame_shape: FrameShape, **options: Any) -> None:
            super().__init__(frame_shape)
            self._learnt, self._kept = nn.ParameterList(), nn.Module()
            self._names: list[str] = []
            self._settings: dict[str, Any] = {}
            for name, value in literal.weights(cls(frame_shape, **options)).items():
                copy = value.detach().clone(memory_format=torch.contiguous_format)
                if value.requires_grad:
                    self._names.append(name)
                    self._learnt.append(nn.Parameter(copy))
                elif value.is_floating_point():
                    self._kept.register_buffer(name.replace(".", "/"), copy)
                else:  # a number of groups: the host's, which reads no tensor in a step
                    self._settings[name] = copy if copy.is_meta else copy.item()

        def _weights(self) -> dict[str, Any]:
            learnt = dict(zip(self._names, self._learnt, strict=True))
            kept = {name.replace("/", "."): value for name, value in self._kept.named_buffers()}
            return {**learnt, **kept, **self._settings}

        def training_loss(self, batch: TrainingBatch) -> Tensor:
            return literal.training_loss(self._weights(), batch.clip, batch.context_frames)

        def forward(self, context: Tensor, horizon: int) -> Tensor:
            return literal.prediction(self._weights(), context, horizon)

    return Literal


def without_chance(cls: type[Predictor], literal: Transcription) -> type[Predictor]:
    """`cls` where it does what its transcription does: dropout and drop path off, one loss."""
    normalises_batches = getattr(literal, "MODE", "train") == "train"

    class Comparable(cls):  # type: ignore[valid-type, misc]
        name = cls.name
        takes_covariates = False  # a transcription takes none

        def __init__(self, frame_shape: FrameShape, **options: Any) -> None:
            super().__init__(frame_shape, **options)
            self.losses = ("training_loss",)  # a transcription has no other

        def train(self, mode: bool = True) -> Comparable:
            super().train(False)
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.train(normalises_batches)
            return self

    return Comparable
