"""Action-conditioned PredRNN-V2 in the order of operations of predrnn-pytorch.

As `predrnn_v2`, with `conv_on_input` and `res_on_conv`: core/models/action_cond_predrnn_v2.py. The
numbers of a frame are channels beside its own, and no prediction takes their place.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.predrnn_v2 import ActionCell, PredRNNV2
from tests.literal.predrnn_v2 import DECOUPLING, overlap

Weights = dict[str, Tensor]


def weights(model: PredRNNV2) -> Weights:
    """Those of the encoders, of each layer, of the decoder and of the adapter."""
    assert isinstance(model.output, torch.nn.ConvTranspose2d)
    first, second = model.actions
    w = {
        "input1": model.to_half.weight,
        "input2": model.to_quarter.weight,
        "action1": first.weight,
        "action2": second.weight,
        "output1": model.from_quarter.weight,
        "output2": model.output.weight,
        "adapter": model.adapter.weight,
    }
    for layer, cell in enumerate(model.cells):
        assert isinstance(cell, ActionCell)
        i, f, g, o, *primed = cell.of_input.weight.chunk(7)
        bias_i, bias_f, bias_g, bias_o, *bias_primed = cell.of_input.bias.chunk(7)
        w |= {
            f"{layer}.x": torch.cat((i, f, g, *primed, o)),
            f"{layer}.x.bias": torch.cat((bias_i, bias_f, bias_g, *bias_primed, bias_o)),
        }
        for name, convolution in {
            "h": cell.of_hidden,
            "a": cell.of_actions,
            "m": cell.of_memory,
            "o": cell.memories_to_gate,
            "last": cell.memories_to_hidden,
        }.items():
            w[f"{layer}.{name}"] = convolution.weight
            w[f"{layer}.{name}.bias"] = convolution.bias
    return w


def training_loss(w: Weights, clip: Tensor, context_frames: int, numbers: Tensor) -> Tensor:
    outputs, decoupling = unroll(w, clip, context_frames, numbers)
    return F.mse_loss(outputs, clip[:, 1:]) + DECOUPLING * decoupling


def prediction(w: Weights, context: Tensor, horizon: int, numbers: Tensor) -> Tensor:
    unseen = torch.zeros_like(context[:, :1])
    clip = torch.cat((context, *[unseen] * horizon), 1)
    return unroll(w, clip, context.shape[1], numbers)[0][:, -horizon:]


def unroll(w: Weights, clip: Tensor, known: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions of all frames but the first [B,T-1,C,H,W], and the decoupling loss."""
    b, total, _, height, width = clip.shape
    actions = numbers[..., None, None] * clip.new_ones(height, width)
    layers = sum(name.endswith(".a") for name in w)
    shape = b, w["0.h"].shape[1], height // 4, width // 4
    h, c = ([clip.new_zeros(shape) for _ in range(layers)] for _ in range(2))
    m = clip.new_zeros(shape)
    outputs: list[Tensor] = []
    overlaps: list[Tensor] = []
    for t in range(total - 1):
        net = clip[:, t] if t < known else outputs[-1]
        input1 = _strided(net, w["input1"])
        input2 = _strided(input1, w["input2"])
        action = _strided(_strided(actions[:, t], w["action1"]), w["action2"])
        x = input2
        for layer in range(layers):
            h[layer], c[layer], m, *added = cell(w, layer, x, h[layer], c[layer], m, action)
            overlaps.append(overlap(w, *added))
            x = h[layer]
        x = _transposed(x + input2, w["output1"])
        outputs.append(_transposed(x + input1, w["output2"]))
    return torch.stack(outputs, 1), torch.stack(overlaps).mean()


def cell(
    w: Weights, layer: int, x: Tensor, h: Tensor, c: Tensor, m: Tensor, a: Tensor
) -> tuple[Tensor, ...]:
    """New h, c and m, and what was added to c and to m."""

    def convolved(name: str, of: Tensor) -> Tensor:
        weight, bias = w[f"{layer}.{name}"], w[f"{layer}.{name}.bias"]
        return F.conv2d(of, weight, bias, padding=weight.shape[-1] // 2)

    width = h.shape[1]
    i_x, f_x, g_x, i_x2, f_x2, g_x2, o_x = torch.split(convolved("x", x), width, 1)
    i_h, f_h, g_h, o_h = torch.split(convolved("h", h) * convolved("a", a), width, 1)
    i_m, f_m, g_m = torch.split(convolved("m", m), width, 1)
    i, f, g = torch.sigmoid(i_x + i_h), torch.sigmoid(f_x + f_h + 1.0), torch.tanh(g_x + g_h)
    added_to_c = i * g
    c = f * c + added_to_c
    i2, f2 = torch.sigmoid(i_x2 + i_m), torch.sigmoid(f_x2 + f_m + 1.0)
    added_to_m = i2 * torch.tanh(g_x2 + g_m)
    m = f2 * m + added_to_m
    both = torch.cat((c, m), 1)
    o = torch.sigmoid(o_x + o_h + convolved("o", both))
    return o * torch.tanh(convolved("last", both)), c, m, added_to_c, added_to_m


def _strided(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, stride=2, padding=weight.shape[-1] // 2)


def _transposed(x: Tensor, weight: Tensor) -> Tensor:
    """Of twice the height and width."""
    return F.conv_transpose2d(x, weight, stride=2, padding=weight.shape[-1] // 2, output_padding=1)
