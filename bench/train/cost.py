"""Parameters and floating-point operations of a model, counted without running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.train.held_out import Batch
from bench.train.operations import Operations
from bench.train.task import task_for
from datasets.contract import Spec
from models.contract import Model


class Cost:
    """Parameters of a model and its FLOPs per clip, counted on PyTorch's `meta` device.

    A multiply-add counts as two FLOPs; attention as its matrix products. FLOPs are None where the
    model needs values, not shapes alone.
    """

    def __init__(
        self,
        cls: type[Model],
        options: Mapping[str, Any],
        spec: Spec,
        known: MutableMapping[str, float | None] | None = None,
    ) -> None:
        """Count for `cls` with `options` on the clips of `spec`, once a count is asked for.

        Args:
            cls: the model's class.
            options: the keyword arguments that build it.
            spec: the clips.
            known: counts by name that need not be counted again; it gets the others.
        """
        self._cls, self._options = cls, options
        self._task = task_for(cls, spec)
        self._known = {} if known is None else known

    @property
    def parameters(self) -> int:
        """The number of trainable parameters."""
        return int(self._of("parameters", self._count_parameters) or 0)

    @property
    def predict_flops(self) -> float | None:
        """FLOPs to predict one sequence, or to recognise one clip."""
        return self._of("predict_flops", lambda: _counted(self._predict).flops)

    @property
    def train_flops(self) -> float | None:
        """FLOPs to train on one clip, forward and backward."""
        return self._of("train_flops", lambda: self._training.flops)

    @property
    def train_bytes(self) -> float:
        """Bytes that the operations of training on one clip read and write; counts as FLOPs do."""
        return self._of("train_bytes", lambda: self._training.bytes) or 0.0

    @property
    def train_operations(self) -> float:
        """How many operations that takes, of a batch as many as of a clip."""
        return self._of("train_operations", lambda: self._training.operations) or 0.0

    @property
    def is_known(self) -> bool:
        """Whether parameters and `predict_flops` need not be counted."""
        return {"parameters", "predict_flops"} <= self._known.keys()

    def _of(self, name: str, count: Callable[[], float | None]) -> float | None:
        if name not in self._known:
            self._known[name] = count()
        return self._known[name]

    @cached_property
    def _model(self) -> Any:
        with torch.device("meta"):
            return self._task.build(self._cls, self._options)

    @cached_property
    def _batch(self) -> Batch:
        with torch.device("meta"):
            return self._task.blank()

    @cached_property
    def _training(self) -> _Work:
        return _counted(self._train) if self.parameters else _Work(0.0)

    def _count_parameters(self) -> int:
        return sum(p.numel() for p in self._model.parameters() if p.requires_grad)

    @torch.no_grad()
    def _predict(self) -> None:
        self._task.forward(self._model, *self._task.given(self._batch))

    def _train(self) -> None:
        progress = torch.tensor(0.5, device="meta")
        arguments = self._task.loss_arguments(self._batch, progress, None)
        for name in self._task.losses(self._model):
            loss: Tensor = getattr(self._model, name)(*arguments)
            loss.backward()  # type: ignore[no-untyped-call]


class _Work(NamedTuple):
    """What a pass asks of a device."""

    flops: float | None
    bytes: float | None = 0.0
    operations: float | None = 0.0


def _counted(work: Callable[[], None]) -> _Work:
    operations = Operations()
    try:
        with sdpa_kernel(SDPBackend.MATH), operations:
            work()
    except Exception:  # it needs content, not shapes alone; training tells of any other error
        return _Work(None, None, None)
    return _Work(float(operations.flops), operations.bytes, operations.count)
