"""The seq2seq autoencoder as Holm's code goes about it: frame by frame, [x, h] in one product."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.convlstm_seq2seq import ConvLSTMSeq2Seq

FRAME = (1, 8, 12)
TINY: dict[str, Any] = {"width": 4}
CELLS = ("encoder_1", "encoder_2", "decoder_1", "decoder_2")


def weights(model: ConvLSTMSeq2Seq) -> dict[str, Tensor]:
    """The published parameters, whose gates come in the order i, f, o, g."""
    w: dict[str, Tensor] = {}
    cells = (*model.autoencoder.encoder, *model.autoencoder.decoder)
    for name, cell in zip(CELLS, cells, strict=True):
        w[name], w[f"{name}.bias"] = cell.gates.weight, cell.gates.bias
    for name, ours in w.items():
        i, f, g, o = ours.chunk(4)
        w[name] = torch.cat((i, f, o, g))
    w["head"], w["head.bias"] = model.output.weight[:, :, None], model.output.bias
    return w


def training_loss(w: dict[str, Tensor], clip: Tensor, context_frames: int) -> Tensor:
    """The MSE of the frames after the context; nothing is scheduled."""
    context, future = clip[:, :context_frames], clip[:, context_frames:]
    return F.mse_loss(prediction(w, context, future.shape[1]), future)


def prediction(w: dict[str, Tensor], context: Tensor, horizon: int) -> Tensor:
    """The next frames [B,horizon,C,H,W] after `context` [B,T,C,H,W]."""
    width = len(w["encoder_1"]) // 4
    zero = context.new_zeros(len(context), width, *context.shape[3:])
    state = dict.fromkeys(CELLS, (zero, zero))
    for t in range(context.shape[1]):
        state["encoder_1"] = _cell(w, "encoder_1", context[:, t], *state["encoder_1"])
        state["encoder_2"] = _cell(w, "encoder_2", state["encoder_1"][0], *state["encoder_2"])
    vector, outputs = state["encoder_2"][0], []
    for _ in range(horizon):
        state["decoder_1"] = _cell(w, "decoder_1", vector, *state["decoder_1"])
        state["decoder_2"] = _cell(w, "decoder_2", state["decoder_1"][0], *state["decoder_2"])
        vector = state["decoder_2"][0]
        outputs.append(vector)
    maps = torch.stack(outputs, 1).permute(0, 2, 1, 3, 4)
    frames = F.conv3d(maps, w["head"], w["head.bias"], padding=(0, 1, 1))
    return torch.sigmoid(frames).permute(0, 2, 1, 3, 4)


def _cell(
    w: dict[str, Tensor], name: str, x: Tensor, h: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    gates = F.conv2d(torch.cat((x, h), 1), w[name], w[f"{name}.bias"], padding=1)
    i, f, o, g = torch.split(gates, h.shape[1], 1)
    i, f, o = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)
    c = f * c + i * torch.tanh(g)
    return o * torch.tanh(c), c
