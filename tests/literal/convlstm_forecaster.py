"""The ConvLSTM encoder-forecaster as jhhuang96's code goes about it: [x, h] in one product."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.encoder_forecaster import ConvLSTMForecaster
from tests.literal import _forecaster
from tests.literal._forecaster import State, Weights

FRAME = (1, 8, 12)
TINY: dict[str, Any] = {"first": 3, "widths": (4, 6, 8), "last": 5, "kernel": 3, "group": 2}


def weights(model: ConvLSTMForecaster) -> Weights:
    """The published parameters, whose gates come in the order i, f, g, o."""
    return _forecaster.weights(model, ("gates",))


def training_loss(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    """The MSE of the frames after the context; nothing is scheduled."""
    context, future = clip[:, :context_frames], clip[:, context_frames:]
    return F.mse_loss(prediction(w, context, future.shape[1]), future)


def prediction(w: Weights, context: Tensor, horizon: int) -> Tensor:
    """The next frames [B,horizon,C,H,W] after `context` [B,T,C,H,W]."""
    return _forecaster.prediction(w, _step, context, horizon)


def _step(w: Weights, name: str, x: Tensor, state: State) -> State:
    h, c = state
    i, f, g, o = _forecaster.product(w, f"{name}.gates", x, h).split(h.shape[1], 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c
