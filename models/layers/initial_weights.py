"""Initial weights of one convolution that does what several do in the published code.

PyTorch draws a convolution's weights and biases within 1 / sqrt(fan-in): of [x, h] in one
convolution they would be smaller than those of x and of h in two.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Convolution = TypeVar("Convolution", nn.Conv1d, nn.Conv2d, nn.Conv3d)


def initialised_apart(
    convolution: Convolution, *parts: int, biases: int | None = None
) -> Convolution:
    """`convolution`, its weights of each part of its input drawn as by a convolution of that alone.

    Args:
        convolution: reads the channels of all parts.
        parts: how many channels each has.
        biases: how many of these convolutions, the first, have biases in the published code; one
            bias, their sum, is here (default: all).
    """
    with torch.no_grad():
        for part in torch.split(convolution.weight, [*parts], 1):
            nn.init.kaiming_uniform_(part, a=5**0.5)
        if convolution.bias is not None:
            taps = convolution.weight[0, 0].numel()
            bounds = [(inputs * taps) ** -0.5 for inputs in parts[:biases]]
            drawn = [torch.empty_like(convolution.bias).uniform_(-b, b) for b in bounds]
            convolution.bias.copy_(torch.stack(drawn).sum(0))
    return convolution


def initialised_beside(convolution: Convolution, unused: int) -> Convolution:
    """`convolution`, drawn as if it read that many `unused` channels more."""
    read = convolution.in_channels
    with torch.no_grad():
        for drawn in convolution.parameters():
            drawn.mul_((read / (read + unused)) ** 0.5)
    return convolution
