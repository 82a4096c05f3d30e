"""Frame strips: context, truth, each model's frames and their error, for fixed test sequences."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from bench.report.collect import Showcase
from bench.report.plots import INK, Picture, Style, draw, styled

ERROR_STEPS = 64  # of colour, from no error to the largest
COLUMNS = 11  # frames shown of a context or a horizon that is longer
ROW_PIXELS = 960  # of all frames side by side at most, so that the page stays small
ROW_INCHES = 6.2
WIDEST_INCHES = 1.55  # of one frame, where there are few
SPACE = 0.1  # inches between blocks
HEADING_INCHES = 0.25
SEQUENCES = 4
GAP = 2  # pixels between frames
SEAM = 128  # grey of the line between two channels
GREY_OR_COLOUR = (1, 3)  # channels of frames that are shown as they are
MINUS = "\N{MINUS SIGN}"

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows of images that stand close together, each with its label, in the model's colour."""

    labels: tuple[str, ...]
    images: tuple[Image, ...]
    headings: tuple[str, ...] = ()
    """Above the first images of the first row."""
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
    side = ROW_PIXELS // max(len(past), len(future))
    right = _panels(truth[future])
    has_room = 2 * len(future) <= len(past)  # for the errors beside the frames, not under them
    above_truth = (*_numbers(future + 1), "error") if has_room else _numbers(future + 1)
    blocks = [
        _Block(
            ("context",), (_colour(_panels(context[past]), side),), _numbers(past - len(context))
        ),
        _Block(("truth",), (_colour(right, side),), above_truth),
    ]
    for showcase, index in holders:
        guess = _panels(showcase.prediction[index][future])
        images = _colour(guess, side), _error(guess, right, side)
        blocks.append(_of_model(showcase.label, images, styles[showcase.model].color, has_room))
    title = f"Test sequence {sequence}"
    if context.shape[1] not in GREY_OR_COLOUR:
        title += f", its {context.shape[1]} channels side by side"
    figure = _draw_blocks(blocks, max(len(past), len(future)))
    return draw(figure, f"{prefix}-frames-{sequence}", title)


def _of_model(label: str, images: tuple[Image, Image], color: str, has_room: bool) -> _Block:
    """A model's frames and their errors, in one row where there `has_room`."""
    if has_room:
        return _Block((label,), (np.concatenate(images),), color=color)
    return _Block((label, "error"), images, color=color)


def _chosen(count: int) -> npt.NDArray[np.int64]:
    """The indices of at most `COLUMNS` of `count` frames, first and last among them."""
    return np.linspace(0, count - 1, min(count, COLUMNS)).round().astype(np.int64)


def _panels(frames: Image) -> Image:
    """Grey or colour frames [T,C,H,W] as they are; of others the channels side by side, in grey."""
    if frames.shape[1] in GREY_OR_COLOUR:
        return frames
    seamed = np.pad(frames, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=SEAM)
    return np.concatenate(list(seamed.swapaxes(0, 1)), axis=2)[:, None, :, :-1]


def _colour(frames: Image, side: int) -> Image:
    """Frames [T,C,H,W] as RGB [T,H,W,3] of at most `side` pixels a side."""
    shrunk = _shrink(frames.astype(np.float32), side).round().astype(np.uint8)
    return np.broadcast_to(shrunk.transpose(0, 2, 3, 1), (*_space(shrunk), 3))


def _error(guess: Image, truth: Image, side: int) -> Image:
    """The absolute error, mean over channels, black (0) to yellow (1): RGB [T,H,W,3]."""
    error = np.abs(guess.astype(np.float32) - truth).mean(axis=1, keepdims=True)
    rgba = colormaps["inferno"].resampled(ERROR_STEPS)(_shrink(error, side)[:, 0] / 255, bytes=True)
    return np.asarray(rgba[..., :3], np.uint8)


def _space(frames: Image) -> tuple[int, int, int]:
    return frames.shape[0], frames.shape[2], frames.shape[3]


def _shrink(frames: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """Frames [T,C,H,W] averaged over blocks until no side exceeds `side`."""
    block = -(-max(frames.shape[2:]) // side)
    time, channels, height, width = frames.shape
    rows, columns = height // block, width // block
    cut = frames[:, :, : rows * block, : columns * block]
    blocks = cut.reshape(time, channels, rows, block, columns, block)
    return np.asarray(blocks.mean(axis=(3, 5)), np.float32)


def _numbers(frames: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """`frames`, counted from the present, as they are written."""
    return tuple(f"{frame:+d}".replace("-", MINUS) for frame in frames)


def _draw_blocks(blocks: list[_Block], columns: int) -> Figure:
    """The blocks under each other, `columns` images wide."""
    height, width = blocks[0].images[0].shape[1:3]
    pixel = min(ROW_INCHES / columns, WIDEST_INCHES) / (width + GAP)
    left = max(_inches(label) for block in blocks for label in block.labels) + SPACE
    across = columns * (width + GAP) * pixel
    heights = [len(block.images) * (height + GAP) * pixel for block in blocks]
    above = [HEADING_INCHES if block.headings else SPACE for block in blocks]
    size = (left + across + SPACE, sum(heights) + sum(above) + SPACE)
    figure, top = Figure(figsize=size), size[1]
    for block, space, tall in zip(blocks, above, heights, strict=True):
        top -= space + tall
        place = (left / size[0], top / size[1], across / size[0], tall / size[1])
        _draw_block(figure.add_axes(place), block, columns)
    return figure


def _inches(label: str) -> float:
    """How wide `label` is beside a row."""
    font = FontProperties(size=mpl.rcParams["font.size"])
    return float(TextPath((0, 0), label, prop=font).get_extents().width / 72) + SPACE


def _draw_block(axes: Axes, block: _Block, columns: int) -> None:
    """Each row of the block as a picture of its own, for frames and errors share no colours."""
    for top, images in enumerate(block.images):
        row = _row(images, columns)
        height, width = row.shape[:2]
        extent = (0, width, (top + 1) * height, top * height)
        axes.imshow(row, extent=extent, interpolation="none")
    axes.set_ylim(len(block.images) * height, 0)
    axes.set_yticks([(top + 0.5) * height for top in range(len(block.labels))])
    axes.set_yticklabels(block.labels, color=block.color)
    places = (np.arange(len(block.headings)) + 0.5) * width / columns - GAP / 2
    axes.set_xticks(places, block.headings)
    axes.tick_params("x", labeltop=True, labelbottom=False, pad=1)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)


def _row(images: Image, columns: int) -> Image:
    """Images [T,H,W,3] as one RGBA image of `columns` places, clear between them."""
    height, width = images.shape[1:3]
    row = np.zeros((height + GAP, columns, width + GAP, 4), np.uint8)
    row[:height, : len(images), :width, :3] = images.swapaxes(0, 1)
    row[:height, : len(images), :width, 3] = 255
    return row.reshape(height + GAP, columns * (width + GAP), 4)
