"""What the encoder-forecasters of jhhuang96's code have in common: all but the cell."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from models.encoder_forecaster import EncoderForecaster, Stage

Weights = dict[str, Tensor]
State = tuple[Tensor, ...]
Step = Callable[[Weights, str, Tensor, State], State]
"""The new state, its hidden state first, of the cell of that name for an input and a state."""

ENCODER = ("encoder_1", "encoder_2", "encoder_3")
FORECASTER = ("forecaster_3", "forecaster_2", "forecaster_1")


def weights(model: EncoderForecaster, products: tuple[str, ...]) -> Weights:
    """The published parameters; `products` are the convolutions of a cell.

    The deepest forecasting cell has weights for an input that is always zero: zeros here.
    """
    stages = (*model.encoder, *model.forecaster)
    w: Weights = {}
    for name, stage in zip(ENCODER + FORECASTER, stages, strict=True):
        w |= {f"{name}.{key}": value for key, value in _stage(stage, products).items()}
    for name, conv in (("last", model.output[0]), ("pixels", model.output[2])):
        w[name], w[f"{name}.bias"] = conv.weight, conv.bias
    return w


def _stage(stage: Stage, products: tuple[str, ...]) -> Weights:
    w: Weights = {}
    has_input = hasattr(stage.resize, "0")
    if has_input:
        w["before"], w["before.bias"] = stage.resize[0].weight, stage.resize[0].bias
    for name in products:
        conv, norm = getattr(stage.cell, name)
        unused = torch.zeros_like(conv.weight[:, : 0 if has_input else conv.in_channels])
        w[name], w[f"{name}.bias"] = torch.cat((unused, conv.weight), 1), conv.bias
        w[f"{name}.norm"], w[f"{name}.norm.bias"] = norm.weight, norm.bias
        w[f"{name}.groups"] = torch.tensor(norm.num_groups)
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
    for stage, name in enumerate(ENCODER):
        maps = _before(w, name, F.conv2d, maps, stride=2 if stage else 1)
        maps, state = _run(w, name, step, maps, None)
        memory.append(state)
    deepest = memory[-1][0]
    maps = deepest.new_zeros(horizon, *deepest.shape)
    for name, state in zip(FORECASTER, reversed(memory), strict=True):
        if name != FORECASTER[0]:
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
