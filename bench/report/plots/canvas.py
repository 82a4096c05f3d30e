"""The common parts of all plots: each model's style, labels, SVG and PNG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis, YAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import Bbox, Transform
from PIL import Image, ImageDraw, ImageFont

from bench.escape import one_line
from bench.records import Measure
from bench.report.columns import COLUMNS
from bench.report.marks import DISTURBED
from bench.score.metric import Metric
from bench.score.metrics import REFERENCE

# Okabe and Ito's colour-blind safe palette, without yellow and black, which a page may swallow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "-.")  # of the models that share a colour
MARKERS = ("o", "^")
DISTINCT = len(PALETTE) * len(DASHES)  # models that are still told apart
GREY = "#7d8590"
BACK = "#b4bcc5"  # of models drawn behind these
INK, FAINT = "#1f2328", "#d8dee4"
_OF_THE_PAGE = {INK: "currentColor", FAINT: "var(--line)", BACK: "var(--back)"}
"""What the SVG of a page has in place of a colour, as it may be dark."""
PNG_DPI = 150
PAPER_FONT_SIZE = 7
NARROWEST = 1.0  # inches of the axes in it
ONE_COLUMN, TWO_COLUMNS = 3.35, 6.9  # inches of a paper's
MODELS, SEPARATOR = "models:", "\x1f"
_OF_MODELS = re.compile(f'<g id="{MODELS}([^"]*)">(.*?</g>)', re.DOTALL)
PNG_COMPRESSION = 2  # of 9; more takes far longer for a few bytes
FONT_SIZE = 10
LINE = 0.19  # inches from one label to the next
MANY, SMALL = 16, 0.75  # labels from which on they are written so much smaller
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
    is_behind: bool = False
    """Whether it is one of many that are drawn in thin grey behind the best."""

    @property
    def width(self) -> float:
        """Of its lines, in points."""
        return 0.8 if self.is_behind else 1.8

    @property
    def zorder(self) -> float:
        """Among what is drawn."""
        return 2 if self.is_behind else 3

    @property
    def ink(self) -> str:
        """The colour of its name."""
        return GREY if self.is_behind else self.color


@dataclass(frozen=True, slots=True)
class Label:
    """A name to write beside the point (x, y) of a plot."""

    text: str
    x: float
    y: float
    style: Style


class Name(Text):
    """A model's name beside the axes, at the middle of its height."""

    def __init__(
        self,
        text: str,
        color: str,
        at: tuple[float, float],
        transform: Transform,
        ends: bool = False,
        size: float = FONT_SIZE,
    ) -> None:
        """Place `text` at a point.

        Args:
            text: to write.
            color: of the letters.
            at: the point, in the coordinates of `transform`.
            transform: from these to the display.
            ends: whether the text ends at the point, not begins there.
            size: of the letters, in points.
        """
        look: Any = {"color": color, "fontsize": size, "clip_on": False}
        super().__init__(*at, drawn(text), verticalalignment="center", **look)
        self.set_gid(of_models(text))
        self.set(transform=transform, horizontalalignment="right" if ends else "left")


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished drawing; `name` is its file name without the ending."""

    name: str
    title: str
    svg: str
    """For the page: in its colours, and what is drawn of a model has its label in `data-model`."""
    png: bytes
    choice: str = ""
    """Its choice among the pictures of one `Plot`."""
    figure: Figure = field(default_factory=Figure, repr=False)

    @property
    def plain_svg(self) -> str:
        """The SVG by itself, in colours of its own."""
        svg = self.svg
        for color, of_page in _OF_THE_PAGE.items():
            svg = svg.replace(of_page, color)
        return svg


Plot = tuple[Picture, ...]
"""One plot: a picture, or several of which the page shows the one that is chosen."""


def styles(cells: pd.DataFrame) -> dict[str, Style]:
    """A style for every model of the suite: baselines grey, references dashed, others coloured.

    Of more than `DISTINCT` trained models the best few are coloured and the rest drawn behind.
    """
    baseline = cells.groupby("model")["baseline"].first()
    references = [name for name in REFERENCE.values() if name in baseline.index]
    trained = sorted(set(baseline.index[~baseline]) - set(references))
    others = sorted(set(baseline.index[baseline]) - set(references))
    found = {name: Style(GREY, "--", "s") for name in references}
    found |= {name: Style(GREY, (0, (1, 1 + i)), "D") for i, name in enumerate(others)}
    ahead = trained
    if len(trained) > DISTINCT:
        ahead = _best_first(cells[cells["model"].isin(trained)])[: len(PALETTE)]
        found |= {name: Style(BACK, "-", is_behind=True) for name in trained}
    for index, name in enumerate(ahead):
        turn, place = divmod(index, len(PALETTE))
        found[name] = Style(PALETTE[place], DASHES[turn], MARKERS[turn])
    return found


def _best_first(cells: pd.DataFrame) -> list[str]:
    """The models of `cells` by their mean rank over data sets and budgets."""
    ranks = []
    for _, alike in cells.groupby(["task", "dataset", "budget"]):
        lead = COLUMNS[alike["task"].iloc[0]][0].measure
        means = alike.groupby("model")[lead.key].mean()
        ranks.append(means.rank(ascending=lead.better == "lower", na_option="bottom"))
    return [*pd.concat(ranks).groupby(level=0).mean().sort_values(kind="stable").index]


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
    text = text[text.index("<svg") :]
    for color, of_page in _OF_THE_PAGE.items():
        text = text.replace(color, of_page)
    return Picture(name, title, _with_models(text), png, choice, figure)


@styled
def pdf(picture: Picture, inches: float) -> bytes:
    """`picture` as PDF of that width, its letters as large as a paper's captions.

    It is wider where long names leave its axes no room. Its fonts are TrueType, as publishers ask.
    """
    figure, out = picture.figure, io.BytesIO()
    size, boxes = figure.get_size_inches(), [axes.get_position() for axes in figure.axes]
    shrunk = PAPER_FONT_SIZE / FONT_SIZE
    beside = max((1 - box.width) * size[0] * shrunk for box in boxes)
    inches = max(inches, beside + NARROWEST)
    _shrink(figure, shrunk, PAPER_FONT_SIZE)
    figure.set_size_inches(inches, size[1] * shrunk)
    for axes, box in zip(figure.axes, boxes, strict=True):
        axes.set_position(_widened(box, size[0] * shrunk, inches))
    with warnings.catch_warnings(), mpl.rc_context({"pdf.fonttype": 42}):
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(out, format="pdf", transparent=True, metadata={"CreationDate": None})
    _shrink(figure, 1 / shrunk, FONT_SIZE)
    figure.set_size_inches(*size)
    for axes, box in zip(figure.axes, boxes, strict=True):
        axes.set_position(box)
    return out.getvalue()


def _widened(box: Bbox, width: float, wider: float) -> tuple[float, float, float, float]:
    """Where axes stand in a figure that is `wider`; names beside them keep their width in inches.

    Names stand at a distance in the axes' own coordinates, which grows with them.
    """
    left, right = box.x0 * width, (1 - box.x1) * width
    before, after = box.width * width, wider - left - right
    if after > before:
        share = LEADER / WIDTH
        after = (after + 2 * share * before) / (1 + 2 * share)
        left += share * (after - before)
    return (left / wider, box.y0, after / wider, box.height)


def _shrink(figure: Figure, share: float, size: float) -> None:
    """Make letters, lines and markers that `share` as large, and those at ticks of `size`."""
    for artist in figure.findobj():
        if isinstance(artist, Text):
            artist.set_fontsize(float(artist.get_fontsize()) * share)
        elif isinstance(artist, Line2D):
            artist.set_linewidth(artist.get_linewidth() * share)
            artist.set_markersize(artist.get_markersize() * share)
        elif isinstance(artist, LineCollection):
            artist.set_linewidth((np.asarray(artist.get_linewidth()) * share).tolist())
    for axes in figure.axes:  # of ticks that are still to come, too
        axes.tick_params(labelsize=size)


def of_models(*labels: str) -> str:
    """The id of an artist that draws these models, each in a path of its own."""
    return MODELS + SEPARATOR.join(label.removesuffix(f" {DISTURBED}") for label in labels)


def _with_models(svg: str) -> str:
    """`svg` where what an artist with such an id has drawn carries the label as `data-model`."""
    return _OF_MODELS.sub(_tagged, svg)


def _tagged(found: re.Match[str]) -> str:
    labels, inside = found[1].split(SEPARATOR), found[2]
    if len(labels) == 1:
        return f'<g data-model="{labels[0]}">{inside}'
    if inside.count("<path ") != len(labels):  # what is not to be seen has no path
        return f"<g>{inside}"
    paths = inside.split("<path ")
    tagged = (
        f'<path data-model="{its}" {path}' for its, path in zip(labels, paths[1:], strict=True)
    )
    return f"<g>{paths[0]}{''.join(tagged)}"


def _png(figure: Figure) -> bytes:
    """`figure` as PNG. Pillow writes the `Name`s: it takes a twentieth of matplotlib's time."""
    figure.set_dpi(PNG_DPI)
    names = figure.findobj(Name)
    for name in names:
        name.set_visible(False)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    pen, out = ImageDraw.Draw(image), io.BytesIO()
    for name in names:
        letters = font(float(name.get_fontsize()) * PNG_DPI / 72)
        x, y = name.get_transform().transform(name.get_position())
        anchor = "lm" if name.get_horizontalalignment() == "left" else "rm"
        pen.text((x, image.height - y), name.get_text(), str(name.get_color()), letters, anchor)
        name.set_visible(True)
    image.save(out, format="png", compress_level=PNG_COMPRESSION)
    return out.getvalue()


def panel(xlabel: str, ylabel: str, beside: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure with one axes, and room for the labels `beside` it."""
    share = label_share(len(beside))
    right = LEADER + share * max(map(text_inches, beside)) + RIGHT
    height = max(HEIGHT, share * LINE * len(beside))
    size = (LEFT + WIDTH + right, BOTTOM + height + TOP)
    figure = Figure(figsize=size)
    place = (LEFT / size[0], BOTTOM / size[1], WIDTH / size[0], height / size[1])
    axes = figure.add_axes(place)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def label_share(count: int) -> float:
    """How large so many labels are, of the size of few."""
    return SMALL if count > MANY else 1.0


def draw_lines(
    axes: Axes, lines: Sequence[Values], styles: Sequence[Style], labels: Sequence[str]
) -> None:
    """Draw lines of points [N,2], each in its model's style; together in a third of the time."""
    order = sorted(range(len(lines)), key=lambda place: not styles[place].is_behind)
    looks = [styles[place] for place in order]
    collection = LineCollection(
        [lines[place] for place in order],
        colors=[style.color for style in looks],
        linestyles=[style.dash for style in looks],
        linewidths=[style.width for style in looks],
        gid=of_models(*(labels[place] for place in order)),
    )
    axes.add_collection(collection)
    axes.autoscale_view()


def keep_possible(axis: XAxis | YAxis, measure: Measure) -> None:
    """Let `axis` reach no value that `measure` cannot have: no error below 0, no SSIM above 1."""
    low, high = axis.get_view_interval()
    perfect = measure.perfect if isinstance(measure, Metric) else None
    scale = 100 if measure.unit.startswith("%") else 1
    if measure.better == "higher" and perfect is not None:
        high = min(high, perfect * scale)
    elif measure.unit.startswith("%"):
        high = min(high, 100)
    if not _may_be_negative(measure):
        low = max(low, 0.0) if axis.get_scale() == "linear" else low
    if low < high:
        axis.axes.set(**{f"{axis.axis_name}lim": (low, high)})


def _may_be_negative(measure: Measure) -> bool:
    """A gain may be a loss, and structure may be turned round."""
    ratio = measure.ratio if isinstance(measure, Metric) else None
    return (ratio is not None and ratio.is_gain) or measure.label.startswith("SSIM")


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
    ordered, share = sorted(labels, key=lambda label: label.y), label_share(len(labels))
    to_fraction = axes.transData + axes.transAxes.inverted()
    points = to_fraction.transform([(label.x, label.y) for label in ordered])
    width, height = np.asarray(axes.bbox.size) / axes.figure.dpi
    places = spread(points[:, 1], share * LINE / height)
    bend, near, end = (1 + share * LEADER / width for share in (0.2, 0.75, 1))
    leaders = LineCollection(
        [[(x, y), (bend, y), (near, place)] for (x, y), place in zip(points, places, strict=True)],
        colors=[label.style.color for label in ordered],
        linewidths=0.6,
        alpha=0.6,
        transform=axes.transAxes,
        clip_on=False,
        gid=of_models(*(label.text for label in ordered)),
    )
    axes.add_collection(leaders, autolim=False)
    for label, place in zip(ordered, places, strict=True):
        at, size = (end, place), share * FONT_SIZE
        name = Name(label.text, label.style.ink, at, axes.transAxes, size=size)
        axes.add_artist(name)


def spread(heights: Any, gap: float) -> Any:
    """Ascending `heights` moved as little as it takes to be `gap` apart and within [0, 1].

    That is the isotonic regression of what is left of them without the gaps: at each place the
    largest, over where a stretch may begin, of the least mean of a stretch that holds the place.
    """
    steps = gap * np.arange(len(heights))
    total = np.cumsum([0.0, *(np.asarray(heights) - steps)])
    first, last = np.ogrid[: len(heights), : len(heights)]
    mean = (total[last + 1] - total[first]) / np.maximum(last + 1 - first, 1)
    mean[last < first] = np.inf
    least = np.minimum.accumulate(mean[:, ::-1], axis=1)[:, ::-1]
    apart = np.maximum.accumulate(least, axis=0).diagonal()
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
