"""SwinLSTM-D as its paper and code have it, step by step: the yardstick of ours.

Drop path is off: `TINY` sets its rate to 0, other sizes are to be compared in evaluation mode.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.swinlstm import PatchExpanding, PatchMerging, SwinLSTMD
from tests.literal import swinlstm_b
from tests.literal.swinlstm_b import cell, embed, linear, norm, unembed

TINY = {
    "width": 4,
    "depths_down": (2, 3),
    "depths_up": (1, 2),
    "heads": (2, 4),
    "window": 2,
    "drop_path": 0.0,
}
FRAME = (1, 32, 48)

States = list[tuple[Tensor, Tensor] | None]


def weights(model: SwinLSTMD) -> dict[str, Tensor]:
    """The published parameters, in the published shapes."""
    w = swinlstm_b.weights(model)
    for n, layer in enumerate(model.resampled):
        if isinstance(layer, PatchMerging | PatchExpanding):
            # Named for the cell they follow.
            kind = "merge" if isinstance(layer, PatchMerging) else "expand"
            w[f"{n - 1}.{kind}.weight"] = layer.project.weight
            w[f"{n - 1}.{kind}_norm.weight"] = layer.norm.weight
            w[f"{n - 1}.{kind}_norm.bias"] = layer.norm.bias
            if kind == "merge":  # published: the four tokens of a square column by column
                for name in ("merge.weight", "merge_norm.weight", "merge_norm.bias"):
                    first, second, third, fourth = w[f"{n - 1}.{name}"].chunk(4, -1)
                    w[f"{n - 1}.{name}"] = torch.cat((first, third, second, fourth), -1)
    return w


def merge(w: dict[str, Tensor], c: int, x: Tensor, h: int) -> Tensor:
    """Tokens [B,h*w/4,2*C] of x [B,h*w,C]."""
    x = x.view(len(x), h, -1, x.shape[-1])
    squares = (x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2])
    joined = torch.cat(squares, -1).flatten(1, 2)
    return linear(w, f"{c}.merge", norm(w, f"{c}.merge_norm", joined))


def expand(w: dict[str, Tensor], c: int, x: Tensor, h: int) -> Tensor:
    """Tokens [B,4*h*w,C/2] of x [B,h*w,C]."""
    x = linear(w, f"{c}.expand", x)
    b, length, width = x.shape
    x = x.view(b, h, length // h, 2, 2, width // 4).permute(0, 1, 3, 2, 4, 5)
    return norm(w, f"{c}.expand_norm", x.reshape(b, 4 * length, width // 4))


def step(w: dict[str, Tensor], frame: Tensor, states: States) -> tuple[Tensor, States]:
    """The next frame and the new states."""
    x, h = embed(w, frame)
    new: States = []
    for c, state in enumerate(states):
        hidden, memory = cell(w, c, x, state, h)
        new.append((hidden, memory))
        if f"{c}.merge.weight" in w:
            x, h = merge(w, c, hidden, h), h // 2
        else:
            x, h = expand(w, c, hidden, h), 2 * h
    return unembed(w, x, h), new


def rollout(w: dict[str, Tensor], context: Tensor, steps: int) -> Tensor:
    """The frames [B,steps,C,H,W] after each frame that is read: the context, then its own."""
    predictions: list[Tensor] = []
    states: States = [None] * sum(name.endswith(".0.table") for name in w)
    for t in range(steps):
        frame = context[:, t] if t < context.shape[1] else predictions[-1]
        prediction, states = step(w, frame, states)
        predictions.append(prediction)
    return torch.stack(predictions, 1)


def training_loss(w: dict[str, Tensor], clip: Tensor, context_frames: int) -> Tensor:
    """MSE of the frames after the first."""
    outputs = rollout(w, clip[:, :context_frames], clip.shape[1] - 1)
    return F.mse_loss(outputs, clip[:, 1:])


def prediction(w: dict[str, Tensor], context: Tensor, horizon: int) -> Tensor:
    """The frames after the context."""
    return rollout(w, context, context.shape[1] + horizon - 1)[:, -horizon:]
