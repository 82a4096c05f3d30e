"""What the encoder-forecasters of jhhuang96's code have in common: all but the cell."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from models.layers.forecaster import Forecaster
from models.layers.sequence_cell import SequenceCell

Weights = dict[str, Tensor]
State = tuple[Tensor, ...]
Step = Callable[[Weights, str, Tensor, State], State]
"""The new state, its hidden state first, of the cell of that name for an input and a state."""

READING, FORETELLING = ("read_1", "read_2", "read_3"), ("foretell_3", "foretell_2", "foretell_1")


def weights(model: Forecaster, products: tuple[str, ...]) -> Weights:
    """The published parameters; `products` are the convolutions of a cell, in the drive's order.

    The deepest foretelling cell has weights for an input that is always zero: zeros here.
    """
    cells = (*model.encoder.cells, *model.forecaster)
    w: Weights = {}
    for name, cell in zip(READING + FORETELLING, cells, strict=True):
        w |= {f"{name}.{key}": value for key, value in _cell(cell, products).items()}
    for name, conv in (("last", model.output[0]), ("pixels", model.output[2])):
        w[name], w[f"{name}.bias"] = conv.weight, conv.bias
    return w


def _cell(cell: SequenceCell, products: tuple[str, ...]) -> Weights:
    w: Weights = {}
    if hasattr(cell, "read"):
        (conv, _), of_input = cell.read
        w["before"], w["before.bias"] = conv.weight, conv.bias
    row = 0
    for name in products:
        driven = getattr(cell, name)
        of_state = driven.of_state.weight
        rows = slice(row, row := row + len(of_state))
        if hasattr(cell, "read"):
            x_half, bias = of_input.weight[rows], of_input.bias[rows]
        else:
            x_half, bias = torch.zeros_like(of_state), cell.bias[rows].flatten()
        w[name], w[f"{name}.bias"] = torch.cat((x_half, of_state), 1), bias
        w[f"{name}.norm"], w[f"{name}.norm.bias"] = driven.norm.weight, driven.norm.bias
        w[f"{name}.groups"] = torch.tensor(driven.norm.num_groups)
    return w


def product(w: Weights, name: str, x: Tensor, h: Tensor) -> Tensor:
    """The group-normalised convolution of [x, h]."""
    weight, bias = w[name], w[f"{name}.bias"]
    gates = F.conv2d(torch.cat((x, h), 1), weight, bias, padding=weight.shape[-1] // 2)
    groups = int(w[f"{name}.groups"])
    return F.group_norm(gates, groups, w[f"{name}.norm"], w[f"{name}.norm.bias"])


def prediction(w: Weights, step: Step, context: Tensor, horizon: int) -> Tensor:
    """The next frames [B,horizon,C,H,W] after `context` [B,T,C,H,W].

    Each stage goes over all steps before the next one starts, as in the published code; the last
    layer is linear, as ours is.
    """
    maps, memory = context.transpose(0, 1), []
    for stage, name in enumerate(READING):
        maps = _before(w, name, F.conv2d, maps, stride=2 if stage else 1)
        maps, state = _run(w, name, step, maps, None)
        memory.append(state)
    deepest = memory[-1][0]
    maps = deepest.new_zeros(horizon, *deepest.shape)
    for name, state in zip(FORETELLING, reversed(memory), strict=True):
        if name != FORETELLING[0]:
            maps = _before(w, name, F.conv_transpose2d, maps, stride=2)
        maps, _ = _run(w, name, step, maps, state)
    flat = F.conv2d(maps.flatten(0, 1), w["last"], w["last.bias"], padding=1)
    pixels = F.conv2d(F.leaky_relu(flat, 0.2), w["pixels"], w["pixels.bias"])
    return pixels.unflatten(0, maps.shape[:2]).transpose(0, 1)


def _before(
    w: Weights, name: str, convolve: Callable[..., Tensor], maps: Tensor, stride: int
) -> Tensor:
    weight, bias = w[f"{name}.before"], w[f"{name}.before.bias"]
    flat = convolve(maps.flatten(0, 1), weight, bias, stride=stride, padding=1)
    return F.leaky_relu(flat, 0.2).unflatten(0, maps.shape[:2])


def _run(
    w: Weights, name: str, step: Step, maps: Tensor, state: State | None
) -> tuple[Tensor, State]:
    """Hidden states [T,B,width,h,w] of all steps over maps [T,B,c,h,w], and the last state."""
    if state is None:
        width = w[f"{name}.gates"].shape[1] - maps.shape[2]
        zero = maps.new_zeros(maps.shape[1], width, *maps.shape[3:])
        state = (zero, zero)
    hidden = []
    for x in maps:
        state = step(w, name, x, state)
        hidden.append(state[0])
    return torch.stack(hidden), state
