"""MAU in the order of operations of its authors' code: each layer's states in lists that grow."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.mau import MAU

TAU = 5
FRAME = (1, 8, 12)
TINY: dict[str, Any] = {"width": 4, "layers": 2, "kernel": 3}

Weights = dict[str, Tensor]


def weights(model: MAU) -> Weights:
    """Of each cell the convolutions of S (keys, gates) and T (gate, gates), and their norms."""
    w = {"frame.weight": model.output.weight, "frame.bias": model.output.bias}
    for name in ("encoder", "decoder"):
        layers = (part for part in model.get_submodule(name) if not isinstance(part, nn.LeakyReLU))
        for i, layer in enumerate(layers):
            w |= {f"{name}{i}.{n}": p for n, p in layer.named_parameters()}
    parts = {"s_next": "query", "t_next": "newest", "t": "of_temporal", "s": "of_spatial"}
    for layer, cell in enumerate(model.cells):
        for theirs, ours in parts.items():
            part = cell.get_submodule(ours)
            w |= {f"{layer}.{theirs}.{n}": p for n, p in part.convolution.named_parameters()}
            w |= {f"{layer}.{theirs}.norm.{n}": p for n, p in part.norm.named_parameters()}
    return w


def training_loss(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    """The MSE of all steps; those after the context read what the step before predicted."""
    return F.mse_loss(_unroll(w, clip, context_frames), clip[:, 1:])


def prediction(w: Weights, context: Tensor, horizon: int) -> Tensor:
    """The next frames [B,horizon,C,H,W] after `context` [B,T,C,H,W]."""
    unseen = torch.zeros_like(context[:, :1])
    clip = torch.cat((context, *[unseen] * horizon), 1)
    return _unroll(w, clip, context.shape[1])[:, -horizon:]


def _unroll(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    b, total, _, height, width = clip.shape
    mask = torch.zeros_like(clip[:, context_frames:])
    layers = sum(name.endswith(".t.weight") for name in w)
    channels = len(w["encoder0.weight"])
    zeros = clip.new_zeros(b, channels, height // 4, width // 4)
    t_now = [zeros.clone() for _ in range(layers)]
    t_past = [[zeros.clone() for _ in range(TAU)] for _ in range(layers)]
    s_past = [[zeros.clone() for _ in range(TAU)] for _ in range(layers)]
    frames: list[Tensor] = []
    for t in range(total - 1):
        x = clip[:, t]
        if t >= context_frames:
            truth = mask[:, t - context_frames]
            x = truth * x + (1 - truth) * frames[-1]
        for i in range(3):
            stride, padding = (1, 0) if i == 0 else (2, 1)
            x = F.conv2d(x, w[f"encoder{i}.weight"], w[f"encoder{i}.bias"], stride, padding)
            x = F.leaky_relu(x, 0.2)
        s = x
        for layer in range(layers):
            t_att = torch.stack(t_past[layer][-TAU:], 0)
            s_att = torch.stack(s_past[layer][-TAU:], 0)
            s_past[layer].append(s)
            t_now[layer], s = _cell(w, str(layer), t_now[layer], s, t_att, s_att)
            t_past[layer].append(t_now[layer])
        for i in range(2):
            x = F.leaky_relu(s, 0.2) if i else s
            weight, bias = w[f"decoder{i}.weight"], w[f"decoder{i}.bias"]
            s = F.conv_transpose2d(x, weight, bias, 2, padding=1, output_padding=1)
        frames.append(F.conv2d(s, w["frame.weight"], w["frame.bias"]))
    return torch.stack(frames, 0).permute(1, 0, 2, 3, 4).contiguous()


def _cell(
    w: Weights, name: str, t: Tensor, s: Tensor, t_att: Tensor, s_att: Tensor
) -> tuple[Tensor, Tensor]:
    """New T and S; `t_att` and `s_att` are [TAU,B,C,h,w]."""
    s_next = _normalised(w, f"{name}.s_next", s)
    t_next = _normalised(w, f"{name}.t_next", t)
    alike = [(s_att[i] * s_next).sum(dim=(1, 2, 3)) / math.sqrt(s[0].numel()) for i in range(TAU)]
    attention = F.softmax(torch.stack(alike, 0), 0).view(TAU, -1, 1, 1, 1)
    t_trend = (t_att * attention).sum(dim=0)
    t_gate = torch.sigmoid(t_next)
    t_fusion = t_gate * t + (1 - t_gate) * t_trend
    t_g, t_t, t_s = torch.split(_normalised(w, f"{name}.t", t_fusion), t.shape[1], 1)
    s_g, s_t, s_s = torch.split(_normalised(w, f"{name}.s", s), t.shape[1], 1)
    t_gate, s_gate = torch.sigmoid(t_g), torch.sigmoid(s_g)
    return t_gate * t_t + (1 - t_gate) * s_t, s_gate * s_s + (1 - s_gate) * t_s


def _normalised(w: Weights, name: str, x: Tensor) -> Tensor:
    kernel = w[f"{name}.weight"]
    x = F.conv2d(x, kernel, w[f"{name}.bias"], padding=kernel.shape[-1] // 2)
    return F.layer_norm(x, x.shape[1:], w[f"{name}.norm.weight"], w[f"{name}.norm.bias"])
