"""PredRNN-V2 in the order of operations of predrnn-pytorch and OpenSTL.

At progress 1 reverse scheduled sampling reads all of the context and nothing after it. Increments
are normalised, and normalised again by the cosine. The masks are only filled, not drawn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.predrnn_v2 import PredRNNV2
from tests.literal import predrnn
from tests.literal._patches import patch_side, rolled_out, to_patches
from tests.literal.predrnn import Weights

FRAME = (1, 8, 12)
TINY = {"width": 4, "layers": 3, "kernel": 3}

DECOUPLING = 0.1


def weights(model: PredRNNV2) -> Weights:
    """Those of PredRNN and the adapter."""
    return {**predrnn.weights(model), "adapter": model.adapter.weight}


def training_loss(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    patches = to_patches(clip, patch_side(w["0.x"], clip))
    outputs, decoupling = unroll(w, patches, context_frames)
    return F.mse_loss(outputs, patches[:, 1:]) + DECOUPLING * decoupling


def prediction(w: Weights, context: Tensor, horizon: int) -> Tensor:
    return rolled_out(lambda *known: unroll(w, *known)[0], w["0.x"], context, horizon)


def unroll(w: Weights, patches: Tensor, context_frames: int) -> tuple[Tensor, Tensor]:
    """Predictions of all frames but the first, channels last, and the decoupling loss."""
    b, total, height, width, channels = patches.shape
    mask = patches.new_zeros(b, total - 2, height, width, channels)
    mask[:, : context_frames - 1] = 1.0
    frames = patches.permute(0, 1, 4, 2, 3).contiguous()
    mask = mask.permute(0, 1, 4, 2, 3).contiguous()
    layers = (len(w) - 2) // 5
    zeros = [frames.new_zeros(b, w["0.h"].shape[1], height, width) for _ in range(layers)]
    h, c = list(zeros), list(zeros)
    m = torch.zeros_like(h[0])
    outputs: list[Tensor] = []
    overlaps: list[Tensor] = []
    for t in range(total - 1):
        x = frames[:, t]
        if t > 0:
            truth = mask[:, t - 1]
            x = truth * x + (1 - truth) * outputs[-1]
        for layer in range(layers):
            h[layer], c[layer], m, *added = predrnn.cell(w, layer, x, h[layer], c[layer], m)
            overlaps.append(overlap(w, *added))
            x = h[layer]
        outputs.append(F.conv2d(x, w["pixels"]))
    return torch.stack(outputs).permute(1, 0, 3, 4, 2).contiguous(), torch.stack(overlaps).mean()


def overlap(w: Weights, added_to_c: Tensor, added_to_m: Tensor) -> Tensor:
    """Mean |cosine| between the adapted increments, each channel's map a vector."""
    of_c, of_m = F.conv2d(added_to_c, w["adapter"]), F.conv2d(added_to_m, w["adapter"])
    of_c = F.normalize(of_c.view(*of_c.shape[:2], -1), dim=2)
    of_m = F.normalize(of_m.view(*of_m.shape[:2], -1), dim=2)
    return torch.mean(torch.abs(torch.cosine_similarity(of_c, of_m, dim=2)))
