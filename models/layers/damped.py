"""Residual branches that start small."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def damped(layer: Layer) -> Layer:
    """`layer`, its initial weights a tenth as large and its bias zero.

    As the last layer of a residual branch it makes a deep network start close to the identity,
    where larger learning rates are stable (De & Smith 2020, "Batch Normalization Biases Residual
    Blocks Towards the Identity Function in Deep Networks").
    """
    with torch.no_grad():
        layer.weight.mul_(0.1)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer
