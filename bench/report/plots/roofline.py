"""The roofline: how near models come to what the device's arithmetic and memory allow.

Williams, Waterman & Patterson 2009, "Roofline: an insightful visual performance model"
(https://doi.org/10.1145/1498765.1498785): a program that does I operations for each byte it moves
reaches min(peak, I * bandwidth) operations a second at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from bench.report.plots.canvas import (
    GREY,
    PALETTE,
    Label,
    Picture,
    Style,
    draw,
    panel,
    plain_numbers,
    styled,
    write_beside,
)
from bench.units import figure as digits

UNITS = ((1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1e6, "MFLOP/s"))


@dataclass(frozen=True, slots=True)
class Spot:
    """A program on the roofline: FLOPs for each byte it moves, and FLOPs a second."""

    name: str
    flops_per_byte: float
    flops_per_second: float


@dataclass(frozen=True, slots=True)
class Roof:
    """What a device can do."""

    flops_per_second: float
    bytes_per_second: float

    @property
    def ridge(self) -> float:
        """FLOPs for each byte from which on arithmetic is the limit, not memory."""
        return self.flops_per_second / self.bytes_per_second

    def at(self, flops_per_byte: float) -> float:
        """The FLOPs a second that it allows."""
        return min(self.flops_per_second, flops_per_byte * self.bytes_per_second)


@styled
def roofline(spots: Sequence[Spot], roof: Roof, name: str, title: str) -> Picture:
    """Each of `spots` under the `roof`, on logarithmic axes."""
    scale, unit = next((u for u in UNITS if roof.flops_per_second >= u[0]), UNITS[-1])
    figure, axes = panel("FLOPs a byte", f"training ({unit})", [spot.name for spot in spots])
    axes.set(xscale="log", yscale="log")
    reached = [roof.ridge, *(spot.flops_per_byte for spot in spots)]
    ends = min(reached) / 2, max(reached) * 2.5
    x = np.array([ends[0], roof.ridge, ends[1]])
    heights = [roof.at(value) / scale for value in x]
    axes.plot(x, heights, color=GREY, linewidth=1.2)
    peak, moved = digits(roof.flops_per_second / scale), digits(roof.bytes_per_second / 1e9)
    _write(axes, f"matrix product\n{peak} {unit}", (x[2], heights[2]), (0, 3), "right")
    _write(axes, f"copy {moved} GB/s", (x[0], heights[0]), (12, -3), "left")
    labels = []
    for number, spot in enumerate(spots):
        color = PALETTE[number % len(PALETTE)]
        y = spot.flops_per_second / scale
        axes.plot(spot.flops_per_byte, y, "o", color=color, markersize=7)
        labels.append(Label(spot.name, spot.flops_per_byte, y, Style(color, "-")))
    axes.set_xlim(*ends)
    # An algorithm of fewer multiplications than nominal may pass the roof.
    shown = [*heights, *(label.y for label in labels)]
    axes.set_ylim(min(shown) / 1.5, max(shown) * 1.5)
    for axis in (axes.xaxis, axes.yaxis):
        plain_numbers(axis)
    write_beside(labels, axes)
    return draw(figure, name, title)


def _write(
    axes: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], side: str
) -> None:
    """Write a small grey `text` that ends or begins so many points away from a place."""
    axes.annotate(
        text,
        at,
        offset,
        textcoords="offset points",
        fontsize=8,
        color=GREY,
        horizontalalignment=side,
    )
