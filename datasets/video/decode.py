"""Frames of videos, images and arrays, all in one size, in RGB or grey, in their order.

They come out the same on every machine: decoders and colour conversion run in FFmpeg's bit-exact
mode, and Pillow resizes with integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from datasets.video.arrays import ARRAY_SUFFIXES, pictures_of_array
from datasets.video.files import special
from datasets.video.images import (
    in_eight_bits,
    is_image,
    pictures_of_images,
    pictures_of_stack,
)
from datasets.video.movies import pictures_of_video
from datasets.video.source import Damaged, FrameFormat, Image, Source


def read_frames(source: Source, frame_format: FrameFormat) -> Iterator[Image]:
    """The frames of a video, an array, a stack, or of images in the order given, uint8 [C,H,W].

    One frame after the other: a video of any length needs the memory of a few of them. The rotation
    that phones note in their videos and photographs is applied; transparency is laid over black;
    16 bits a channel become 8.

    Raises:
        Damaged: the source cannot be read, is damaged or cut off somewhere, lacks more than
            `movies.MISSING_SHARE` of the frames that it declares, changes size within a clip, or
            has fewer than two frames; the frames before that are given out first.
    """
    size, count = (0, 0), 0
    firsts = {first + 1 for first, _ in source.ranges} | {1}
    for count, picture in enumerate(_pictures(source.paths), 1):
        if count in firsts:
            size = picture.size
        elif picture.size != size:
            was, now = (f"{width}x{height}" for width, height in (size, picture.size))
            raise Damaged(f"changes size at frame {count}, from {was} to {now}")
        yield fitted(picture, frame_format)
    if count < 2:
        raise Damaged("has 1 frame" if count else "has no frames")


def fitted(picture: Pillow.Image, frame_format: FrameFormat) -> Image:
    """A picture as it is cached: in `frame_format`'s colours and size, uint8 [C,H,W]."""
    picture = in_eight_bits(picture).convert("L" if frame_format.channels == 1 else "RGB")
    size, box = (frame_format.width, frame_format.height), None
    if frame_format.fit == "crop":
        scale = min(picture.width / frame_format.width, picture.height / frame_format.height)
        left = (picture.width - scale * frame_format.width) / 2
        top = (picture.height - scale * frame_format.height) / 2
        box = (left, top, picture.width - left, picture.height - top)
    pixels = np.asarray(picture.resize(size, Pillow.Resampling.BILINEAR, box))
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1))


def _pictures(paths: tuple[Path, ...]) -> Iterator[Pillow.Image]:
    if len(paths) > 1:
        return pictures_of_images(paths)
    (path,) = paths
    if is_image(path):
        return pictures_of_stack(path)
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return pictures_of_array(path)
    kind = special(path)
    if kind is not None:
        raise Damaged(f"is {kind}, not a file")
    return pictures_of_video(path)
