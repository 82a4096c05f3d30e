"""LMC-Memory as Lee et al. 2021 and their code go about it, one product at a time."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.lmc_memory import LMCMemory

FRAME = (1, 16, 32)
TINY: dict[str, Any] = {"width": 8, "layers": 2, "slots": 5}


def weights(model: LMCMemory) -> dict[str, Tensor]:
    """The authors' parameters; of their two biases a gate, whose sum ours is, each has half."""
    width = len(model.cells[0].gates.weight) // 4
    w = {"slots": model.memory.slots}
    for name in ("encoder", "decoder", "attention", "memory.embedder"):
        part = name.split(".")[-1]
        w |= {f"{part}.{n}": p for n, p in model.get_submodule(name).named_parameters()}
    for name in ("context_encoder", "matching_encoder"):
        encoder = model.memory.get_submodule(name).children()
        for i, layer in enumerate(part for part in encoder if isinstance(part, nn.Conv3d)):
            w |= {f"{name}.{i}.{n}": p for n, p in layer.named_parameters()}
    for layer, cell in enumerate(model.cells):
        kernel, bias = cell.gates.weight, cell.gates.bias
        w[f"cell{layer}.x"], w[f"cell{layer}.h"] = kernel[:, :width], kernel[:, width:]
        w[f"cell{layer}.x_bias"] = w[f"cell{layer}.h_bias"] = bias / 2
    return w


def memorising_loss(w: dict[str, Tensor], clip: Tensor, context_frames: int) -> Tensor:
    """The loss of phase 1: the slots learn from the whole clip."""
    motion = _remember(w, "context_encoder", w["slots"], clip)
    return _loss(w, motion, clip, context_frames)


def training_loss(w: dict[str, Tensor], clip: Tensor, context_frames: int) -> Tensor:
    """The loss of phase 2: the slots are frozen, the context alone recalls them."""
    context = clip[:, :context_frames]
    motion = _remember(w, "matching_encoder", w["slots"].detach(), context)
    return _loss(w, motion, clip, context_frames)


def prediction(w: dict[str, Tensor], context: Tensor, horizon: int) -> Tensor:
    """The next frames [B,horizon,C,H,W] after `context` [B,T,C,H,W]."""
    motion = _remember(w, "matching_encoder", w["slots"], context)
    return _roll_out(w, motion, context, horizon)


def _loss(w: dict[str, Tensor], motion: Tensor, clip: Tensor, context_frames: int) -> Tensor:
    future = clip[:, context_frames:]
    error = _roll_out(w, motion, clip[:, :context_frames], future.shape[1]) - future
    return error.abs().mean() + error.square().mean()


def _roll_out(w: dict[str, Tensor], motion: Tensor, context: Tensor, horizon: int) -> Tensor:
    layers = sum(name.endswith(".x") for name in w)
    h, c = [torch.zeros_like(motion)] * layers, [torch.zeros_like(motion)] * layers
    predictions: list[Tensor] = []
    for t in range(context.shape[1] + horizon - 1):
        known = t < context.shape[1]
        x = _encode(w, context[:, t] if known else predictions[-1])
        for layer in range(layers):
            x, c[layer] = _cell(w, f"cell{layer}", x, h[layer], c[layer])
            h[layer] = x
        if t >= context.shape[1] - 1:
            predictions.append(_decode(w, h[-1], c[-1], motion))
    return torch.stack(predictions).transpose(0, 1)


def _cell(
    w: dict[str, Tensor], name: str, x: Tensor, h: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    of_x = F.conv2d(x, w[f"{name}.x"], w[f"{name}.x_bias"], padding=1).chunk(4, 1)
    of_h = F.conv2d(h, w[f"{name}.h"], w[f"{name}.h_bias"], padding=1).chunk(4, 1)
    i, g, f, o = (gate_of_x + gate_of_h for gate_of_x, gate_of_h in zip(of_x, of_h, strict=True))
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _encode(w: dict[str, Tensor], frame: Tensor) -> Tensor:
    x = frame
    for i, stride in ((0, 2), (2, 1), (4, 2), (6, 1)):
        x = F.conv2d(x, w[f"encoder.{i}.weight"], w[f"encoder.{i}.bias"], stride, 1)
        x = F.elu(x)
    return x


def _decode(w: dict[str, Tensor], h: Tensor, c: Tensor, motion: Tensor) -> Tensor:
    pooled = F.adaptive_avg_pool2d(torch.cat((c, motion), 1), 1).flatten(1)
    squeezed = F.relu(F.linear(pooled, w["attention.0.weight"], w["attention.0.bias"]))
    attention = F.linear(squeezed, w["attention.2.weight"], w["attention.2.bias"]).sigmoid()
    x = torch.cat((h, motion * attention.view(len(h), -1, 1, 1)), 1)
    for i, stride in ((0, 1), (2, 2), (4, 1), (6, 2)):
        x = F.elu(x) if i else x
        x = _grow(x, w, f"decoder.{i}", stride)
    return x


def _remember(w: dict[str, Tensor], encoder: str, slots: Tensor, clip: Tensor) -> Tensor:
    queries = _encode_motion(w, encoder, clip)
    batch, width, height, breadth = queries.shape
    rows = queries.permute(0, 2, 3, 1).reshape(-1, width)
    similarity = torch.mm(F.normalize(rows, dim=1), F.normalize(slots, dim=1).t())
    recalled = torch.mm(F.softmax(similarity, 1), slots)
    x = recalled.view(batch, height, breadth, width).permute(0, 3, 1, 2)
    for i in (0, 2):
        x = F.relu(_grow(x, w, f"embedder.{i}", 2))
    return x


def _encode_motion(w: dict[str, Tensor], name: str, clip: Tensor) -> Tensor:
    lead_in = [clip[:, :1]] * (9 - clip.shape[1])  # ours; theirs needs 9 frames
    clip = torch.cat((*lead_in, clip), 1)
    x = (clip[:, 1:] - clip[:, :-1]).transpose(1, 2)
    for i, pool in enumerate((1, 2, None, 2, None, 2)):
        x = F.relu(F.conv3d(x, w[f"{name}.{i}.weight"], w[f"{name}.{i}.bias"], padding=1))
        x = x if pool is None else F.max_pool3d(x, (pool, 2, 2))
    return F.adaptive_avg_pool3d(x, (1, *x.shape[3:])).squeeze(2)


def _grow(x: Tensor, w: dict[str, Tensor], name: str, stride: int) -> Tensor:
    weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
    return F.conv_transpose2d(x, weight, bias, stride, padding=1, output_padding=stride - 1)
