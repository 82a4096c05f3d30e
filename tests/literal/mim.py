"""MIM in the order of operations of its authors' code without normalisation, and of OpenSTL.

What MIM-S remembers begins at zero with every clip, as in the former. Their masks are drawn by
numpy loops and copied; here they are only filled, so this is the faster.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from models.convlstm import ConvLSTMCell
from models.mim import MIM
from tests.literal import predrnn
from tests.literal._patches import patch_side, rolled_out, to_patches

FRAME = (1, 8, 12)
TINY = {"width": 4, "layers": 3, "kernel": 3}

Weights = dict[str, Tensor]


def weights(model: MIM) -> Weights:
    """Of the ST-LSTM layer those of PredRNN's; of each block its convolutions and its two cells."""
    w = {"pixels": model.output.weight} | predrnn.of_cell(0, model.bottom)
    for layer, (differ, block) in enumerate(zip(model.changes, model.blocks, strict=True), 1):
        w[f"{layer}.x"] = block.from_input.weight
        w[f"{layer}.h"] = block.from_hidden.weight
        w[f"{layer}.m"] = block.from_memory.weight
        w[f"{layer}.last"] = block.memories_to_hidden.weight
        w |= of_cell(f"{layer}.n", differ) | of_cell(f"{layer}.s", block.stationary)
    return w


def of_cell(name: str, cell: ConvLSTMCell) -> Weights:
    """The x and h convolutions of MIM-N or MIM-S, and its peepholes."""
    of_x, of_h = cell.gates.weight.chunk(2, 1)
    peepholes = zip("ifo", cell.peephole, strict=True)
    return {f"{name}.x": of_x, f"{name}.h": of_h} | {f"{name}.peep_{g}": p for g, p in peepholes}


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
    layers = 1 + (len(w) - 6) // 14
    zero = frames.new_zeros(b, w["0.h"].shape[1], height, width)
    h, c, s = [zero] * layers, [zero] * layers, [zero] * layers
    d, n = [zero] * layers, [zero] * layers
    m = zero
    outputs: list[Tensor] = []
    for t in range(total - 1):
        x = frames[:, t]
        if t >= context_frames:
            truth = mask[:, t - context_frames]
            x = truth * x + (1 - truth) * outputs[-1]
        previous = h[0]
        h[0], c[0], m, _, _ = predrnn.cell(w, 0, x, h[0], c[0], m)
        for layer in range(1, layers):
            if t > 0:
                change = h[0] - previous if layer == 1 else d[layer - 1]
                d[layer], n[layer] = peephole_cell(w, f"{layer}.n", change, d[layer], n[layer])
            x = h[layer - 1]
            h[layer], c[layer], m, s[layer] = block(
                w, layer, x, d[layer], h[layer], c[layer], m, s[layer]
            )
        outputs.append(F.conv2d(h[-1], w["pixels"]))
    return torch.stack(outputs).permute(1, 0, 3, 4, 2).contiguous()


def peephole_cell(w: Weights, name: str, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """MIM-N or MIM-S: a ConvLSTM step."""
    padding = w[f"{name}.x"].shape[-1] // 2
    i_x, f_x, g_x, o_x = F.conv2d(x, w[f"{name}.x"], padding=padding).chunk(4, 1)
    i_h, f_h, g_h, o_h = F.conv2d(h, w[f"{name}.h"], padding=padding).chunk(4, 1)
    i = torch.sigmoid(i_h + i_x + c * w[f"{name}.peep_i"])
    f = torch.sigmoid(f_h + f_x + c * w[f"{name}.peep_f"] + 1.0)
    c = f * c + i * torch.tanh(g_h + g_x)
    return torch.sigmoid(o_h + o_x + c * w[f"{name}.peep_o"]) * torch.tanh(c), c


def block(
    w: Weights, layer: int, x: Tensor, d: Tensor, h: Tensor, c: Tensor, m: Tensor, s: Tensor
) -> tuple[Tensor, ...]:
    """New h, c, m and s of a MIM block."""
    padding = w[f"{layer}.x"].shape[-1] // 2
    i_x, f_x, g_x, o_x = F.conv2d(x, w[f"{layer}.x"], padding=padding).chunk(4, 1)
    i_t, g_t, o_t = F.conv2d(h, w[f"{layer}.h"], padding=padding).chunk(3, 1)
    i_s, f_s, g_s, o_s = F.conv2d(m, w[f"{layer}.m"], padding=padding).chunk(4, 1)
    i = torch.sigmoid(i_x + i_t)
    g = torch.tanh(g_x + g_t)
    i2 = torch.sigmoid(i_x + i_s)
    f2 = torch.sigmoid(f_x + f_s + 1.0)
    g2 = torch.tanh(g_x + g_s)
    o = torch.sigmoid(o_x + o_t + o_s)
    m = f2 * m + i2 * g2
    kept, s = peephole_cell(w, f"{layer}.s", d, c, s)
    c = kept + i * g
    return o * torch.tanh(F.conv2d(torch.cat((c, m), 1), w[f"{layer}.last"])), c, m, s
