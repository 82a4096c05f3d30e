"""The features of AlexNet's five convolutions: on a CPU by matrix products, else layer by layer.

Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks", as torchvision
has it. Features are those after each activation. On maps of 3x3 to 15x15 pixels PyTorch's own
convolutions reach a third of a core's speed, and multiply by the zeros around them, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.score.winograd import Convolution

SMALLEST_SIDE = 31
"""Of the frames it can take."""

_LAYERS = (0, 3, 6, 8, 10)
"""The numbers of the convolutions among torchvision's layers."""
_POOLED = (1, 2)
"""The convolutions whose inputs are pooled, counted from 0."""
_STRIDE, _MARGIN = 4, 2  # of the first
_MEAN, _SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet's mean and standard deviation of red, green and blue, in [-1,1]."""

Weights = Sequence[tuple[Tensor, Tensor]]
"""The filters [O,C,K,K] and biases [O] of each convolution."""


class Features(Protocol):
    """The features of frames, layer by layer."""

    pixels_at_once: int
    """So many of the frames at most should be given in one call, to spare memory."""

    def __call__(self, frames: Tensor, slope: float, offset: float) -> Iterator[Tensor]:
        """The features [H,W,N,C] of `frames` [N,C,H,W] brought to `slope` x + `offset`.

        They are then normalised as images in [-1,1]; grey is repeated to three channels.
        """


def read(parameters: dict[str, Tensor], device: torch.device) -> Features:
    """The quickest features on `device`, with `parameters` by torchvision's names."""
    names = [f"features.{layer}" for layer in _LAYERS]
    weights = [
        (parameters[f"{name}.weight"].to(device), parameters[f"{name}.bias"].to(device))
        for name in names
    ]
    return Products(weights) if device.type == "cpu" else Layers(weights)


class Layers:
    """Features by PyTorch's own convolutions."""

    pixels_at_once = 2**21

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def __call__(self, frames: Tensor, slope: float, offset: float) -> Iterator[Tensor]:
        """The features, as `Features` has them."""
        maps = _normalised(frames * slope + offset)
        for number, (weight, bias) in enumerate(self._weights):
            if number in _POOLED:
                maps = F.max_pool2d(maps, 3, 2)
            stride, margin = (1, weight.shape[-1] // 2) if number else (_STRIDE, _MARGIN)
            maps = F.conv2d(maps, weight, bias, stride, margin).relu_()
            yield maps.permute(2, 3, 0, 1)


class Products:
    """Features by matrix products alone, on a CPU; equal to those of `Layers` but for rounding."""

    pixels_at_once = 2**19

    def __init__(self, weights: Weights) -> None:
        (self._filters, self._bias), *others = weights
        self._others = [Convolution(*layer) for layer in others]
        self._prepared = cache(self._prepare)

    def __call__(self, frames: Tensor, slope: float, offset: float) -> Iterator[Tensor]:
        """The features, as `Features` has them."""
        maps = self._first(frames, slope, offset)
        yield maps
        for number, convolution in enumerate(self._others, 1):
            if number in _POOLED:
                maps = _pooled(_pooled(maps, 0), 1)
            maps = convolution(maps).relu_()
            yield maps

    def _first(self, frames: Tensor, slope: float, offset: float) -> Tensor:
        """The first features: a product for each position, a row of them at a time."""
        count, channels, *sides = frames.shape
        filters, constant = self._prepared(channels, *sides, slope, offset)
        height, width, _, outputs = constant.shape
        kernel = self._filters.shape[-1]
        padded = frames.new_zeros(*(side + 2 * _MARGIN for side in sides), channels, count)
        padded[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN] = frames.permute(2, 3, 1, 0)
        seen = frames.new_empty(width, kernel, kernel, channels, count)
        maps = frames.new_empty(height, width, count, outputs)
        for row in range(height):
            lines = padded[_STRIDE * row : _STRIDE * row + kernel]
            seen.copy_(lines.unfold(1, kernel, _STRIDE).permute(1, 0, 4, 2, 3))
            inputs, start = seen.view(width, -1, count).mT, constant[row].expand(-1, count, -1)
            torch.baddbmm(start, inputs, filters.expand(width, -1, -1), out=maps[row])
        return maps.relu_()

    def _prepare(
        self, channels: int, height: int, width: int, slope: float, offset: float
    ) -> tuple[Tensor, Tensor]:
        """The first filters [K*K*C,O] for frames as they are, and what they add [H,W,1,O].

        A convolution is linear: that of a x + b is a times that of x, and that of b, which the
        zeros around the frame keep from being a constant.
        """
        filters = self._filters * slope / self._filters.new_tensor(_SPREAD).view(-1, 1, 1)
        if channels == 1:
            filters = filters.sum(1, keepdim=True)
        blank = _normalised(self._filters.new_full((1, 3, height, width), offset))
        constant = F.conv2d(blank, self._filters, self._bias, _STRIDE, _MARGIN)
        return (
            filters.permute(2, 3, 1, 0).flatten(0, 2).contiguous(),
            constant.permute(2, 3, 0, 1).contiguous(),
        )


def _normalised(images: Tensor) -> Tensor:
    """Images [N,C,H,W] in [-1,1] as AlexNet was trained on them: [N,3,H,W]."""
    mean, spread = (images.new_tensor(values).view(-1, 1, 1) for values in (_MEAN, _SPREAD))
    return (images - mean) / spread


def _pooled(maps: Tensor, axis: int) -> Tensor:
    """The largest of every 3 neighbours along `axis`, with stride 2."""
    count = (maps.shape[axis] - 1) // 2
    parts = [maps.narrow(axis, first, 2 * count - 1) for first in range(3)]
    every_other = [part.transpose(0, axis)[::2].transpose(0, axis) for part in parts]
    return torch.maximum(torch.maximum(every_other[0], every_other[1]), every_other[2])
