"""E3D-LSTM in the order of operations of its authors' code, channels last as there.

The zigzag memory is handed on, as in the paper, and variances have 1e-5 added. A convolution of a
pair of frames is written as products with the two halves of its kernel. The masks of sampling are
drawn by numpy loops there; here they are only filled, so this is the faster.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from models.e3d_lstm import E3DLSTM
from tests.literal._patches import patch_side, rolled_out, to_patches

FRAME = (1, 8, 12)
TINY = {"width": 4, "layers": 3, "kernel": 3}

Weights = dict[str, Tensor]


def weights(model: E3DLSTM) -> Weights:
    """Of each layer the convolutions of x, h, m, new c and new m, and the norms, with biases.

    Of the two biases of new c and new m, whose sum ours is, each has half.
    """
    w = {"frame": model.output.weight.unflatten(1, (-1, 2)), "frame.bias": model.output.bias}
    for layer, cell in enumerate(model.cells):
        of_c, of_m = cell.memories_to_gate.weight.chunk(2, 1)
        w |= {
            f"{layer}.new_c": of_c,
            f"{layer}.new_m": of_m,
            f"{layer}.new_c_bias": cell.memories_to_gate.bias / 2,
            f"{layer}.new_m_bias": cell.memories_to_gate.bias / 2,
            f"{layer}.last": cell.memories_to_hidden.weight,
            f"{layer}.last.bias": cell.memories_to_hidden.bias,
            f"{layer}.c.norm": cell.norm.weight,
            f"{layer}.c.norm.bias": cell.norm.bias,
        }
        for name, part in (
            ("x", cell.from_input),
            ("h", cell.from_hidden),
            ("m", cell.from_memory),
        ):
            w[f"{layer}.{name}"] = part.convolution.weight
            w[f"{layer}.{name}.bias"] = part.convolution.bias
            w[f"{layer}.{name}.norm"] = part.norm.weight
            w[f"{layer}.{name}.norm.bias"] = part.norm.bias
    return w


def training_loss(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    patches = to_patches(clip, patch_side(w["0.x"], clip))
    error = unroll(w, patches, context_frames) - patches[:, 1:]
    return (error.square().sum() / 2 + error.abs().sum()) / error.numel()


def prediction(w: Weights, context: Tensor, horizon: int) -> Tensor:
    return rolled_out(partial(unroll, w), w["0.x"], context, horizon)


def unroll(w: Weights, patches: Tensor, context_frames: int) -> Tensor:
    """Predictions of all frames but the first, channels last, as `patches` [B,T,h,w,c] are."""
    b, total, height, width, channels = patches.shape
    mask = patches.new_zeros(b, total - context_frames - 1, height, width, channels)
    layers = (len(w) - 2) // 20
    zeros = patches.new_zeros(b, 2, height, width, w["0.last"].shape[0])
    h, c = [zeros] * layers, [zeros] * layers
    past: list[list[Tensor]] = [[] for _ in range(layers)]
    m = zeros
    inputs = [torch.zeros_like(patches[:, 0])]
    outputs: list[Tensor] = []
    for t in range(total - 1):
        x = patches[:, t]
        if t >= context_frames:
            truth = mask[:, t - context_frames]
            x = truth * x + (1 - truth) * outputs[-1]
        inputs.append(x)
        x = torch.stack(inputs[t:], 1)
        for layer in range(layers):
            past[layer].append(c[layer])
            everything = torch.cat(past[layer], 1)
            h[layer], c[layer], m = cell(w, layer, x, h[layer], c[layer], m, everything)
            x = h[layer]
        earlier, later = w["frame"][:, :, 0, 0, 0], w["frame"][:, :, 1, 0, 0]
        pixels = h[-1][:, 0] @ earlier.T + h[-1][:, 1] @ later.T + w["frame.bias"]
        outputs.append(pixels)
    return torch.stack(outputs, 1)


def cell(
    w: Weights, layer: int, x: Tensor, h: Tensor, c: Tensor, m: Tensor, past: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """New h, c and m, each [B,2,h,w,C], of x and of all cell states `past` [B,2t,h,w,C]."""
    i_h, g_h, r_h, o_h = normalised(w, f"{layer}.h", h).chunk(4, -1)
    i_x, g_x, r_x, o_x, i_x2, g_x2, f_x2 = normalised(w, f"{layer}.x", x).chunk(7, -1)
    i = torch.sigmoid(i_x + i_h)
    r = torch.sigmoid(r_x + r_h)
    g = torch.tanh(g_x + g_h)
    query, keys = r.flatten(1, 3), past.flatten(1, 3)
    attention = torch.softmax(query @ keys.transpose(1, 2), -1) @ keys
    c = layer_norm(w, f"{layer}.c", c + attention.view(c.shape)) + i * g
    i_m, f_m, g_m, m_m = normalised(w, f"{layer}.m", m).chunk(4, -1)
    i2 = torch.sigmoid(i_x2 + i_m)
    f2 = torch.sigmoid(f_x2 + f_m + 1.0)
    g2 = torch.tanh(g_x2 + g_m)
    m = f2 * torch.tanh(m_m) + i2 * g2
    o_c = convolution(c, w[f"{layer}.new_c"], w[f"{layer}.new_c_bias"])
    o_m = convolution(m, w[f"{layer}.new_m"], w[f"{layer}.new_m_bias"])
    o = torch.tanh(o_x + o_h + o_c + o_m)
    both = torch.cat((c, m), -1) @ w[f"{layer}.last"].flatten(1).T + w[f"{layer}.last.bias"]
    return torch.tanh(both) * torch.sigmoid(o), c, m


def convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Both frames with both halves of the kernel; after the later one come zeros."""
    earlier, later = x.permute(0, 1, 4, 2, 3).unbind(1)
    first, second = weight.unbind(2)
    padding = weight.shape[-1] // 2
    of_both = F.conv2d(earlier, first, bias, padding=padding)
    of_both = of_both + F.conv2d(later, second, padding=padding)
    of_later = F.conv2d(later, first, bias, padding=padding)
    return torch.stack((of_both, of_later), 1).permute(0, 1, 3, 4, 2)


def normalised(w: Weights, name: str, x: Tensor) -> Tensor:
    return layer_norm(w, name, convolution(x, w[name], w[f"{name}.bias"]))


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """Over all but the batch, with a gain and a shift for each channel."""
    axes = (1, 2, 3, 4)
    centred = x - x.mean(axes, keepdim=True)
    scaled = centred / torch.sqrt(centred.square().mean(axes, keepdim=True) + 1e-5)
    return scaled * w[f"{name}.norm"] + w[f"{name}.norm.bias"]
