"""The frame viewer: every stored sequence as sheets of frames that the page plays synchronously.

A sheet holds the frames of one model and sequence in one picture. The page shows one frame of it
at a time, or all of them where scripts are off and on paper; it draws the error itself, as the
difference of two sheets, so that the error costs no bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
from matplotlib import colormaps
from PIL import Image

from bench.report.frames import Pixels, chosen, holders, numbers, panels, sequences, shrink, title
from bench.report.showcase import Showcase
from bench.score.metrics import REFERENCE

OPENING = 6  # models shown where the page opens
COLUMNS = 10  # frames side by side in a sheet
CONTEXT, HORIZON = 20, 40  # frames shown at most: the last of the context, some of the horizon
SIDE = 160  # pixels of a frame at most
TILE = 128  # pixels of a frame on the screen, more or less
PAGE_SAMPLES = 80_000_000  # in all sheets of a page, of pixels x channels
QUALITY, LEAST_QUALITY = 90, 75  # of WebP: errors of about one level in 255, and of three
ERROR_STOPS = 33


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's prediction of one sequence, as a sheet."""

    label: str
    model: str
    sheet: str


@dataclass(frozen=True, slots=True)
class Take:
    """One test sequence: its context, its truth, and what each model predicted."""

    title: str
    context: str
    truth: str
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The layout of the frames in a sheet."""

    columns: int
    rows: int

    @classmethod
    def of(cls, frames: int) -> Grid:
        """The grid of so many frames."""
        return cls(min(frames, COLUMNS), -(-frames // COLUMNS))


@dataclass(frozen=True, slots=True)
class Viewer:
    """All stored sequences of a section; the sheets are data URIs."""

    past: tuple[str, ...]
    """The numbers of the context's frames as they are written, such as "\N{MINUS SIGN}3"."""
    future: tuple[str, ...]
    width: int
    height: int
    takes: tuple[Take, ...]

    @property
    def context(self) -> Grid:
        """The grid of a sheet of context."""
        return Grid.of(len(self.past))

    @property
    def horizon(self) -> Grid:
        """The grid of a sheet of truth or prediction."""
        return Grid.of(len(self.future))

    @property
    def opening(self) -> Viewer:
        """The first sequence alone, with the best few models and behind them the reference."""
        take = self.takes[0]
        reference = [its for its in take.predictions if its.model == REFERENCE["prediction"]]
        others = [its for its in take.predictions if its not in reference]
        best = (*others[: OPENING - len(reference)], *reference)
        return replace(self, takes=(replace(take, predictions=best),))

    @property
    def sheets(self) -> list[str]:
        """All of its pictures."""
        of_takes = ((t.context, t.truth, *(p.sheet for p in t.predictions)) for t in self.takes)
        return [*chain.from_iterable(of_takes)]

    @property
    def tile(self) -> int:
        """The width of a frame on the screen, a whole multiple of its pixels."""
        return self.width * max(1, round(TILE / self.width))


def viewers(sections: Sequence[Sequence[Showcase]]) -> list[Viewer | None]:
    """The viewer of each section that has showcases, all together small enough for one page."""
    samples = sum(_samples(showcase) for showcases in sections for showcase in showcases)
    share = min(1, (PAGE_SAMPLES / max(1, samples)) ** 0.5)
    quality = QUALITY if samples < PAGE_SAMPLES / 4 else LEAST_QUALITY
    return [
        _viewer(shown, max(1, int(share * _side(shown[0]))), quality) if shown else None
        for shown in sections
    ]


def error_colors() -> list[str]:
    """Red, green and blue from no error to the largest, as an SVG filter takes them."""
    colors = colormaps["inferno"](np.linspace(0, 1, ERROR_STOPS))[:, :3]
    return [" ".join(f"{level:.3f}" for level in channel) for channel in colors.T]


def _side(showcase: Showcase) -> int:
    """The larger side of a frame, in pixels, where no page is too large."""
    side: int = max(panels(showcase.truth[0][:1]).shape[2:])
    return side // -(-side // SIDE)


def _samples(showcase: Showcase) -> int:
    """How many samples the sheets of `showcase` have where no page is too large."""
    _, channels, height, width = panels(showcase.truth[0][:1]).shape
    count, time = showcase.prediction.shape[:2]
    share = _side(showcase) / max(height, width)
    return int(count * min(time, HORIZON) * channels * height * width * share**2)


def _viewer(showcases: Sequence[Showcase], side: int, quality: int) -> Viewer:
    sheet = partial(_sheet, side=side, quality=quality)
    first = showcases[0]
    past = np.arange(-min(first.context.shape[1], CONTEXT), 0)
    future = chosen(first.truth.shape[1], HORIZON)
    takes = []
    for sequence, why in sequences(showcases).items():
        held = holders(sequence, showcases)
        predictions = tuple(
            Prediction(shown.label, shown.model, sheet(shown.prediction[place][future]))
            for shown, place in held
        )
        shown, place = held[0]
        context, truth = shown.context[place][past], shown.truth[place][future]
        name = title(sequence, why, first)
        takes.append(Take(name, sheet(context), sheet(truth), predictions))
    *_, height, width = _small(first.truth[0][:1], side).shape
    return Viewer(numbers(past), numbers(future + 1), width, height, tuple(takes))


def _small(frames: Pixels, side: int) -> Pixels:
    """Frames as they are shown, [T,1 or 3,H,W]."""
    return shrink(panels(frames).astype(np.float32), side).round().astype(np.uint8)


def _sheet(frames: Pixels, side: int, quality: int) -> str:
    """Frames [T,C,H,W] in one picture, row by row, as a data URI."""
    small, grid = _small(frames, side), Grid.of(len(frames))
    blank = grid.rows * grid.columns - len(small)
    filled = np.pad(small, ((0, blank), (0, 0), (0, 0), (0, 0)))
    _, channels, height, width = filled.shape
    rows = filled.reshape(grid.rows, grid.columns, channels, height, width)
    sheet = rows.transpose(0, 3, 1, 4, 2).reshape(grid.rows * height, -1, channels)
    out = io.BytesIO()
    Image.fromarray(sheet if channels == 3 else sheet[..., 0]).save(
        out, format="webp", quality=quality, method=1
    )
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
