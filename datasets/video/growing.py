"""A cache in the making: frames appended source by source, and a journal to resume from.

Both are in `FOLDER.partial`. A source's line is added to the journal after its frames are in the
file; on resuming, frames beyond the journal are truncated. A kill loses only the sources that were
being decoded. The finished cache is renamed to `FOLDER` in one step.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from datasets.video.digests import digests_of
from datasets.video.manifest import FORMAT, FRAMES, Entry, read_entry, write_manifest
from datasets.video.source import FrameFormat

JOURNAL = "journal.jsonl"


class GrowingCache:
    """The unfinished cache of `folder`, resumed from what an earlier call left of it.

    That is kept as far as it came from the same sources, whose `keys` are given in order.

    Attributes:
        entries: of the sources that are done.
        frames: how many they gave.
        damaged: how many of them cannot be read.

    Raises:
        OSError: its files cannot be written; so do the methods.
    """

    def __init__(self, folder: Path, frame_format: FrameFormat, keys: Sequence[str]) -> None:
        self._final, self.folder = folder, partial_folder(folder)
        self._format = frame_format
        self._parts = self.folder / "parts"
        shutil.rmtree(self._parts, ignore_errors=True)
        self._parts.mkdir(parents=True)
        self._files = ExitStack()
        self._frames = self._files.enter_context(_opened(self.folder / FRAMES))
        self._journal = self._files.enter_context(_opened(self.folder / JOURNAL))
        self.entries: list[Entry] = []
        self.frames = self.damaged = 0
        self._resume(_line({"format": FORMAT, "frame": frame_format.as_json()}), keys)

    def __enter__(self) -> GrowingCache:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def part(self, number: int) -> Path:
        """The file that takes the frames of source `number`, for `add`."""
        return self._parts / f"{os.getpid()}-{number}"

    def add(self, entry: Entry, part: Path) -> None:
        """Append the frames in `part`, then the journal's line."""
        if entry.frames:
            with part.open("rb") as frames:
                shutil.copyfileobj(frames, self._frames, 1 << 20)
            self._frames.flush()
        part.unlink(missing_ok=True)
        self._journal.write(_line(asdict(entry)))
        self._journal.flush()
        self._count(entry)

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Add the frames' digests to `manifest`; rename the cache to its final folder.

        It takes the place of an older one.
        """
        self._frames.seek(0)
        self._frames.write(_header(self.frames, self._format))
        self._files.close()
        self._parts.rmdir()
        digests = digests_of(self.folder / FRAMES)
        write_manifest(self.folder, {**manifest, "digests": digests})
        old = _old_folder(self._final)
        shutil.rmtree(old, ignore_errors=True)
        if self._final.exists():
            self._final.rename(old)
        self.folder.rename(self._final)
        remove_leftovers(self._final)

    def _count(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.frames += entry.frames
        self.damaged += bool(entry.reason)

    def _resume(self, head: bytes, keys: Sequence[str]) -> None:
        """Keep what the journal lists of these sources, and truncate all beyond it."""
        frame_bytes = math.prod(self._format.shape) * np.dtype(self._format.dtype).itemsize
        offset = len(_header(0, self._format))
        capacity = (self._frames.seek(0, os.SEEK_END) - offset) // frame_bytes
        first, *lines = self._journal.read().splitlines(keepends=True) or [b""]
        end = len(head)
        for key, line in zip(keys, lines if first == head else [], strict=False):
            entry = read_entry(line)
            if entry is None or entry.key != key or self.frames + entry.frames > capacity:
                break
            self._count(entry)
            end += len(line)
        _rewrite(self._frames, _header(0, self._format), offset + self.frames * frame_bytes)
        _rewrite(self._journal, head, end)


def partial_folder(folder: Path) -> Path:
    """The folder of the unfinished cache; it exists while a preparation runs or was interrupted."""
    return folder.with_name(f"{folder.name}.partial")


def remove_leftovers(folder: Path) -> None:
    """Remove the journal and the older cache, which a kill may have left beside `folder`."""
    (folder / JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(_old_folder(folder), ignore_errors=True)


def _old_folder(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def _header(frames: int, frame_format: FrameFormat) -> bytes:
    """The head of a `.npy` file; numpy pads it, so that its size does not depend on `frames`."""
    file = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(frame_format.dtype))
    head = {"descr": descr, "fortran_order": False, "shape": (frames, *frame_format.shape)}
    np.lib.format.write_array_header_1_0(file, head)
    return file.getvalue()


def _rewrite(file: BinaryIO, head: bytes, size: int) -> None:
    """Write `head`, truncate `file` to `size` bytes, and seek to its end."""
    file.seek(0)
    file.write(head)
    file.truncate(size)
    file.seek(size)


def _opened(path: Path) -> BinaryIO:
    """A file to read and to change, made where there is none."""
    path.touch()
    return path.open("r+b")


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"
