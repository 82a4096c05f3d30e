"""Clips in arrays of NumPy: `.npy` files, and `.npz` files of several."""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray
from PIL import Image as Pillow

from datasets.video.files import special
from datasets.video.names import printable
from datasets.video.source import Damaged, reason_of

_Shape = tuple[int, int, int, int, int]

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})

_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 200
"""An array of an `.npz` that is larger than this, and packed more densely, is none."""

_READ_HEADER: dict[tuple[int, int], Callable[[BinaryIO], tuple[tuple[int, ...], bool, Any]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True, slots=True)
class _Array:
    """An array of clips.

    Attributes:
        shape: (N,T,H,W,C).
        frames: reads its frames, one after the other, uint8 [H,W,C].
    """

    shape: _Shape
    frames: Callable[[], Iterator[NDArray[np.uint8]]]


def clips_of_array(path: Path) -> list[int]:
    """The number of frames of each clip in an array, or in the arrays of an `.npz`, in order.

    Raises:
        Damaged: it is no array of frames, or holds none.
    """
    with _opened(path) as (arrays, _):
        return [array.shape[1] for array in arrays for _ in range(array.shape[0])]


def left_out_of_array(path: Path) -> list[str]:
    """The arrays in an `.npz` that are no frames, each with the reason in one line.

    Raises:
        Damaged: as `clips_of_array`.
    """
    with _opened(path) as (_, others):
        return others


def digests_of_array(path: Path) -> list[str]:
    """A digest of each clip's frames, the same in every file that holds these.

    Raises:
        Damaged: it cannot be read.
    """
    digests = []
    with _opened(path) as (arrays, _):
        for array in arrays:
            frames = array.frames()
            for _ in range(array.shape[0]):
                digest = hashlib.sha256(repr(array.shape[1:]).encode())
                for frame in islice(frames, array.shape[1]):
                    digest.update(np.ascontiguousarray(frame).data)
                digests.append(digest.hexdigest())
    return digests


def pictures_of_array(path: Path) -> Iterator[Pillow.Image]:
    """The frames of all clips in `path`, in their order.

    Raises:
        Damaged: it cannot be read, or is no array of frames.
    """
    with _opened(path) as (arrays, _):
        for array in arrays:
            for frame in array.frames():
                yield Pillow.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[_Array], list[str]]]:
    """The arrays of frames in `path`, and what else is in an `.npz`.

    Whatever goes wrong with the file, then or later, is Damaged.
    """
    kind = special(path)
    if kind is not None:
        raise Damaged(f"is {kind}")
    try:
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                yield _packed(archive)
        else:
            array = np.lib.format.open_memmap(path, mode="r")
            yield [_Array(_shape(array.shape, array.dtype), lambda: _mapped(array))], []
    except Damaged:
        raise
    except Exception as error:  # NumPy's and zipfile's parsers raise what a broken file leads to
        raise Damaged(f"cannot be read as an array: {reason_of(error)}") from error


def _mapped(array: NDArray[Any]) -> Iterator[NDArray[np.uint8]]:
    """The frames of `array`."""
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim == 4:
        array = array[None]
    for clip in array:
        yield from clip


def _packed(archive: zipfile.ZipFile) -> tuple[list[_Array], list[str]]:
    """The arrays of frames in an `.npz`, in natural order of their names, and the others."""
    arrays, others = list[_Array](), list[str]()
    for member in natsorted(archive.infolist(), key=lambda member: member.filename):
        try:
            with archive.open(member) as file:
                shape, in_fortran = _head(cast("BinaryIO", file), member)
        except Damaged as damage:
            others.append(f"{printable(member.filename.removesuffix('.npy'))} {damage}")
        else:
            arrays.append(_Array(shape, _unpacking(archive, member, shape, in_fortran)))
    if not arrays:
        raise Damaged(f"holds no array of frames: {others[0]}" if others else "holds no arrays")
    return arrays, others


def _head(file: BinaryIO, member: zipfile.ZipInfo) -> tuple[_Shape, bool]:
    """The shape of the frames in `file`, and whether the last axis is the slowest.

    The file is left where the frames begin.
    """
    if not member.filename.endswith(".npy"):
        raise Damaged("is no array")
    if member.file_size > max(_BOMB_BYTES, member.compress_size * _BOMB_RATIO):
        raise Damaged(f"claims {member.file_size:,} bytes, packed in {member.compress_size:,}")
    version = np.lib.format.read_magic(file)
    if version not in _READ_HEADER:
        raise Damaged("is an array of an unknown version")
    shape, fortran, dtype = _READ_HEADER[version](file)
    frames = _shape(shape, dtype)
    if math.prod(shape) > member.file_size:
        raise Damaged(f"has shape {shape}, but {member.file_size:,} bytes")
    return frames, fortran


def _unpacking(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, shape: _Shape, in_fortran: bool
) -> Callable[[], Iterator[NDArray[np.uint8]]]:
    """What reads the frames of a packed array; in Fortran's order it needs memory for all."""

    def frames() -> Iterator[NDArray[np.uint8]]:
        count, size = math.prod(shape[:2]), math.prod(shape[2:])
        with archive.open(member) as file:
            _head(cast("BinaryIO", file), member)
            if in_fortran:
                array = np.frombuffer(file.read(), np.uint8).reshape(shape, order="F")
                yield from array.reshape(count, *shape[2:])
                return
            for _ in range(count):
                content = file.read(size)
                if len(content) < size:
                    raise Damaged("is cut off")
                yield np.frombuffer(content, np.uint8).reshape(shape[2:])
            file.read(1)  # the end, where the checksum is compared

    return frames


def _shape(shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Shape:
    """`shape` as (N,T,H,W,C)."""
    if dtype.hasobject:
        raise Damaged("holds Python objects, not uint8")
    if dtype != np.uint8:
        are_frames = dtype.kind in "iuf" and len(shape) > 2
        other = ": the data set `arrays` reads such" if are_frames else ""
        raise Damaged(f"holds {str(dtype)[:40]}, not uint8{other}")
    whole = (*shape, 1) if len(shape) == 3 else shape
    whole = (1, *whole) if len(whole) == 4 else whole
    if len(whole) != 5 or whole[-1] not in (1, 3) or any(side < 1 for side in whole):
        raise Damaged(f"has shape {shape}, not [T,H,W], [T,H,W,C] or [N,T,H,W,C] with C 1 or 3")
    if math.prod(whole[2:4]) > (Pillow.MAX_IMAGE_PIXELS or math.inf):
        raise Damaged(f"has frames of {whole[2]:,} x {whole[3]:,} pixels")
    return whole
