"""Frame strips: context, truth, each model's frames and their error, for fixed test sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.collect import Showcase
from bench.report.plots import INK, Picture, Style, draw, styled

COLUMNS = 10  # frames shown of a context or a horizon that is longer
SIDE = 96  # pixels; larger frames are averaged down, so that the page stays small
SEQUENCES = 4
GAP = 2  # pixels between frames
INCHES = 0.62  # width of a frame
MINUS = "\N{MINUS SIGN}"

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows of images that stand close together, each with its label, in the model's colour."""

    labels: tuple[str, ...]
    images: tuple[Image, ...]
    color: str = INK


@styled
def strips(showcases: list[Showcase], styles: dict[str, Style], prefix: str) -> list[Picture]:
    """One picture per stored sequence, with every model that holds the sequence."""
    if not showcases:
        return []
    return [
        _strip(int(sequence), showcases, styles, prefix)
        for sequence in showcases[0].sequence[:SEQUENCES]
    ]


def _strip(
    sequence: int, showcases: list[Showcase], styles: dict[str, Style], prefix: str
) -> Picture:
    holders = [
        (showcase, int(np.flatnonzero(showcase.sequence == sequence)[0]))
        for showcase in showcases
        if sequence in showcase.sequence
    ]
    first, place = holders[0]
    context, truth = first.context[place], first.truth[place]
    past, future = _chosen(len(context)), _chosen(len(truth))
    blocks = [
        _Block(("context",), (_colour(context[past]),)),
        _Block(("truth",), (_colour(truth[future]),)),
    ]
    for showcase, index in holders:
        guess = showcase.prediction[index][future]
        images = _colour(guess), _error(guess, truth[future])
        blocks.append(_Block((showcase.label, "error"), images, styles[showcase.model].color))
    figure = _draw_blocks(blocks, past - len(context), future + 1)
    return draw(figure, f"{prefix}-frames-{sequence}", f"Test sequence {sequence}")


def _chosen(count: int) -> npt.NDArray[np.int64]:
    """The indices of at most `COLUMNS` of `count` frames, first and last among them."""
    return np.linspace(0, count - 1, min(count, COLUMNS)).round().astype(np.int64)


def _colour(frames: Image) -> Image:
    """Frames [T,C,H,W] as RGB [T,H,W,3] of at most `SIDE` pixels a side."""
    shrunk = _shrink(frames.astype(np.float32)).round().astype(np.uint8)
    return np.broadcast_to(shrunk.transpose(0, 2, 3, 1), (*_space(shrunk), 3))


def _error(guess: Image, truth: Image) -> Image:
    """The absolute error, mean over channels, black (0) to yellow (1): RGB [T,H,W,3]."""
    error = np.abs(guess.astype(np.float32) - truth).mean(axis=1, keepdims=True)
    rgba = colormaps["inferno"](_shrink(error)[:, 0] / 255, bytes=True)
    return np.asarray(rgba[..., :3], np.uint8)


def _space(frames: Image) -> tuple[int, int, int]:
    return frames.shape[0], frames.shape[2], frames.shape[3]


def _shrink(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Frames [T,C,H,W] averaged over blocks until no side exceeds `SIDE`."""
    block = -(-max(frames.shape[2:]) // SIDE)
    time, channels, height, width = frames.shape
    rows, columns = height // block, width // block
    cut = frames[:, :, : rows * block, : columns * block]
    blocks = cut.reshape(time, channels, rows, block, columns, block)
    return np.asarray(blocks.mean(axis=(3, 5)), np.float32)


def _draw_blocks(
    blocks: list[_Block], past: npt.NDArray[np.int64], future: npt.NDArray[np.int64]
) -> Figure:
    """The blocks under each other, with frame numbers over the context and over the truth."""
    columns = max(len(past), len(future))
    height, width = blocks[0].images[0].shape[1:3]
    rows = [len(block.images) for block in blocks]
    inches = INCHES * height / width
    size = (1.7 + INCHES * columns, inches * sum(rows) + 0.12 * len(rows) + 0.4)
    figure = Figure(figsize=size, layout="compressed")
    every = figure.subplots(len(rows), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axes, block in zip(every, blocks, strict=True):
        axes.imshow(_grid(block.images, columns), interpolation="none")
        axes.set_yticks([(row + 0.5) * (height + GAP) for row in range(len(block.labels))])
        axes.set_yticklabels(block.labels, color=block.color)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
    _number(every[0], past, width)
    _number(every[1], future, width)
    return figure


def _grid(rows: tuple[Image, ...], columns: int) -> Image:
    """Rows of images [T,H,W,3] as one RGBA image of `columns` places, clear between them."""
    height, width = rows[0].shape[1:3]
    grid = np.zeros((len(rows), height + GAP, columns, width + GAP, 4), np.uint8)
    for row, images in enumerate(rows):
        grid[row, :height, : len(images), :width, :3] = images.swapaxes(0, 1)
        grid[row, :height, : len(images), :width, 3] = 255
    return grid.reshape(len(rows) * (height + GAP), columns * (width + GAP), 4)


def _number(axes: Axes, frames: npt.NDArray[np.int64], width: int) -> None:
    """Write the frame numbers, counted from the present, above the row."""
    places = np.arange(len(frames)) * (width + GAP) + width / 2
    axes.set_xticks(places, [f"{frame:+d}".replace("-", MINUS) for frame in frames])
    axes.tick_params("x", labeltop=True, labelbottom=False, pad=1)
