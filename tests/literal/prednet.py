"""PredNet in the order of operations of the authors' code: a convolution a gate, layer by layer.

But for what is seen where there is no frame: there the prediction of the same step, not the last.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.prednet import PredNet

FRAME = (1, 8, 12)
TINY: dict[str, Any] = {"width": 4, "layers": 3}

Weights = dict[str, Tensor]
States = dict[str, list[Tensor]]


def weights(model: PredNet) -> Weights:
    """The published parameters; a `shift` is a bias, which starts at zero."""
    w: Weights = {}
    for layer, representation in enumerate(model.representations):
        gates = representation.gates
        kernels, biases = gates.weight.chunk(4), gates.bias.chunk(4)
        for gate, kernel, bias in zip("ifco", kernels, biases, strict=True):
            w[f"{gate}{layer}"], w[f"{gate}{layer}.shift"] = kernel, bias
    for name, convolutions in (("ahat", model.expectations), ("a", model.targets)):
        for layer, convolution in enumerate(convolutions):
            w[f"{name}{layer}"] = convolution.weight
            w[f"{name}{layer}.shift"] = convolution.bias
    return w


def training_loss(w: Weights, clip: Tensor, context_frames: int) -> Tensor:
    """The loss of extrapolating, as in fine-tuning."""
    frames, n = _unroll(w, clip, context_frames), clip.shape[1]
    by_time = [0.5 * (clip[:, t] - frames[t]).abs().mean() for t in range(n)]
    weight = [0.0] + [1 / (n - 1)] * (n - 1)
    return torch.stack([a * b for a, b in zip(weight, by_time, strict=True)]).sum()


def prediction(w: Weights, context: Tensor, horizon: int) -> Tensor:
    """The next frames [B,horizon,C,H,W] after `context` [B,T,C,H,W]."""
    unseen = torch.zeros_like(context[:, :1])
    clip = torch.cat((context, *[unseen] * horizon), 1)
    return torch.stack(_unroll(w, clip, context.shape[1])[-horizon:], 1)


def _unroll(w: Weights, clip: Tensor, context_frames: int) -> list[Tensor]:
    layers = sum(name.startswith("i") and not name.endswith("shift") for name in w)
    states: States = {"r": [], "c": [], "e": []}
    for layer in range(layers):
        width = len(w[f"i{layer}"])
        place = clip.shape[3] // 2**layer, clip.shape[4] // 2**layer
        for name, channels in (("r", width), ("c", width), ("e", 2 * width)):
            states[name].append(clip.new_zeros(len(clip), channels, *place))
    frames = []
    for t in range(clip.shape[1]):
        actual = clip[:, t] if t < context_frames else None
        frame, states = _step(w, actual, states)
        frames.append(frame)
    return frames


def _step(w: Weights, actual: Tensor | None, states: States) -> tuple[Tensor, States]:
    layers = len(states["r"])
    new: States = {"r": [], "c": [], "e": []}
    for layer in reversed(range(layers)):
        inputs = [states["r"][layer], states["e"][layer]]
        if layer < layers - 1:
            inputs.append(new["r"][0].repeat_interleave(2, 2).repeat_interleave(2, 3))
        x = torch.cat(inputs, 1)
        i, f, o = (torch.clamp(0.2 * _conv(w, f"{gate}{layer}", x) + 0.5, 0, 1) for gate in "ifo")
        candidate = torch.tanh(_conv(w, f"c{layer}", x))
        new["c"].insert(0, f * states["c"][layer] + i * candidate)
        new["r"].insert(0, o * torch.tanh(new["c"][0]))

    for layer in range(layers):
        expected = F.relu(_conv(w, f"ahat{layer}", new["r"][layer]))
        if layer == 0:
            expected = torch.minimum(expected, torch.ones_like(expected))
            frame = expected
            a = expected if actual is None else actual
        up, down = F.relu(expected - a), F.relu(a - expected)
        new["e"].append(torch.cat((up, down), 1))
        if layer < layers - 1:
            a = F.max_pool2d(F.relu(_conv(w, f"a{layer}", new["e"][layer])), 2)
    return frame, new


def _conv(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.conv2d(x, w[name], w[f"{name}.shift"], padding=1)
