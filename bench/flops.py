"""Parameters and floating-point operations of a model, counted without running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from datasets.contract import Spec
from models.contract import Predictor


class Cost:
    """What one sequence costs a model, counted on PyTorch's `meta` device: shapes, no content.

    FLOPs are two per multiply-add; attention counts as the matrix products it is made of. They
    are None where the model cannot run on shapes alone.
    """

    def __init__(self, cls: type[Predictor], options: Mapping[str, Any], spec: Spec) -> None:
        """Build `cls` with `options` for the frames of `spec`."""
        with torch.device("meta"):
            self._model = cls(spec.frame_shape, **options)
            self._clip = torch.empty(1, spec.clip_frames, *spec.frame_shape)
        self._spec = spec

    @property
    def parameters(self) -> int:
        """How many numbers are learnt."""
        return sum(p.numel() for p in self._model.parameters() if p.requires_grad)

    @cached_property
    def predict_flops(self) -> float | None:
        """To predict one sequence."""
        context = self._clip[:, : self._spec.context_frames]
        with torch.no_grad():
            return _count(lambda: self._model(context, self._spec.horizon))

    @cached_property
    def train_flops(self) -> float | None:
        """To train on one sequence, forward and backward."""
        if not self.parameters:
            return 0.0
        return _count(self._train)

    def _train(self) -> None:
        for name in self._model.losses:
            loss: Tensor = getattr(self._model, name)(
                self._clip, self._spec.context_frames, 0.5, None
            )
            loss.backward()  # type: ignore[no-untyped-call]


def _count(work: Callable[[], object]) -> float | None:
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            work()
    except (RuntimeError, ValueError):  # needs content, not shapes alone
        return None
    return float(counter.get_total_flops())
