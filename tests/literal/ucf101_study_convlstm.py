"""The UCF101 study's ConvLSTM in its order of operations, layer by layer over the context.

The study stops after one frame. Beyond it each prediction is read back: the states go on, and the
statistics of the context normalise what comes after, in training mode.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.ucf101_study import UCF101StudyConvLSTM

FRAME = (1, 8, 12)
TINY = {"width": 4, "layers": 2}

Weights = dict[str, Tensor]


def weights(model: UCF101StudyConvLSTM) -> Weights:
    """The joint convolution, three peepholes and norm of each layer, and the last convolution."""
    w = {"pixels": model.output.weight, "pixels.bias": model.output.bias}
    for layer, cell in enumerate(model.layers):
        w[f"{layer}.conv"], w[f"{layer}.bias"] = cell.gates.weight, cell.gates.bias
        for gate, peephole in zip("ifo", cell.peephole, strict=True):
            w[f"{layer}.peep_{gate}"] = peephole
        w[f"{layer}.scale"], w[f"{layer}.shift"] = cell.norm.weight, cell.norm.bias
    return w


def training_loss(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    future = clip[:, context_frames:]
    return F.mse_loss(prediction(w, clip[:, :context_frames], future.shape[1]), future)


def prediction(w: Weights, context: Tensor, horizon: int) -> Tensor:
    layers = sum(key.endswith(".conv") for key in w)
    x, states = context.transpose(1, 2), []
    for layer in range(layers):
        hidden, h, c = run(w, layer, x)
        x = F.batch_norm(
            hidden, None, None, w[f"{layer}.scale"], w[f"{layer}.shift"], training=True
        )
        mean = hidden.mean((0, 2, 3, 4), keepdim=True)[:, :, 0]
        variance = hidden.var((0, 2, 3, 4), correction=0, keepdim=True)[:, :, 0]
        states.append((h, c, mean, variance))
    frames = [pixels(w, x[:, :, -1])]
    for _ in range(horizon - 1):
        x = frames[-1]
        for layer, (h, c, mean, variance) in enumerate(states):
            h, c = cell(w, layer, x, h, c)
            states[layer] = (h, c, mean, variance)
            scale, shift = w[f"{layer}.scale"], w[f"{layer}.shift"]
            x = (h - mean) / torch.sqrt(variance + 1e-5)
            x = x * scale[:, None, None] + shift[:, None, None]
        frames.append(pixels(w, x))
    return torch.stack(frames, 1)


def run(w: Weights, layer: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states [B,width,T,H,W] for x [B,c,T,H,W], and the last h and c."""
    width = len(w[f"{layer}.scale"])
    batch, _, steps, height, side = x.shape
    hidden = x.new_zeros(batch, width, steps, height, side)
    h, c = x.new_zeros(batch, width, height, side), x.new_zeros(batch, width, height, side)
    for t in range(steps):
        h, c = cell(w, layer, x[:, :, t], h, c)
        hidden[:, :, t] = h
    return hidden, h, c


def cell(w: Weights, layer: int, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """New h and c."""
    kernel = w[f"{layer}.conv"]
    both = F.conv2d(torch.cat((x, h), 1), kernel, w[f"{layer}.bias"], padding=kernel.shape[-1] // 2)
    i, f, g, o = torch.chunk(both, 4, 1)
    i = torch.sigmoid(i + w[f"{layer}.peep_i"] * c)
    f = torch.sigmoid(f + w[f"{layer}.peep_f"] * c)
    c = f * c + i * torch.relu(g)
    o = torch.sigmoid(o + w[f"{layer}.peep_o"] * c)
    return o * torch.relu(c), c


def pixels(w: Weights, x: Tensor) -> Tensor:
    """The frame that a map [B,width,H,W] stands for."""
    padding = w["pixels"].shape[-1] // 2
    return torch.sigmoid(F.conv2d(x, w["pixels"], w["pixels.bias"], padding=padding))
