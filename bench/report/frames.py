"""Frame strips: context, truth, each model's frames and their error, for fixed test sequences."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image, ImageDraw

from bench.report.plots.canvas import INK, PNG_COMPRESSION, Style, drawn, font
from bench.report.showcase import Showcase

ERROR_STEPS = 64  # of colour, from no error to the largest
COLUMNS = 11  # frames shown of a context or a horizon that is longer
ROW_PIXELS = 960  # of all frames side by side at most, and at least half of it
SEQUENCES = 3
MODELS = 100  # of all strips of a report together, more or less: each is a row or two to draw
SPACE = 10  # pixels between blocks, and beside labels
GAP = 2  # pixels between frames
TEXT_PIXELS = 14
SEAM = 128  # grey of the line between two channels
GREY_OR_COLOUR = (1, 3)  # channels of frames that are shown as they are
MINUS = "\N{MINUS SIGN}"

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Strip:
    """A finished picture of frames; `name` is its file name without the ending."""

    name: str
    title: str
    png: bytes


@dataclass(frozen=True, slots=True)
class _Block:
    """Adjacent rows of images, each with its label, in the model's colour."""

    labels: tuple[str, ...]
    images: tuple[Pixels, ...]
    headings: tuple[str, ...] = ()
    """Above the first images of the first row."""
    color: str = INK


def sequences(showcases: Sequence[Showcase]) -> dict[int, str]:
    """Every stored test sequence and why it is shown, in the order they are stored."""
    found: dict[int, str] = {}
    for showcase in showcases:
        reasons = showcase.why or ("",) * len(showcase.sequence)
        for sequence, why in zip(showcase.sequence.tolist(), reasons, strict=True):
            found.setdefault(sequence, why)
    return found


def title(sequence: int, why: str, showcase: Showcase) -> str:
    """The title of a sequence."""
    channels = showcase.context.shape[2]
    aside = "" if channels in GREY_OR_COLOUR else f", its {channels} channels side by side"
    return f"Test sequence {sequence}{f' ({why})' if why else ''}{aside}"


def holders(sequence: int, showcases: Sequence[Showcase]) -> list[tuple[Showcase, int]]:
    """The showcases that hold `sequence`, and where."""
    return [
        (showcase, int(np.flatnonzero(showcase.sequence == sequence)[0]))
        for showcase in showcases
        if sequence in showcase.sequence
    ]


def strips(
    showcases: Sequence[Showcase], styles: dict[str, Style], prefix: str, sections: int = 1
) -> list[Strip]:
    """A picture of a few sequences, one for each reason, with every model that holds the sequence.

    Args:
        showcases: what the models predicted.
        styles: each model's colour.
        prefix: begins the pictures' names.
        sections: how many sections the report has; of a large report each has fewer strips.
    """
    room = MODELS // (sections * max(1, len(showcases)))
    reasons = sequences(showcases)
    return [
        Strip(
            f"{prefix}-frames-{sequence}",
            title(sequence, reasons[sequence], showcases[0]),
            _strip(sequence, showcases, styles),
        )
        for sequence in _one_of_each(reasons)[: min(SEQUENCES, max(1, room))]
    ]


def chosen(count: int, most: int = COLUMNS) -> npt.NDArray[np.int64]:
    """The indices of at most `most` of `count` frames, first and last among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def panels(frames: Pixels) -> Pixels:
    """Grey or colour frames [T,C,H,W] as they are; of others the channels side by side, in grey."""
    if frames.shape[1] in GREY_OR_COLOUR:
        return frames
    seamed = np.pad(frames, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=SEAM)
    return np.concatenate(list(seamed.swapaxes(0, 1)), axis=2)[:, None, :, :-1]


def shrink(frames: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """Frames [T,C,H,W] averaged over blocks until no side exceeds `side`."""
    block = -(-max(frames.shape[2:]) // side)
    if block == 1:
        return frames
    time, channels, height, width = frames.shape
    rows, columns = max(1, height // block), max(1, width // block)
    cut = frames[:, :, : rows * block, : columns * block]
    blocks = cut.reshape(time, channels, rows, -1, columns, block)
    return np.asarray(blocks.mean(axis=(3, 5)), np.float32)


def numbers(frames: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """`frames`, counted from the present, as they are written."""
    return tuple(f"{frame:+d}".replace("-", MINUS) for frame in frames)


def _one_of_each(reasons: dict[int, str]) -> list[int]:
    """The sequences, the first of every reason before the second of any."""
    counts: Counter[str] = Counter()
    turns = {}
    for sequence, why in reasons.items():
        turns[sequence] = counts[why]
        counts[why] += 1
    return sorted(turns, key=lambda sequence: turns[sequence])


def _strip(sequence: int, showcases: Sequence[Showcase], styles: dict[str, Style]) -> bytes:
    held = holders(sequence, showcases)
    first, place = held[0]
    context, truth = first.context[place], first.truth[place]
    past, future = chosen(len(context)), chosen(len(truth))
    side = ROW_PIXELS // max(len(past), len(future))
    right = panels(truth[future])
    has_room = 2 * len(future) <= len(past)  # for the errors beside the frames, not under them
    above_truth = (*numbers(future + 1), "error") if has_room else numbers(future + 1)
    blocks = [
        _Block(("context",), (_colour(panels(context[past]), side),), numbers(past - len(context))),
        _Block(("truth",), (_colour(right, side),), above_truth),
    ]
    for showcase, index in held:
        guess = panels(showcase.prediction[index][future])
        images = _colour(guess, side), _error(guess, right, side)
        blocks.append(
            _of_model(drawn(showcase.label), images, styles[showcase.model].color, has_room)
        )
    return _draw(blocks, max(len(past), len(future)))


def _of_model(label: str, images: tuple[Pixels, Pixels], color: str, has_room: bool) -> _Block:
    """A model's frames and their errors, in one row where there `has_room`."""
    if has_room:
        return _Block((label,), (np.concatenate(images),), color=color)
    return _Block((label, "error"), images, color=color)


def _colour(frames: Pixels, side: int) -> Pixels:
    """Frames [T,C,H,W] as RGB [T,H,W,3] of at most `side` pixels a side."""
    shrunk = shrink(frames.astype(np.float32), side).round().astype(np.uint8)
    time, _, height, width = shrunk.shape
    return np.broadcast_to(shrunk.transpose(0, 2, 3, 1), (time, height, width, 3))


def _error(guess: Pixels, truth: Pixels, side: int) -> Pixels:
    """The absolute error, mean over channels, black (0) to yellow (1): RGB [T,H,W,3]."""
    error = np.abs(guess.astype(np.float32) - truth).mean(axis=1, keepdims=True)
    rgba = colormaps["inferno"].resampled(ERROR_STEPS)(shrink(error, side)[:, 0] / 255, bytes=True)
    return np.asarray(rgba[..., :3], np.uint8)


def _draw(blocks: list[_Block], columns: int) -> bytes:
    """The blocks under each other, `columns` images wide, as PNG."""
    height, width = blocks[0].images[0].shape[1:3]
    scale = max(1, ROW_PIXELS // (columns * width))
    letters = font(TEXT_PIXELS)
    labels = [label for block in blocks for label in block.labels]
    left = int(max(letters.getlength(label) for label in labels)) + 2 * SPACE
    tall, wide = height * scale + GAP, width * scale + GAP
    above = [(TEXT_PIXELS + SPACE if block.headings else 0) + SPACE for block in blocks]
    rows = sum(len(block.images) for block in blocks)
    size = (left + columns * wide + SPACE, sum(above) + rows * tall + SPACE)
    sheet = Image.new("RGB", size, "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for block, space in zip(blocks, above, strict=True):
        top += space
        for place, heading in enumerate(block.headings):
            middle = left + place * wide + wide // 2
            pen.text((middle, top - 3), heading, INK, letters, anchor="ms")
        for label, images in zip(block.labels, block.images, strict=True):
            pen.text((left - SPACE, top + tall // 2), label, block.color, letters, anchor="rm")
            sheet.paste(_row(images, scale), (left, top))
            top += tall
    out = io.BytesIO()
    sheet.save(out, format="png", compress_level=PNG_COMPRESSION)
    return out.getvalue()


def _row(images: Pixels, scale: int) -> Image.Image:
    """Images [T,H,W,3] side by side, `scale` times as large, white between them."""
    large = images.repeat(scale, axis=1).repeat(scale, axis=2)
    spaced = np.pad(large, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)
    return Image.fromarray(np.concatenate(list(spaced), axis=1))
