"""Parameters and floating-point operations of a model, counted without running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.train.task import task_of
from datasets.contract import Spec
from models.contract import Model


class Cost:
    """Parameters of a model and its FLOPs per clip, counted on PyTorch's `meta` device.

    A multiply-add counts as two FLOPs; attention as its matrix products. FLOPs are None where the
    model needs values, not shapes alone.
    """

    def __init__(self, cls: type[Model], options: Mapping[str, Any], spec: Spec) -> None:
        """Build `cls` with `options` for the clips of `spec`."""
        self._task = task_of(cls.task, spec)
        with torch.device("meta"):
            self._model = self._task.build(cls, options)
            self._batch = self._task.blank()

    @property
    def parameters(self) -> int:
        """The number of trainable parameters."""
        return sum(p.numel() for p in self._model.parameters() if p.requires_grad)

    @cached_property
    def predict_flops(self) -> float | None:
        """FLOPs to predict one sequence, or to recognise one clip."""
        with torch.no_grad():
            context = self._batch[0][:, : self._task.spec.context_frames]
            return _count(lambda: self._task.forward(self._model, context))

    @cached_property
    def train_flops(self) -> float | None:
        """FLOPs to train on one clip, forward and backward."""
        if not self.parameters:
            return 0.0
        return _count(self._train)

    def _train(self) -> None:
        progress = torch.tensor(0.5, device="meta")
        arguments = self._task.loss_arguments(self._batch, progress, None)
        for name in self._task.losses(self._model):
            loss: Tensor = getattr(self._model, name)(*arguments)
            loss.backward()  # type: ignore[no-untyped-call]


def _count(work: Callable[[], object]) -> float | None:
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            work()
    except (RuntimeError, ValueError):  # needs content, not shapes alone
        return None
    return float(counter.get_total_flops())
