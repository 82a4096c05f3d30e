"""The common parts of all plots: each model's style, labels, SVG and PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import Transform
from PIL import Image, ImageDraw, ImageFont
from scipy.optimize import isotonic_regression

from bench.escape import one_line
from bench.score.metrics import REFERENCE

# Okabe and Ito's colour-blind safe palette, without yellow and black, which a page may swallow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "-.", (0, (1, 1)), (0, (6, 1)))  # of the models that share a colour
MARKERS = ("o", "^", "v", "P")
GREY = "#7d8590"
INK, FAINT = "#1f2328", "#d8dee4"  # in the SVG: the page's own ink and hairline
PNG_DPI = 150
PNG_COMPRESSION = 2  # of 9; more takes far longer for a few bytes
FONT_SIZE = 10
LINE = 0.19  # inches from one label to the next
LEFT, RIGHT, BOTTOM, TOP = 0.85, 0.12, 0.55, 0.15  # inches around the axes
WIDTH, HEIGHT = 3.6, 2.7  # of the axes, which grow with the number of labels
LEADER = 0.3  # inches from the axes to a label
LETTERS = 48  # of a name in a picture
_RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # the page's; named in every text of an SVG
    "font.size": FONT_SIZE,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a name is no formula
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}

styled = mpl.rc_context(_RC)
"""Decorates a function that draws."""

Dash = str | tuple[int, tuple[int, ...]]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Style:
    """How one model is drawn everywhere."""

    color: str
    dash: Dash
    marker: str = "o"


@dataclass(frozen=True, slots=True)
class Label:
    """A name to write beside the point (x, y) of a plot."""

    text: str
    x: float
    y: float
    color: str


class Name(Text):
    """A model's name beside the axes, at the middle of its height."""

    def __init__(
        self,
        text: str,
        color: str,
        at: tuple[float, float],
        transform: Transform,
        ends: bool = False,
    ) -> None:
        """Place `text` at a point.

        Args:
            text: to write.
            color: of the letters.
            at: the point, in the coordinates of `transform`.
            transform: from these to the display.
            ends: whether the text ends at the point, not begins there.
        """
        super().__init__(*at, drawn(text), color=color, verticalalignment="center", clip_on=False)
        self.set(transform=transform, horizontalalignment="right" if ends else "left")


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished drawing; `name` is its file name without the ending."""

    name: str
    title: str
    svg: str
    png: bytes
    choice: str = ""
    """Its choice among the pictures of one `Plot`."""


Plot = tuple[Picture, ...]
"""One plot: a picture, or several of which the page shows the one that is chosen."""


def styles(cells: pd.DataFrame) -> dict[str, Style]:
    """A style for every model of the suite: baselines grey, references dashed, others coloured."""
    baseline = cells.groupby("model")["baseline"].first()
    references = [name for name in REFERENCE.values() if name in baseline.index]
    trained = sorted(set(baseline.index[~baseline]) - set(references))
    others = sorted(set(baseline.index[baseline]) - set(references))
    found = {name: Style(GREY, "--", "s") for name in references}
    found |= {name: Style(GREY, (0, (1, 1 + i)), "D") for i, name in enumerate(others)}
    for index, name in enumerate(trained):
        turn, place = divmod(index, len(PALETTE))
        look = turn % len(DASHES)
        found[name] = Style(PALETTE[place], DASHES[look], MARKERS[look])
    return found


def draw(figure: Figure, name: str, title: str, choice: str = "") -> Picture:
    """`figure` as SVG and PNG; call it from a `styled` function."""
    svg = io.StringIO()
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": name}):
        # the salt keeps the ids of two pictures in a page apart
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a page has other fonts, too
        png = _png(figure)
        figure.set_layout_engine("none")  # laid out once, and so alike in both
        figure.savefig(svg, format="svg", transparent=True, metadata=_NO_METADATA)
    text = svg.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor").replace(FAINT, "var(--line)")
    return Picture(name, title, text, png, choice)


def _png(figure: Figure) -> bytes:
    """`figure` as PNG. Pillow writes the `Name`s: it takes a twentieth of matplotlib's time."""
    figure.set_dpi(PNG_DPI)
    names = figure.findobj(Name)
    for name in names:
        name.set_visible(False)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    pen, letters, out = ImageDraw.Draw(image), font(FONT_SIZE * PNG_DPI / 72), io.BytesIO()
    for name in names:
        x, y = name.get_transform().transform(name.get_position())
        anchor = "lm" if name.get_horizontalalignment() == "left" else "rm"
        pen.text((x, image.height - y), name.get_text(), str(name.get_color()), letters, anchor)
        name.set_visible(True)
    image.save(out, format="png", compress_level=PNG_COMPRESSION)
    return out.getvalue()


def panel(xlabel: str, ylabel: str, beside: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure with one axes, and room for the labels `beside` it."""
    right = LEADER + max(map(text_inches, beside)) + RIGHT
    height = max(HEIGHT, LINE * len(beside))
    size = (LEFT + WIDTH + right, BOTTOM + height + TOP)
    figure = Figure(figsize=size)
    place = (LEFT / size[0], BOTTOM / size[1], WIDTH / size[0], height / size[1])
    axes = figure.add_axes(place)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def draw_lines(axes: Axes, lines: Sequence[Values], styles: Sequence[Style]) -> None:
    """Draw lines of points [N,2], each in its style; all together in a third of the time."""
    collection = LineCollection(
        lines,
        colors=[style.color for style in styles],
        linestyles=[style.dash for style in styles],
        linewidths=mpl.rcParams["lines.linewidth"],
    )
    axes.add_collection(collection)
    axes.autoscale_view()


def plain_numbers(axis: Axis) -> None:
    """Write the numbers of a logarithmic axis in full, more of them where it spans little."""
    low, high = axis.get_view_interval()
    if high < 4 * low:
        axis.set_major_locator(MaxNLocator(5))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axis.set_minor_locator(NullLocator())


def write_beside(labels: Sequence[Label], axes: Axes) -> None:
    """Write `labels` right of the axes, as near the heights of their points as they have room.

    A thin line leads from each point to its label. The axes' limits must be final.
    """
    ordered = sorted(labels, key=lambda label: label.y)
    to_fraction = axes.transData + axes.transAxes.inverted()
    points = to_fraction.transform([(label.x, label.y) for label in ordered])
    width, height = np.asarray(axes.bbox.size) / axes.figure.dpi
    places = spread(points[:, 1], LINE / height)
    bend, near, end = (1 + share * LEADER / width for share in (0.2, 0.75, 1))
    leaders = LineCollection(
        [[(x, y), (bend, y), (near, place)] for (x, y), place in zip(points, places, strict=True)],
        colors=[label.color for label in ordered],
        linewidths=0.6,
        alpha=0.6,
        transform=axes.transAxes,
        clip_on=False,
    )
    axes.add_collection(leaders, autolim=False)
    for label, place in zip(ordered, places, strict=True):
        axes.add_artist(Name(label.text, label.color, (end, place), axes.transAxes))


def spread(heights: Any, gap: float) -> Any:
    """Ascending `heights` moved as little as it takes to be `gap` apart and within [0, 1]."""
    steps = gap * np.arange(len(heights))
    apart = isotonic_regression(np.asarray(heights) - steps).x
    return np.clip(apart, 0, max(0.0, 1 - steps[-1])) + steps


def drawn(text: str) -> str:
    """`text` as it is written in a picture: on one line, and cut where it is very long."""
    return one_line(text, LETTERS)


@cache
def text_inches(text: str) -> float:
    """How wide `text` is in a picture."""
    return font(FONT_SIZE).getlength(drawn(text)) / 72


@cache
def font(size: float) -> ImageFont.FreeTypeFont:
    """The letters of all pictures, of `size` pixels."""
    return ImageFont.truetype(f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
