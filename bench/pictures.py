"""Frames as pictures: contact sheets, animations, and the files that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Frames = NDArray[np.uint8]
"""RGB [T,H,W,3]."""

FRAMES_PER_SECOND = 10
SIDE = 128  # pixels; smaller frames are enlarged towards it
BORDER, GAP, LINE = 2, 6, 16  # pixels
GIVEN, PREDICTED = (150, 150, 150), (213, 94, 0)  # grey, and a red that the colour-blind tell apart
PAPER, INK = (255, 255, 255), (40, 40, 40)


def shown(frames: NDArray[np.uint8], longest_side: int | None = None) -> Frames:
    """Frames [T,C,H,W] as RGB [T,H,W,3], scaled for viewing.

    Grey and colour frames keep their colours; other channels are placed side by side in grey.
    Small frames are enlarged by an integer factor; those beyond `longest_side` are scaled down.
    """
    if frames.shape[1] not in (1, 3):
        channels = np.split(frames, frames.shape[1], axis=1)
        return side_by_side([shown(channel, longest_side) for channel in channels])
    colour = frames.transpose(0, 2, 3, 1)
    colour = np.broadcast_to(colour, (*colour.shape[:3], 3))
    longer = max(colour.shape[1:3])
    if longest_side is not None and longer > longest_side:
        return _smaller(colour, longest_side / longer)
    times = max(1, SIDE // longer)
    return colour.repeat(times, axis=1).repeat(times, axis=2)


def _smaller(frames: Frames, share: float) -> Frames:
    height, width = (max(1, round(side * share)) for side in frames.shape[1:3])
    pictures = (Image.fromarray(np.ascontiguousarray(frame)) for frame in frames)
    small = [picture.resize((width, height), Image.Resampling.BOX) for picture in pictures]
    return np.stack([np.asarray(picture) for picture in small])


def bordered(frames: Frames, given: int) -> Frames:
    """`frames` within a thin border, grey around the first `given`, coloured around the others."""
    count, height, width, _ = frames.shape
    out = np.empty((count, height + 2 * BORDER, width + 2 * BORDER, 3), np.uint8)
    out[:given], out[given:] = GIVEN, PREDICTED
    out[:, BORDER:-BORDER, BORDER:-BORDER] = frames
    return out


def side_by_side(clips: Sequence[Frames]) -> Frames:
    """Clips of one shape as one, beside each other."""
    apart = np.pad(np.stack(clips), ((0, 0), (0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(apart), axis=2)[:, :, :-GAP]


def contact_sheet(
    rows: Sequence[Frames], heads: Sequence[str], given: int, titles: Sequence[str]
) -> Image.Image:
    """Clips as rows of frames, the first `given` of which are marked apart from the others.

    Args:
        rows: the frames to draw of each clip.
        heads: the text above each column.
        given: how many columns are context.
        titles: the text above each row; may be "".
    """
    framed = [bordered(row, given) for row in rows]
    columns, height, width, _ = framed[0].shape
    above = LINE if any(titles) else 0
    row_height = above + height + GAP
    size = GAP + columns * (width + GAP), LINE + GAP + len(rows) * row_height
    sheet = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for column, head in enumerate(heads):
        colour = INK if column < given else PREDICTED
        middle = GAP + column * (width + GAP) + width // 2
        draw.text((middle, LINE // 2 + 2), head, fill=colour, font=font, anchor="mm")
    for number, (row, title) in enumerate(zip(framed, titles, strict=True)):
        top = LINE + GAP // 2 + number * row_height
        draw.text((GAP, top), title, fill=INK, font=font)
        for column, frame in enumerate(row):
            sheet.paste(Image.fromarray(frame), (GAP + column * (width + GAP), top + above))
    return sheet


def write_gif(path: Path, frames: Frames) -> None:
    """Write `frames` as an animation that repeats."""
    pictures = [Image.fromarray(frame).quantize(kmeans=1) for frame in frames]
    first, *others = pictures
    first.save(
        path, save_all=True, append_images=others, duration=1000 // FRAMES_PER_SECOND, loop=0
    )


def write_mp4(path: Path, frames: Frames) -> None:
    """Write `frames` as an H.264 video; its sides are padded to even lengths."""
    even = np.pad(
        frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge"
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FRAMES_PER_SECOND))
        stream.height, stream.width, stream.pix_fmt = *even.shape[1:3], "yuv420p"
        stream.options = {"crf": "15"}
        for frame in even:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
