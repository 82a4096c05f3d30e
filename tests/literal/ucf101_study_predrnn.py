"""The UCF101 study's "PredRNN" in its order of operations, step by step through the layers.

The study stops after one frame. Beyond it each prediction is read back and the states go on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.ucf101_study import UCF101StudyPredRNN

FRAME = (1, 8, 12)
TINY = {"width": 4, "layers": 2}

Weights = dict[str, Tensor]


def weights(model: UCF101StudyPredRNN) -> Weights:
    """The x, h and m convolutions of each layer, and the last convolution."""
    w = {"pixels": model.output.weight, "pixels.bias": model.output.bias}
    for layer, cell in enumerate(model.layers):
        weight, width = cell.gates.weight, cell.width
        parts = weight.split((weight.shape[1] - 2 * width, width, width), 1)
        w[f"{layer}.x"], w[f"{layer}.h"], w[f"{layer}.m"] = parts
        w[f"{layer}.bias"] = cell.gates.bias
    return w


def training_loss(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    future = clip[:, context_frames:]
    return F.mse_loss(prediction(w, clip[:, :context_frames], future.shape[1]), future)


def prediction(w: Weights, context: Tensor, horizon: int) -> Tensor:
    layers = sum(key.endswith(".x") for key in w)
    shape = (len(context), w["0.h"].shape[1], *context.shape[3:])
    h, c, m = ([context.new_zeros(shape) for _ in range(layers)] for _ in range(3))
    frames = list(context.unbind(1))
    for t in range(len(frames) + horizon - 1):
        x = frames[t]
        for layer in range(layers):
            h[layer], c[layer], m[layer] = cell(w, layer, x, h[layer], c[layer], m[layer])
            x = h[layer]
        if t >= context.shape[1] - 1:
            out = convolve(x, w["pixels"], w["pixels.bias"])
            frames.append(torch.sigmoid(out))
    return torch.stack(frames[-horizon:], 1)


def cell(
    w: Weights, layer: int, x: Tensor, h: Tensor, c: Tensor, m: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """New h, c and m."""
    combined = (
        convolve(x, w[f"{layer}.x"], w[f"{layer}.bias"])
        + convolve(h, w[f"{layer}.h"])
        + convolve(m, w[f"{layer}.m"])
    )
    i, f, o, g, r = torch.split(combined, h.shape[1], 1)
    i, f, o, r = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o), torch.sigmoid(r)
    g = torch.relu(g)
    c = f * c + i * g
    m = r * m + (1 - r) * c
    return o * torch.relu(c + m), c, m


def convolve(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)
