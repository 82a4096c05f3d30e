"""The `.seq` files of Caltech Pedestrian: JPEG images as Norpix cameras store them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

from PIL import Image as Pillow

from datasets.sources.regular import open_regular
from datasets.video.movies import MISSING_SHARE
from datasets.video.source import Damaged, reason_of

_HEAD_BYTES = 1024
_MAGIC = 0xFEED
_FORMAT_AT = 568
"""Where the head has the format of the images and, behind it, their number; 0 is "not known"."""

_JPEG = (102, 201)
"""Grey and colour."""

_MOST_BYTES = 1 << 26
"""Of one image."""


def pictures_of_sequence(path: Path, every: int) -> Iterator[Pillow.Image]:
    """The pictures in `path` whose number, counted from 1, is a multiple of `every`.

    The form is that of Dollar's Matlab toolbox (pdollar/toolbox, videos/seqReaderPlugin.m): a head,
    and for each image its size, which counts itself, the JPEG, and 8 bytes of time; in some files 8
    empty bytes more. Caltech's own files were not tried.

    Raises:
        Damaged: it is no such file, is cut short, lacks more than `MISSING_SHARE` of its images, or
            one of them cannot be decoded.
    """
    for number, content in enumerate(_images(path), 1):
        if number % every:
            continue
        try:
            with Pillow.open(io.BytesIO(content), formats=("JPEG",)) as image:
                image.load()
                yield image
        except Exception as error:  # Pillow raises whatever a broken image leads it to
            raise Damaged(f"has an image {number} that is no JPEG: {reason_of(error)}") from error


def _images(path: Path) -> Iterator[bytes]:
    """The content of each image."""
    with open_regular(path) as file:
        head = file.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES or struct.unpack_from("<I", head)[0] != _MAGIC:
            raise Damaged("is no Norpix sequence")
        image_format, due = struct.unpack_from("<II", head, _FORMAT_AT)
        if image_format not in _JPEG:
            raise Damaged(f"holds images of format {image_format}, not JPEG")
        number, behind = 0, 8
        while number < due or not due:
            size = file.read(4)
            if number == 1 and size == bytes(4):
                behind = 16
                size = file.read(8)[4:]
            if not size and number >= due * (1 - MISSING_SHARE):
                return
            length = struct.unpack("<I", size)[0] - 4 if len(size) == 4 else 0
            if not 0 < length <= _MOST_BYTES:
                raise Damaged(f"is cut short or broken after image {number}")
            content = file.read(length)
            if len(content) < length:
                raise Damaged(f"is cut short in image {number + 1}")
            yield content
            number += 1
            file.read(behind)
