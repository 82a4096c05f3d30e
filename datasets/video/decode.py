"""Frames of videos, images and arrays, all in one size, in RGB or grey, in their order.

They come out the same on every machine: decoders and colour conversion run in FFmpeg's bit-exact
mode, and Pillow resizes with integers.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from datasets.video.arrays import ARRAY_SUFFIXES, pictures_of_array
from datasets.video.images import (
    in_eight_bits,
    is_image,
    pictures_of_images,
    pictures_of_stack,
)
from datasets.video.movies import pictures_of_video
from datasets.video.source import PIXEL_ASPECT, Damaged, FrameFormat, Image, Reading, Source


def read_frames(
    source: Source, frame_format: FrameFormat
) -> Generator[Image, None, tuple[str, ...]]:
    """The frames of a video, an array, a stack, or of images in the order given, uint8 [C,H,W].

    One frame after the other: a video of any length needs the memory of a few of them. The rotation
    that phones note in their videos and photographs is applied; transparency is laid over black;
    16 bits a channel become 8. What is odd about a video is returned (`movies.VARIABLE_RATE`, ...).

    Raises:
        Damaged: the source cannot be read, is damaged or cut off somewhere, lacks more than
            `movies.MISSING_SHARE` of the frames that it declares, changes size within a clip, or
            has fewer than two frames; the frames before that are given out first.
    """
    size, count = (0, 0), 0
    pictures = Reading(_pictures(source.paths, frame_format.frames_per_second))
    firsts = {first + 1 for first, _ in source.ranges} | {1}
    for count, picture in enumerate(pictures, 1):
        if count in firsts:
            size = picture.size
        elif picture.size != size:
            was, now = (f"{width}x{height}" for width, height in (size, picture.size))
            raise Damaged(f"changes size at frame {count}, from {was} to {now}")
        yield fitted(picture, frame_format)
    if count < 2:
        raise Damaged("has 1 frame" if count else "has no frames")
    return pictures.remarks


def fitted(picture: Pillow.Image, frame_format: FrameFormat) -> Image:
    """A picture as it is cached: in `frame_format`'s colours and size, uint8 [C,H,W].

    Where its pixels are not square, as its `info` says, it is cropped as it is to be seen;
    stretched to a size it is the same, whatever their shape.
    """
    aspect = float(picture.info.get(PIXEL_ASPECT, 1))
    picture = in_eight_bits(picture).convert("L" if frame_format.channels == 1 else "RGB")
    size, box = (frame_format.width, frame_format.height), None
    if frame_format.fit == "crop":
        seen_width = picture.width * aspect
        scale = min(seen_width / frame_format.width, picture.height / frame_format.height)
        left = (seen_width - scale * frame_format.width) / 2 / aspect
        top = (picture.height - scale * frame_format.height) / 2
        box = (left, top, picture.width - left, picture.height - top)
    pixels = np.asarray(picture.resize(size, Pillow.Resampling.BILINEAR, box))
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1))


def _pictures(
    paths: tuple[Path, ...], frames_per_second: float | None
) -> Generator[Pillow.Image, None, tuple[str, ...]]:
    if is_video(paths):
        return (yield from pictures_of_video(paths[0], frames_per_second))
    if frames_per_second is not None:
        raise Damaged("has no times by which frames could be picked, as videos do")
    if len(paths) > 1:
        yield from pictures_of_images(paths)
    elif is_image(paths[0]):
        return (yield from pictures_of_stack(paths[0]))
    else:
        yield from pictures_of_array(paths[0])
    return ()


def is_video(paths: tuple[Path, ...]) -> bool:
    """Whether a source of these `paths` is a video, and so has times."""
    one, *others = paths
    suffix = one.suffix.lower()
    still = is_image(one) and suffix not in (".gif", ".apng")
    return not others and not still and suffix not in ARRAY_SUFFIXES
