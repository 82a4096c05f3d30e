"""PredRNN in the order of operations of predrnn-pytorch and OpenSTL.

Their masks are drawn by numpy loops and copied; here they are only filled, so this is the faster.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from models.predrnn import PredRNN, STLSTMCell
from tests.literal._patches import patch_side, rolled_out, to_patches

FRAME = (1, 8, 12)
TINY = {"width": 4, "layers": 3, "kernel": 3}

Weights = dict[str, Tensor]


def weights(model: PredRNN) -> Weights:
    """Those of each layer, and of the convolution to pixels."""
    w = {"pixels": model.output.weight}
    for layer, cell in enumerate(model.cells):
        w |= of_cell(layer, cell)
    return w


def of_cell(layer: int, cell: STLSTMCell) -> Weights:
    """The convolutions of x (7 gates), h (4), m (3) and of the new memories."""
    temporal, spatial = cell.temporal.weight, cell.spatial.weight
    width = len(temporal) // 4
    inputs = temporal.shape[1] - width
    of_x = temporal[: 3 * width, :inputs], spatial[:, :inputs], temporal[3 * width :, :inputs]
    return {
        f"{layer}.x": torch.cat(of_x),
        f"{layer}.h": temporal[:, inputs:],
        f"{layer}.m": spatial[:, inputs:],
        f"{layer}.o": cell.memories_to_gate.weight,
        f"{layer}.last": cell.memories_to_hidden.weight,
    }


def training_loss(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    patches = to_patches(clip, patch_side(w["0.x"], clip))
    return F.mse_loss(unroll(w, patches, context_frames), patches[:, 1:])


def prediction(w: Weights, context: Tensor, horizon: int) -> Tensor:
    return rolled_out(partial(unroll, w), w["0.x"], context, horizon)


def unroll(w: Weights, patches: Tensor, context_frames: int) -> Tensor:
    """Predictions of all frames but the first, channels last, as `patches` [B,T,h,w,c] are."""
    b, total, height, width, channels = patches.shape
    mask = patches.new_zeros(b, total - context_frames - 1, height, width, channels)
    frames = patches.permute(0, 1, 4, 2, 3).contiguous()
    mask = mask.permute(0, 1, 4, 2, 3).contiguous()
    layers = len(w) // 5
    zeros = [frames.new_zeros(b, w["0.h"].shape[1], height, width) for _ in range(layers)]
    h, c = list(zeros), list(zeros)
    m = torch.zeros_like(h[0])
    outputs: list[Tensor] = []
    for t in range(total - 1):
        x = frames[:, t]
        if t >= context_frames:
            truth = mask[:, t - context_frames]
            x = truth * x + (1 - truth) * outputs[-1]
        for layer in range(layers):
            h[layer], c[layer], m, _, _ = cell(w, layer, x, h[layer], c[layer], m)
            x = h[layer]
        outputs.append(F.conv2d(x, w["pixels"]))
    return torch.stack(outputs).permute(1, 0, 3, 4, 2).contiguous()


def cell(w: Weights, layer: int, x: Tensor, h: Tensor, c: Tensor, m: Tensor) -> tuple[Tensor, ...]:
    """New h, c and m, and what was added to c and to m."""
    width, padding = h.shape[1], w["0.x"].shape[-1] // 2
    of_x = F.conv2d(x, w[f"{layer}.x"], padding=padding)
    of_h = F.conv2d(h, w[f"{layer}.h"], padding=padding)
    of_m = F.conv2d(m, w[f"{layer}.m"], padding=padding)
    i_x, f_x, g_x, i_x2, f_x2, g_x2, o_x = of_x.split(width, 1)
    i_h, f_h, g_h, o_h = of_h.split(width, 1)
    i_m, f_m, g_m = of_m.split(width, 1)
    i = torch.sigmoid(i_x + i_h)
    f = torch.sigmoid(f_x + f_h + 1.0)
    g = torch.tanh(g_x + g_h)
    added_to_c = i * g
    c = f * c + added_to_c
    i2 = torch.sigmoid(i_x2 + i_m)
    f2 = torch.sigmoid(f_x2 + f_m + 1.0)
    g2 = torch.tanh(g_x2 + g_m)
    added_to_m = i2 * g2
    m = f2 * m + added_to_m
    both = torch.cat((c, m), 1)
    o = torch.sigmoid(o_x + o_h + F.conv2d(both, w[f"{layer}.o"], padding=padding))
    return o * torch.tanh(F.conv2d(both, w[f"{layer}.last"])), c, m, added_to_c, added_to_m
