"""Convolutions with 4 to 6.25 times fewer multiplications, for CPUs: Winograd's F(4x4, 3x3 or 5x5).

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks"
(https://arxiv.org/abs/1509.09308), section 4: the 4x4 tile of outputs that sees the inputs d around
it is A'[(G g G') * (B' d B)]A for the filter g. The product * is one matrix product over channels
for each frequency; A, B and G are small. Each gradient is the adjoint of its linear map.

A kernel over time as well is several over space: their products are added up.

Maps are convolved block by block, so that what lies between is small, and A and B are one dense
matrix for all tiles of a block: a transform is then two large matrix products, and the order of
their axes leaves nothing to be copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE, BLOCK = 4, 16
"""Outputs of a tile and of a block along one side."""

ROOT = math.sqrt(2.0)
POINTS = {6: (0.0, ROOT, -ROOT, 1 / ROOT, -1 / ROOT), 8: (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)}
"""Where Toom and Cook evaluate polynomials, beside infinity, by the frequencies of one side.

The most accurate of hundreds of sets tried; 0, +-1 and +-2 make errors five times larger for 3x3.
"""


class Worth(NamedTuple):
    """From where on it is faster, by forward and backward passes of one thread with AVX2."""

    channels: int
    """Harmonic mean of the channels that come in and go out: products outgrow transforms.

    A third does with a kernel over three frames, for three products share the transforms.
    """
    tiles: int
    """In all maps of a batch: rows for each of the filters' frequencies that are read."""


WORTH = {3: Worth(64, 40), 5: Worth(24, 16)}
"""By the side of the kernel.

Below, no other way tried promised a tenth of a whole step: tiles along one side alone, FFTs,
channels last, padded or unshuffled, convolutions split by input, weight gradients all at the end.
"""

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


def fits(conv: nn.Conv2d | nn.Conv3d) -> bool:
    """Whether `convolution` computes what `conv` does, and has enough channels to be faster."""
    side = conv.kernel_size[-1]
    between = conv.in_channels * conv.out_channels / (conv.in_channels + conv.out_channels)
    return (
        side in WORTH
        and conv.kernel_size == (side,) * len(conv.kernel_size)
        and conv.padding in ("same", tuple(extent // 2 for extent in conv.kernel_size))
        and conv.padding_mode == "zeros"
        and {*conv.stride, *conv.dilation, conv.groups} == {1}
        and 2 * between * _taps(conv.weight) >= WORTH[side].channels
    )


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution [B,O,H,W] of x [B,C,H,W], zeros around it: by the faster way.

    With a time axis before H, that of space and time. The faster way is Winograd's in float32 on a
    CPU, unless the maps are few and small, inside `shared_filters`.
    """
    side = weight.shape[-1]
    if (
        _shared.get() is not None
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and x.dim() == weight.dim()
        and _whole_tiles(x.shape) >= WORTH[side].tiles
    ):
        return winograd(x, weight, bias)
    direct = F.conv3d if weight.dim() == 5 else F.conv2d
    return direct(x, weight, bias, padding=side // 2)


def _whole_tiles(shape: torch.Size) -> int:
    """Tiles that lie wholly on maps [B,C,H,W] or [B,C,T,H,W]."""
    batch, _, *time, height, width = shape
    return math.prod((batch, *time, height // TILE, width // TILE))


def _taps(weight: Tensor) -> int:
    """Frames that a kernel covers."""
    return weight.shape[2] if weight.dim() == 5 else 1


def winograd(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution [B,O,H,W] of x [B,C,H,W], zeros around it, with weight [O,C,k,k], k 3 or 5.

    Or that [B,O,T,H,W] of x [B,C,T,H,W] with weight [O,C,t,k,k], t odd.

    In float32, with up to 512 channels, outputs and gradients are off by 8e-6 of their norm for
    5x5, 2e-6 for 3x3; single outputs of up to 5 by 6e-5 and 1.5e-5. Of the direct convolution's
    errors that is up to fifteen and six times.
    """
    spectra = _shared.get()
    if spectra is None:
        spectra = {}
    wants_gradient = torch.is_grad_enabled() and weight.requires_grad
    key = id(weight), weight._version, wants_gradient
    # Holding the weight keeps its identity from being given to another.
    _, filters = spectra.get(key) or (weight, _filter_spectrum(weight))
    maps = x if weight.dim() == 4 else _frames(x, _taps(weight) // 2)
    y, chained = _Convolution.apply(maps, filters)  # type: ignore[no-untyped-call]
    spectra[key] = weight, chained if wants_gradient else filters
    if weight.dim() == 5:
        y = y.unflatten(0, (len(x), -1))[:, -x.shape[2] :].transpose(1, 2).contiguous()
    outputs: Tensor = y if bias is None else y + bias.view(-1, *[1] * (weight.dim() - 2))
    return outputs


def _frames(clips: Tensor, zeros: int) -> Tensor:
    """All frames [B*(zeros+T),C,H,W] of clips [B,C,T,H,W], so many of zeros before each clip."""
    return F.pad(clips.transpose(1, 2), (0,) * 6 + (zeros, 0)).flatten(0, 1)


class _Convolution(torch.autograd.Function):
    """Convolves maps, and hands the filters on to the next convolution with them.

    So their gradient comes back from call to call, and each adds its own in place. The backward
    pass transforms the maps again: their frequencies are 2.25 to 4 times larger to keep.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, filters)
        ctx.set_materialize_grads(False)
        y = x.new_empty(len(x), filters.shape[2], *x.shape[2:])
        for rows, columns in _blocks(x, filters):
            seen = x[:, :, rows.seen, columns.seen]
            inputs = _to_frequencies(seen, rows.evaluate, columns.evaluate)
            products = _sum_of_products(inputs, filters.mT.unbind(1))
            y[:, :, rows.made, columns.made] = _from_frequencies(
                products, rows.interpolate, columns.interpolate
            )
        return y, filters

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, filters_grad: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        if grad is None:
            return None, filters_grad
        x, filters = ctx.saved_tensors
        x_grad = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        if filters_grad is None and ctx.needs_input_grad[1]:
            filters_grad = torch.zeros_like(filters)
        for rows, columns in _blocks(x, filters):
            made = grad[:, :, rows.made, columns.made]
            products = _to_frequencies(made, rows.interpolate, columns.interpolate)
            if x_grad is not None:
                x_grad[:, :, rows.seen, columns.seen] += _from_frequencies(
                    _sum_of_products(products, filters.unbind(1)[::-1]),
                    rows.evaluate,
                    columns.evaluate,
                )
            if filters_grad is not None and ctx.needs_input_grad[1]:
                seen = x[:, :, rows.seen, columns.seen]
                inputs = _to_frequencies(seen, rows.evaluate, columns.evaluate)
                pairs = _taps_of(products, inputs, filters.shape[1])
                if torch.is_grad_enabled():  # the gradient may be differentiated again
                    own = torch.stack([made.mT @ read for made, read in pairs], 1)
                    filters_grad = filters_grad + own
                else:
                    for tap, (made, read) in enumerate(pairs):
                        filters_grad[:, tap].baddbmm_(made.mT, read)
        return x_grad, filters_grad


def _taps_of(made: Tensor, read: Tensor, taps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """For each tap over frames the rows [64,rows,O] and the rows [64,rows,C] that it reads."""
    count = made.shape[1]
    for offset in range(-(taps // 2), taps // 2 + 1):
        first, last = max(0, -offset), count - max(0, offset)
        yield made[:, first:last], read[:, first + offset : last + offset]


def _sum_of_products(read: Tensor, filters: Sequence[Tensor]) -> Tensor:
    """Rows [64,rows,O]: over the taps, the sum of rows [64,rows,C] by filters [64,C,O]."""
    middle = len(filters) // 2
    sums = read @ filters[middle]
    for tap, (made, rows) in enumerate(_taps_of(sums, read, len(filters))):
        if tap != middle:
            made.baddbmm_(rows, filters[tap])
    return sums


def _filter_spectrum(weight: Tensor) -> Tensor:
    """Frequencies [columns*rows,taps,O,C] of filters [O,C,k,k] or [O,C,taps,k,k]: G g G'."""
    side = weight.shape[-1]
    taps = weight.unsqueeze(2) if weight.dim() == 4 else weight
    flat = taps.permute(2, 0, 1, 3, 4).reshape(-1, side * side)
    return (_filter_matrix(side, weight.dtype) @ flat.T).view(-1, _taps(weight), *weight.shape[:2])


def _to_frequencies(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Frequencies [columns*rows,tiles*B,C] of blocks [B,C,h,w], by the matrix of each side."""
    channels, height, width = maps.shape[1:]
    count = len(rows)
    lines = columns.flatten(0, 1) @ maps.reshape(-1, width).T
    lines = lines.view(count, -1, height).mT
    return rows.flatten(0, 1).expand(count, -1, -1).bmm(lines).view(count**2, -1, channels)


def _from_frequencies(spectrum: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Blocks [B,C,h,w]: the adjoint of `_to_frequencies`."""
    count, tiles, height = rows.shape
    lines = spectrum.view(count, count * tiles, -1).mT
    lines = lines.bmm(rows.flatten(0, 1).expand(count, -1, -1))
    columns = columns.flatten(0, 1)
    pixels = lines.view(len(columns), -1).T @ columns
    return pixels.view(-1, spectrum.shape[-1], height, columns.shape[1])


class Span(NamedTuple):
    """A block along one side."""

    made: slice
    """Where its outputs are."""
    seen: slice
    """Where the inputs are that they depend on, without those beyond the edges."""
    evaluate: Tensor
    """B' [frequencies,tiles,seen]."""
    interpolate: Tensor
    """A [frequencies,tiles,made]; the last tile may stick out."""


def _blocks(x: Tensor, filters: Tensor) -> Iterator[tuple[Span, Span]]:
    """Down and across, the blocks of x [B,C,H,W]."""
    frequencies = math.isqrt(len(filters))
    rows, columns = (_spans(side, frequencies, x.dtype) for side in x.shape[2:])
    return product(rows, columns)


@cache
def _spans(side: int, frequencies: int, dtype: torch.dtype) -> list[Span]:
    tiles = -(-side // TILE)
    reach = (frequencies - TILE) // 2
    margins = (reach, TILE * tiles - side + reach)
    positions = torch.eye(side, dtype=torch.float64, device="cpu")
    windows = F.pad(positions, margins).unfold(1, frequencies, TILE)
    evaluate = torch.linalg.inv(powers(POINTS[frequencies], frequencies)).T
    evaluate = torch.einsum("fk,stk->fts", evaluate, windows).to(dtype)
    outputs = F.pad(positions, (0, TILE * tiles - side)).unfold(1, TILE, TILE)
    interpolate = torch.einsum("fk,stk->fts", powers(POINTS[frequencies], TILE), outputs).to(dtype)
    spans = []
    for start in range(0, side, BLOCK):
        made = slice(start, min(start + BLOCK, side))
        seen = slice(max(start - reach, 0), min(start + BLOCK + reach, side))
        own = slice(start // TILE, (start + BLOCK) // TILE)
        spans.append(
            Span(
                made,
                seen,
                evaluate[:, own, seen].contiguous(),
                interpolate[:, own, made].contiguous(),
            )
        )
    return spans


@cache
def _filter_matrix(side: int, dtype: torch.dtype) -> Tensor:
    """G for columns and rows at once: [frequencies of both,side*side]."""
    one = powers(POINTS[side + TILE - 1], side)
    return torch.einsum("ri,cj->crij", one, one).reshape(-1, side * side).to(dtype)


def powers(points: Sequence[float], count: int) -> Tensor:
    """The first `count` powers, float64 [points+1,count], at the points; at infinity the last's."""
    values = torch.tensor(points, dtype=torch.float64, device="cpu")
    infinity = torch.eye(count, dtype=torch.float64, device="cpu")[-1:]
    return torch.cat((torch.vander(values, count, increasing=True), infinity))
