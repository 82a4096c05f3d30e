"""Parameters and floating-point operations of a model, counted without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from datasets.contract import Spec
from models.contract import Predictor


@dataclass(frozen=True, slots=True)
class Cost:
    """What one sequence costs; FLOPs are None where the model cannot run on shapes alone."""

    parameters: int
    predict_flops: float | None
    train_flops: float | None


def cost(cls: type[Predictor], options: Mapping[str, Any], spec: Spec) -> Cost:
    """Parameters, and FLOPs (two per multiply-add) to predict and to train on one sequence.

    Counted on PyTorch's `meta` device, where tensors have shapes but no content. Attention counts
    as the matrix products it is made of.
    """
    with torch.device("meta"):
        model = cls(spec.frame_shape, **options)
    parameters = sum(p.numel() for p in model.parameters())
    clip = torch.empty(1, spec.clip_frames, *spec.frame_shape, device="meta")

    def predict() -> None:
        with torch.no_grad():
            model(clip[:, : spec.context_frames], spec.horizon)

    def train() -> None:
        model.training_loss(clip, spec.context_frames, 0.5, None).backward()  # type: ignore[no-untyped-call]

    return Cost(parameters, _count(predict), _count(train) if parameters else 0.0)


def _count(work: Any) -> float | None:
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            work()
    except (NotImplementedError, RuntimeError, ValueError):  # needs content, not shapes alone
        return None
    return float(counter.get_total_flops())
