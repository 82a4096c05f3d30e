"""PhyDNet in its authors' order of operations: frame by frame, moments filter by filter."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.phydnet import PhyDNet

FRAME = (1, 8, 12)
TINY: dict[str, Any] = {"width": 32, "hidden": 6, "layers": 3}

Weights = dict[str, Tensor]
State = tuple[Tensor, list[Tensor], list[Tensor]]


def weights(model: PhyDNet) -> Weights:
    """The published parameters; the gates of their ConvLSTMs come in the order i, f, o, g."""
    w: Weights = {}
    parts = {
        "E": "encoder", "Ep": "to_physical", "Er": "to_residual",
        "Dp": "from_physical", "Dr": "from_residual", "D": "decoder",
    }  # fmt: skip
    for theirs, ours in parts.items():
        for i, block in enumerate(model.get_submodule(ours)):
            layers = [block] if isinstance(block, nn.ConvTranspose2d) else [*block][:2]
            for name, layer in zip(("", ".norm"), layers, strict=False):
                w |= {f"{theirs}{i}{name}.{n}": p for n, p in layer.named_parameters()}
    cell = {"F1": "filters", "F1.norm": "norm", "F2": "combination", "K": "gate"}
    for theirs, ours in cell.items():
        part = model.physical.get_submodule(ours)
        w |= {f"{theirs}.{n}": p for n, p in part.named_parameters()}
    for layer, lstm in enumerate(model.residual):
        for name, gates in lstm.gates.named_parameters():
            i, f, g, o = gates.chunk(4)
            w[f"lstm{layer}.{name}"] = torch.cat((i, f, o, g))
    return w


def training_loss(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    """The loss of a batch that is not teacher-forced, as at the end of training."""
    context, future = clip[:, :context_frames], clip[:, context_frames:]
    loss, state = torch.zeros((), dtype=clip.dtype), _zeros(w, clip)
    for t in range(context_frames - 1):
        image, state = _step(w, context[:, t], state)
        loss = loss + F.mse_loss(image, context[:, t + 1])
    image = context[:, -1]
    for t in range(future.shape[1]):
        image, state = _step(w, image, state)
        loss = loss + F.mse_loss(image, future[:, t])
    wanted = torch.zeros(49, 7, 7, dtype=clip.dtype)
    for i in range(7):
        for j in range(7):
            wanted[7 * i + j, i, j] = 1
    for channel in range(w["F1.weight"].shape[1]):
        loss = loss + F.mse_loss(_moments(w["F1.weight"][:, channel]), wanted)
    return loss


def prediction(w: Weights, context: Tensor, horizon: int) -> Tensor:
    """The next frames [B,horizon,C,H,W] after `context` [B,T,C,H,W]."""
    state, images = _zeros(w, context), []
    for t in range(context.shape[1]):
        image, state = _step(w, context[:, t], state)
    images.append(image)
    while len(images) < horizon:
        image, state = _step(w, images[-1], state)
        images.append(image)
    return torch.stack(images, 1)


def _zeros(w: Weights, clip: Tensor) -> State:
    place = len(clip), clip.shape[3] // 4, clip.shape[4] // 4
    layers = sum(name.startswith("lstm") and name.endswith("weight") for name in w)
    widths = [len(w[f"lstm{layer}.bias"]) // 4 for layer in range(layers)]
    hidden = clip.new_zeros(place[0], len(w["F2.bias"]), *place[1:])
    h, c = ([clip.new_zeros(place[0], n, *place[1:]) for n in widths] for _ in range(2))
    return hidden, h, c


def _step(w: Weights, frame: Tensor, state: State) -> tuple[Tensor, State]:
    hidden, h, c = state
    x = frame
    for i, stride in enumerate((2, 1, 2)):
        x = _down(w, f"E{i}", x, stride)
    physical = _down(w, "Ep1", _down(w, "Ep0", x, 1), 1)
    residual = _down(w, "Er1", _down(w, "Er0", x, 1), 1)

    gate = torch.sigmoid(_conv(w, "K", torch.cat((physical, hidden), 1)))
    derivatives = F.group_norm(_conv(w, "F1", hidden), 7, w["F1.norm.weight"], w["F1.norm.bias"])
    tilde = hidden + _conv(w, "F2", derivatives)
    hidden = tilde + gate * (physical - tilde)

    h, c = list(h), list(c)
    for layer in range(len(h)):
        below = h[layer - 1] if layer else residual
        gates = _conv(w, f"lstm{layer}", torch.cat((below, h[layer]), 1))
        i_gate, f_gate, o_gate, g = torch.split(gates, h[layer].shape[1], 1)
        kept = torch.sigmoid(f_gate) * c[layer]
        c[layer] = kept + torch.sigmoid(i_gate) * torch.tanh(g)
        h[layer] = torch.sigmoid(o_gate) * torch.tanh(c[layer])

    of_physical = _up(w, "Dp1", _up(w, "Dp0", hidden, 1), 1)
    of_residual = _up(w, "Dr1", _up(w, "Dr0", h[-1], 1), 1)
    x = _up(w, "D1", _up(w, "D0", of_physical + of_residual, 2), 1)
    return torch.sigmoid(_grown(w, "D2", x, 2)), (hidden, h, c)


def _moments(filters: Tensor) -> Tensor:
    """Moments [49,7,7] of the filters [49,7,7] of one channel."""
    matrix = torch.zeros(7, 7, dtype=filters.dtype)
    for i in range(7):
        for a in range(7):
            matrix[i, a] = float(a - 3) ** i / math.factorial(i)
    return torch.stack([matrix @ kernel @ matrix.t() for kernel in filters])


def _conv(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    kernel = w[f"{name}.weight"]
    return F.conv2d(x, kernel, w[f"{name}.bias"], stride, padding=kernel.shape[-1] // 2)


def _grown(w: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    kernel, bias = w[f"{name}.weight"], w[f"{name}.bias"]
    return F.conv_transpose2d(x, kernel, bias, stride, padding=1, output_padding=stride - 1)


def _down(w: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    return _activated(w, name, _conv(w, name, x, stride))


def _up(w: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    return _activated(w, name, _grown(w, name, x, stride))


def _activated(w: Weights, name: str, x: Tensor) -> Tensor:
    x = F.group_norm(x, 16, w[f"{name}.norm.weight"], w[f"{name}.norm.bias"])
    return F.leaky_relu(x, 0.2)
