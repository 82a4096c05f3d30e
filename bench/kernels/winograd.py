"""5x5 convolutions with 6.25 times fewer multiplications, for CPUs: Winograd's F(4x4, 5x5).

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks"
(https://arxiv.org/abs/1509.09308), section 4: the 4x4 tile of outputs that sees the 8x8 inputs d
is A'[(G g G') * (B' d B)]A for the filter g. The product * is one matrix product over channels for
each of 64 frequencies; A, B and G are small. Each gradient is the adjoint of its linear map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL, TILE = 5, 4
LINE = KERNEL + TILE - 1
"""Frequencies of one axis."""

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
"""Where Toom and Cook evaluate polynomials, beside infinity; the most accurate of nine sets."""

FEWEST_CHANNELS, LONGEST_SIDE = 32, 48
"""Inputs and outputs of a layer, and side of its maps, where it is faster on an AVX-512 core."""

Axis = Callable[[int, torch.dtype], Tensor]
"""The matrix [8*tiles,side] between a side's positions and its frequencies and tiles."""

Spectra = dict[tuple[int, int, bool], tuple[Tensor, Tensor]]
"""Weights with their spectra, by identity, version, and whether a gradient is wanted."""

_shared: ContextVar[Spectra | None] = ContextVar("shared spectra", default=None)


@contextmanager
def shared_filters() -> Iterator[None]:
    """Inside, each weight is transformed once for all its convolutions, as is its gradient."""
    outer = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(outer)


def fits(conv: nn.Conv2d) -> bool:
    """Whether `convolution` computes what `conv` does, and has enough channels to be faster."""
    return (
        conv.kernel_size == (KERNEL, KERNEL)
        and conv.padding in ("same", (KERNEL // 2, KERNEL // 2))
        and conv.padding_mode == "zeros"
        and conv.stride == conv.dilation == (1, 1)
        and conv.groups == 1
        and min(conv.in_channels, conv.out_channels) >= FEWEST_CHANNELS
    )


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 5x5 convolution [B,O,H,W] of x [B,C,H,W], zeros around it: by the faster way.

    That is Winograd's in float32 on a CPU, on maps that are not large, inside `shared_filters`.
    """
    if (
        _shared.get() is not None
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and x.dim() == 4
        and max(x.shape[2:]) <= LONGEST_SIDE
    ):
        return conv2d_5x5(x, weight, bias)
    return F.conv2d(x, weight, bias, padding=KERNEL // 2)


def conv2d_5x5(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution [B,O,H,W] of x [B,C,H,W], zeros around it, with weight [O,C,5,5].

    In float32 its errors are some ten times those of the direct convolution: 2e-5 for outputs of
    up to 5.
    """
    spectra = _shared.get()
    if spectra is None:
        spectra = {}
    wants_gradient = torch.is_grad_enabled() and weight.requires_grad
    key = id(weight), weight._version, wants_gradient
    # Holding the weight keeps its identity from being given to another.
    _, filters = spectra.get(key) or (weight, _filter_spectrum(weight))
    y, chained = _Convolution.apply(x, filters)  # type: ignore[no-untyped-call]
    spectra[key] = weight, chained if wants_gradient else filters
    outputs: Tensor = y if bias is None else y + bias.view(-1, 1, 1)
    return outputs


class _Convolution(torch.autograd.Function):
    """Convolves x, and hands the filters on to the next convolution with them.

    So their gradient comes back from call to call, and each adds its own in place. The backward
    pass transforms x again: its frequencies are four times larger to keep.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, filters)
        ctx.set_materialize_grads(False)
        products = _to_frequencies(x, _input_axis) @ filters.mT
        return _from_frequencies(products, _output_axis, x.shape[2:]), filters

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, filters_grad: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        if grad is None:
            return None, filters_grad
        x, filters = ctx.saved_tensors
        x_grad = None
        products = _to_frequencies(grad, _output_axis)
        if ctx.needs_input_grad[0]:
            x_grad = _from_frequencies(products @ filters, _input_axis, x.shape[2:])
        if ctx.needs_input_grad[1]:
            inputs = _to_frequencies(x, _input_axis)
            if filters_grad is None:
                filters_grad = products.mT @ inputs
            elif torch.is_grad_enabled():  # the gradient may be differentiated again
                filters_grad = torch.baddbmm(filters_grad, products.mT, inputs)
            else:
                filters_grad.baddbmm_(products.mT, inputs)
        return x_grad, filters_grad


def _filter_spectrum(weight: Tensor) -> Tensor:
    """Frequencies [64,O,C] of filters [O,C,5,5]: G g G'."""
    flat = weight.reshape(-1, KERNEL * KERNEL)
    return (_filter_matrix(weight.dtype) @ flat.T).view(-1, *weight.shape[:2])


def _to_frequencies(maps: Tensor, axis: Axis) -> Tensor:
    """Frequencies [64,B*tiles,C] of maps [B,C,H,W]."""
    batch, channels, height, width = maps.shape
    rows, columns = axis(height, maps.dtype), axis(width, maps.dtype)
    pixels = maps.permute(0, 2, 3, 1).reshape(batch * height, width, channels)
    lines = columns.expand(len(pixels), -1, -1).bmm(pixels)
    tiles = rows.expand(batch, -1, -1).bmm(lines.view(batch, height, -1))
    tiles = tiles.view(batch, LINE, -1, LINE, len(columns) // LINE, channels)
    return tiles.permute(1, 3, 0, 2, 4, 5).reshape(LINE * LINE, -1, channels)


def _from_frequencies(spectrum: Tensor, axis: Axis, size: torch.Size) -> Tensor:
    """Maps [B,C,H,W] of `size` = (H, W): the adjoint of `_to_frequencies`."""
    (height, width), channels = size, spectrum.shape[-1]
    rows, columns = axis(height, spectrum.dtype), axis(width, spectrum.dtype)
    down, across = len(rows) // LINE, len(columns) // LINE
    tiles = spectrum.view(LINE, LINE, -1, down, across, channels).permute(2, 0, 3, 1, 4, 5)
    batch = len(tiles)
    lines = rows.T.expand(batch, -1, -1).bmm(tiles.reshape(batch, len(rows), -1))
    lines = lines.view(batch * height, len(columns), channels)
    pixels = columns.T.expand(len(lines), -1, -1).bmm(lines)
    return pixels.view(batch, height, width, channels).permute(0, 3, 1, 2).contiguous()


@cache
def _input_axis(side: int, dtype: torch.dtype) -> Tensor:
    """B' for every tile of a side, which sees two positions more on both ends: [8*tiles,side]."""
    tiles = -(-side // TILE)
    margin = KERNEL // 2
    padding = (margin, TILE * tiles - side + margin)
    seen = F.pad(torch.eye(side, dtype=torch.float64, device="cpu"), padding).unfold(1, LINE, TILE)
    evaluate = torch.linalg.inv(_powers(LINE)).T
    return torch.einsum("fk,stk->fts", evaluate, seen).flatten(0, 1).to(dtype)


@cache
def _output_axis(side: int, dtype: torch.dtype) -> Tensor:
    """A for every tile of a side, cut where the last tile sticks out: [8*tiles,side]."""
    tiles = torch.eye(-(-side // TILE), dtype=torch.float64, device="cpu")
    positions = torch.einsum("fk,ts->ftsk", _powers(TILE), tiles).flatten(2)[..., :side]
    return positions.flatten(0, 1).to(dtype)


@cache
def _filter_matrix(dtype: torch.dtype) -> Tensor:
    """G for rows and columns at once: [64,25]."""
    return torch.kron(_powers(KERNEL), _powers(KERNEL)).to(dtype)


def _powers(count: int) -> Tensor:
    """Values [8,count] of the first powers at the points; at infinity only the last counts."""
    points = torch.tensor(POINTS, dtype=torch.float64, device="cpu")
    infinity = torch.eye(count, dtype=torch.float64, device="cpu")[-1:]
    return torch.cat((torch.vander(points, count, increasing=True), infinity))
