"""The ConvGRU encoder-forecaster as jhhuang96's code goes about it: two products a step."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.encoder_forecaster import ConvGRUForecaster
from tests.literal import _forecaster
from tests.literal._forecaster import State, Weights

FRAME = (1, 8, 12)
TINY: dict[str, Any] = {"first": 3, "widths": (4, 6, 8), "last": 5, "kernel": 3, "group": 2}


def weights(model: ConvGRUForecaster) -> Weights:
    """The published parameters, whose gates come in the order z, r."""
    return _forecaster.weights(model, ("gates", "candidate"))


def training_loss(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    """The MSE of the frames after the context; nothing is scheduled."""
    context, future = clip[:, :context_frames], clip[:, context_frames:]
    return F.mse_loss(prediction(w, context, future.shape[1]), future)


def prediction(w: Weights, context: Tensor, horizon: int) -> Tensor:
    """The next frames [B,horizon,C,H,W] after `context` [B,T,C,H,W]."""
    return _forecaster.prediction(w, _step, context, horizon)


def _step(w: Weights, name: str, x: Tensor, state: State) -> State:
    h = state[0]
    z, r = _forecaster.product(w, f"{name}.gates", x, h).split(h.shape[1], 1)
    z, r = torch.sigmoid(z), torch.sigmoid(r)
    candidate = torch.tanh(_forecaster.product(w, f"{name}.candidate", x, r * h))
    return ((1 - z) * h + z * candidate,)
