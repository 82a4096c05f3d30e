"""PredRNN++ in the order of operations of OpenSTL, one convolution for each tensor; parts in use.

Its masks are drawn by numpy loops and copied; here they are only filled, so this is the faster.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from models.predrnn_pp import PredRNNPP
from tests.literal._patches import patch_side, rolled_out, to_patches

FRAME = (1, 8, 12)
TINY = {"width": 4, "layers": 3, "kernel": 3}

Weights = dict[str, Tensor]


def weights(model: PredRNNPP) -> Weights:
    """Of each layer the convolutions of x (7 gates), h (4), c (3), m (3), new c (4) and new m (1).

    Beside them that of both memories, those of the highway, and that to pixels.
    """
    w = {"pixels": model.output.weight}
    width = model.output.in_channels
    for layer, cell in enumerate(model.cells):
        inputs = cell.temporal.in_channels - 2 * width
        of_x, of_h, of_c = cell.temporal.weight.split((inputs, width, width), 1)
        to_m_of_x, to_m_of_c = cell.spatial.weight.split((inputs, width), 1)
        o_of_x, o_of_h, o_of_c, o_of_m = cell.to_gate.weight.split((inputs, *[width] * 3), 1)
        w[f"{layer}.x"] = torch.cat((of_x, to_m_of_x, o_of_x))
        w[f"{layer}.h"] = torch.cat((of_h, o_of_h))
        w[f"{layer}.c"] = of_c
        w[f"{layer}.m"] = cell.from_memory.weight
        w[f"{layer}.new_c"] = torch.cat((to_m_of_c, o_of_c))
        w[f"{layer}.new_m"] = o_of_m
        w[f"{layer}.last"] = cell.memories_to_hidden.weight
    w["highway.x"], w["highway.z"] = model.highway.gates.weight.split(width, 1)
    return w


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
    layers = (len(w) - 3) // 7
    zeros = [frames.new_zeros(b, w["0.h"].shape[1], height, width) for _ in range(layers)]
    h, c = list(zeros), list(zeros)
    m, z = torch.zeros_like(h[0]), torch.zeros_like(h[0])
    outputs: list[Tensor] = []
    for t in range(total - 1):
        x = frames[:, t]
        if t >= context_frames:
            truth = mask[:, t - context_frames]
            x = truth * x + (1 - truth) * outputs[-1]
        h[0], c[0], m = cell(w, 0, x, h[0], c[0], m)
        z = highway(w, h[0], z)
        h[1], c[1], m = cell(w, 1, z, h[1], c[1], m)
        for layer in range(2, layers):
            h[layer], c[layer], m = cell(w, layer, h[layer - 1], h[layer], c[layer], m)
        outputs.append(F.conv2d(h[-1], w["pixels"]))
    return torch.stack(outputs).permute(1, 0, 3, 4, 2).contiguous()


def cell(w: Weights, layer: int, x: Tensor, h: Tensor, c: Tensor, m: Tensor) -> tuple[Tensor, ...]:
    """New h, c and m."""
    width, padding = h.shape[1], w["0.x"].shape[-1] // 2

    def convolved(tensor: Tensor, name: str) -> tuple[Tensor, ...]:
        return F.conv2d(tensor, w[f"{layer}.{name}"], padding=padding).split(width, 1)

    i_x, f_x, g_x, i_x2, f_x2, g_x2, o_x = convolved(x, "x")
    i_h, f_h, g_h, o_h = convolved(h, "h")
    i_m, f_m, m_m = convolved(m, "m")
    i_c, f_c, g_c = convolved(c, "c")
    i = torch.sigmoid(i_x + i_h + i_c)
    f = torch.sigmoid(f_x + f_h + f_c + 1.0)
    g = torch.tanh(g_x + g_h + g_c)
    c = f * c + i * g
    i_c, f_c, g_c, o_c = convolved(c, "new_c")
    i2 = torch.sigmoid(i_x2 + i_m + i_c)
    f2 = torch.sigmoid(f_x2 + f_m + f_c + 1.0)
    g2 = torch.tanh(g_x2 + g_c)
    m = f2 * torch.tanh(m_m) + i2 * g2
    (o_m,) = convolved(m, "new_m")
    o = torch.tanh(o_x + o_h + o_c + o_m)
    return o * torch.tanh(F.conv2d(torch.cat((c, m), 1), w[f"{layer}.last"])), c, m


def highway(w: Weights, x: Tensor, z: Tensor) -> Tensor:
    """New state of the gradient highway."""
    padding = w["highway.x"].shape[-1] // 2
    of_x = F.conv2d(x, w["highway.x"], padding=padding)
    of_z = F.conv2d(z, w["highway.z"], padding=padding)
    p, u = (of_x + of_z).chunk(2, 1)
    p, u = torch.tanh(p), torch.sigmoid(u)
    return u * p + (1 - u) * z
