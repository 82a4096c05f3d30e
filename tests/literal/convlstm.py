"""ConvLSTM in the order of operations of OpenSTL and predrnn-pytorch; the parts in use.

Their masks are drawn by numpy loops and copied; here they are only filled, so this is the faster.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from models.convlstm import ConvLSTM
from tests.literal._patches import patch_side, rolled_out, to_patches

FRAME = (1, 8, 12)
TINY = {"width": 4, "layers": 2, "kernel": 3}

Weights = dict[str, Tensor]


def weights(model: ConvLSTM) -> Weights:
    """The x and h convolutions of each layer, and that to pixels."""
    w = {"pixels": model.output.weight}
    for layer, cell in enumerate(model.cells):
        joint = cell.gates.weight
        inputs = joint.shape[1] - cell.width
        w[f"{layer}.x"], w[f"{layer}.h"] = joint[:, :inputs], joint[:, inputs:]
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
    layers = len(w) // 2
    zeros = [frames.new_zeros(b, w["0.h"].shape[1], height, width) for _ in range(layers)]
    h, c = list(zeros), list(zeros)
    outputs: list[Tensor] = []
    for t in range(total - 1):
        x = frames[:, t]
        if t >= context_frames:
            truth = mask[:, t - context_frames]
            x = truth * x + (1 - truth) * outputs[-1]
        for layer in range(layers):
            h[layer], c[layer] = cell(w, layer, x, h[layer], c[layer])
            x = h[layer]
        outputs.append(F.conv2d(x, w["pixels"]))
    return torch.stack(outputs).permute(1, 0, 3, 4, 2).contiguous()


def cell(w: Weights, layer: int, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """New h and c."""
    width, padding = h.shape[1], w["0.x"].shape[-1] // 2
    i_x, f_x, g_x, o_x = F.conv2d(x, w[f"{layer}.x"], padding=padding).split(width, 1)
    i_h, f_h, g_h, o_h = F.conv2d(h, w[f"{layer}.h"], padding=padding).split(width, 1)
    i = torch.sigmoid(i_x + i_h)
    f = torch.sigmoid(f_x + f_h)
    g = torch.tanh(g_x + g_h)
    c = f * c + i * g
    o = torch.sigmoid(o_x + o_h)
    return o * torch.tanh(c), c
