"""Convolutions of small maps as few matrix products, for scoring on a CPU: Winograd's algorithm.

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks"
(https://arxiv.org/abs/1509.09308), section 4, for any odd kernel. Maps are [H,W,N,C]: each side is
carried into frequencies and back by one product with all else, and no layout changes in between.
`bench/kernels` has the form for training, of 5x5 kernels in the layout of models.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.kernels.winograd import powers

POINTS = (0.0, 1.0, -1.0, 0.5, -2.0, 2.0, -0.5)
"""Where Toom and Cook evaluate polynomials, as many as are needed, beside infinity."""

TILES = (3, 4)
"""Sides of a tile of outputs: the one that takes fewer frequencies is chosen."""


class Convolution:
    """The convolution with `weight` [O,C,K,K], K odd and at most 5, and `bias` [O], zeros around.

    In float32 its errors are some 1e-6 of its largest outputs.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight, self._bias = weight, bias
        self._filters: dict[tuple[int, int], Tensor] = {}

    def __call__(self, maps: Tensor) -> Tensor:
        """The maps [H,W,N,O] of `maps` [H,W,N,C], float32."""
        height, width, count, channels = maps.shape
        kernel, outputs = self._weight.shape[-1], len(self._weight)
        rows, columns = _axis(height, kernel, "tf"), _axis(width, kernel, "ft")
        filters = self._frequencies(rows.line, columns.line)
        lines = (rows.to_frequencies @ maps.reshape(height, -1)).view(-1, width, count * channels)
        strips = []
        for strip in torch.split(lines, rows.line):  # of tiles beside each other
            tiles = columns.to_frequencies @ strip
            product = tiles.view(len(filters), -1, channels).bmm(filters)
            strips.append(columns.to_pixels @ product.view(rows.line, -1, count * outputs))
        pixels = rows.to_pixels @ torch.cat(strips).flatten(1)
        return pixels.view(height, width, count, outputs).add_(self._bias)

    def _frequencies(self, down: int, across: int) -> Tensor:
        """The filters' frequencies [down*across,C,O], kept for the next maps."""
        if (down, across) not in self._filters:
            kernel = self._weight.shape[-1]
            sides = [powers(POINTS[: line - 1], kernel) for line in (down, across)]
            found = torch.einsum("ai,bj,ocij->abco", *sides, self._weight.double())
            self._filters[down, across] = found.flatten(0, 1).float().contiguous()
        return self._filters[down, across]


@dataclass(frozen=True, slots=True)
class _Axis:
    """The transforms of a side whose outputs are cut into tiles.

    Attributes:
        line: frequencies of a tile.
        to_frequencies: float32 [line*tiles,side], of inputs.
        to_pixels: float32 [side,line*tiles], of outputs.
    """

    line: int
    to_frequencies: Tensor
    to_pixels: Tensor


@cache
def _axis(side: int, kernel: int, order: str) -> _Axis:
    """The transforms of a side, by tile and frequency ("tf") or by frequency and tile ("ft")."""
    tile = min(TILES, key=lambda length: -(-side // length) * (length + kernel - 1))
    line, tiles, margin = tile + kernel - 1, -(-side // tile), kernel // 2
    padding = (margin, tile * tiles - side + margin)
    seen = F.pad(torch.eye(side, dtype=torch.float64, device="cpu"), padding).unfold(1, line, tile)
    points = POINTS[: line - 1]
    evaluate = torch.linalg.inv(powers(points, line)).T
    inputs = torch.einsum(f"fk,stk->{order}s", evaluate, seen)
    places = torch.eye(tiles, dtype=torch.float64, device="cpu")
    outputs = torch.einsum(f"fk,tu->uk{order}", powers(points, tile), places)
    return _Axis(
        line,
        inputs.flatten(0, 1).float().contiguous(),
        outputs.flatten(2).flatten(0, 1)[:side].float().contiguous(),
    )
