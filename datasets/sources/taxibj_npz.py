"""The windows of TaxiBJ as the field passes them on: `dataset.npz`, 4 frames and the 4 after."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from datasets.video.source import Image, Source, Sources, SourceWrong

NAME = "dataset.npz"
CONTEXT_FRAMES, HORIZON = 4, 4
WINDOW_FRAMES = CONTEXT_FRAMES + HORIZON
VALIDATION_WINDOWS = 1344

_FRAME = (2, 32, 32)
_WINDOWS_AT_ONCE = 64
_ROUNDING = 1e-6

Windows = NDArray[np.floating]
"""Windows [N,8,2,32,32] in [-1,1]; a held-out flow beyond the training maximum is above 1."""


def find(path: Path) -> Sources:
    """The three splits of the file `path`, one source each, in which every window is a clip.

    Its test windows test. Of its training windows the last 1,344 validate, a tenth where that is
    fewer, and the others train. Neighbouring windows overlap: those that show a frame of a later
    split are left out, so that no two splits share any.

    Raises:
        SourceWrong: the file is not of the known form.
    """
    (prints, _), (test, cut) = _scan(path, "train"), _scan(path, "test")
    train, validation = np.split(prints, [-_validation_windows(len(prints))])
    validates = _shares_none(validation, test)
    trains = _shares_none(train, np.union1d(test, validation[validates]))
    kept = {"train": trains, "validation": validates, "test": np.full(len(test), True)}
    for split, windows in kept.items():
        if not windows.any():
            raise SourceWrong(
                f"{path.name} has no {split} window without a frame of another split: its windows"
                " are too few, or not in the order of time; get it anew"
            )
    return Sources(
        videos=[
            Source(split, (path,), {"split": split}, _ranges(windows))
            for split, windows in kept.items()
        ],
        facts={
            "form": "npz",
            "files": [path.name],
            "windows_left_out": sum(int((~windows).sum()) for windows in kept.values()),
            "values_cut": cut,
        },
    )


def read(source: Source) -> Iterator[Image]:
    """The frames of all windows of the split that `source` is, uint16 [2,32,32]."""
    (path,), split = source.paths, source.tags["split"]
    for windows in _windows(path, *_place(path, split)):
        yield from _pixels(windows)


def _pixels(windows: Windows) -> NDArray[np.uint16]:
    """The frames of `windows` in their order, uint16 [8N,2,32,32]."""
    frames = windows.reshape(-1, *_FRAME).astype(np.float64)
    return np.rint((frames + 1) / 2 * 65_535).clip(0, 65_535).astype(np.uint16)


def _place(path: Path, split: str) -> tuple[str, slice]:
    """In which part of the file the windows of `split` are, and where there."""
    if split == "test":
        return "test", slice(None)
    with _parts(path, "train") as (before, _):
        first_held_out = before.count - _validation_windows(before.count)
    return "train", slice(first_held_out) if split == "train" else slice(first_held_out, None)


def _validation_windows(training_windows: int) -> int:
    """How many of the training windows validate."""
    return min(VALIDATION_WINDOWS, max(1, training_windows // 10))


def _ranges(kept: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Where the windows that are kept lie in the frames of all."""
    firsts = (np.flatnonzero(kept) * WINDOW_FRAMES).tolist()
    return tuple((first, first + WINDOW_FRAMES) for first in firsts)


def _scan(path: Path, part: str) -> tuple[NDArray[np.uint64], int]:
    """A fingerprint of each frame [N,8] in `part`, and how many values are above 1.

    Raises:
        SourceWrong: values are not finite, or not scaled to [-1,1].
    """
    prints, cut, low, high = [], 0, math.inf, -math.inf
    for windows in _windows(path, part):
        if not np.isfinite(windows).all():
            raise SourceWrong(f"{path.name} holds {part} values that are not finite: get it anew")
        low, high = min(low, float(windows.min())), max(high, float(windows.max()))
        cut += int((windows > 1 + _ROUNDING).sum())
        prints += [_fingerprint(frame) for frame in _pixels(windows)]
    if not -1 - _ROUNDING <= low < 0 or (part == "train" and cut):
        raise SourceWrong(
            f"the {part} values of {path.name} lie in [{low:g},{high:g}]: get the file in which"
            " they are scaled to [-1,1]"
        )
    return np.array(prints, np.uint64).reshape(-1, WINDOW_FRAMES), cut


def _shares_none(windows: NDArray[np.uint64], frames: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of `windows` show none of `frames`."""
    return np.asarray(np.isin(windows, frames, invert=True).all(axis=1), np.bool_)


def _fingerprint(frame: NDArray[np.uint16]) -> int:
    """64 bits of the hash of a frame's pixels."""
    return int.from_bytes(hashlib.blake2b(frame.tobytes(), digest_size=8).digest(), "big")


def _windows(path: Path, part: str, which: slice = slice(None)) -> Iterator[Windows]:
    """The windows of `part` of the file, "train" or "test", some at a time.

    Raises:
        SourceWrong: the file is not of the known form.
    """
    with _parts(path, part) as (before, after):
        first, last, _ = which.indices(before.count)
        before.skip(first)
        after.skip(first)
        for start in range(first, last, _WINDOWS_AT_ONCE):
            count = min(_WINDOWS_AT_ONCE, last - start)
            yield np.concatenate((before.read(count), after.read(count)), axis=1)


@contextmanager
def _parts(path: Path, part: str) -> Iterator[tuple[_Array, _Array]]:
    """The arrays of the frames given and of those that follow.

    Raises:
        SourceWrong: the file does not hold them, or cannot be read.
    """
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(f"X_{part}.npy") as given,
            archive.open(f"Y_{part}.npy") as following,
        ):
            arrays = _Array(given), _Array(following)
            if arrays[0].count != arrays[1].count or not arrays[0].count:
                counts = " and ".join(str(array.count) for array in arrays)
                raise ValueError(f"X_{part} and Y_{part} have {counts} windows")
            yield arrays
    except KeyError:
        raise SourceWrong(f"{path.name} lacks X_{part} or Y_{part}: get the field's file") from None
    except ValueError as error:
        raise SourceWrong(f"{path.name}: {error}; get the field's file") from error
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, LZMAError) as error:
        raise SourceWrong(
            f"{path.name} is no .npz file, is cut short or cannot be read: get it anew"
        ) from error


class _Array:
    """An array [N,4,2,32,32] in an `.npz` file, read from front to back.

    Unpacked it may be larger than the memory.
    """

    def __init__(self, file: IO[bytes]) -> None:
        """Raises ValueError where it is of another form."""
        np.lib.format.read_magic(file)
        shape, fortran_order, self._dtype = np.lib.format.read_array_header_1_0(file)
        self.count, *rest = shape or (0,)
        if tuple(rest) != (CONTEXT_FRAMES, *_FRAME) or self._dtype.kind != "f" or fortran_order:
            raise ValueError(
                f"an array is {self._dtype} {shape}, not floats (N,4,2,32,32) in C order"
            )
        self._file, self._bytes = file, math.prod(rest) * self._dtype.itemsize

    def skip(self, windows: int) -> None:
        """Pass over some."""
        self._file.seek(windows * self._bytes, io.SEEK_CUR)

    def read(self, windows: int) -> Windows:
        """The next ones. Raises ValueError where the array ends before."""
        content = self._file.read(windows * self._bytes)
        return np.frombuffer(content, self._dtype).reshape(windows, CONTEXT_FRAMES, *_FRAME)
