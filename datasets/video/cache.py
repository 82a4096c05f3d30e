"""A cache of decoded frames: one memory-mapped `.npy` file, and a manifest of what is in it."""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.contract import DataMissing
from datasets.sources.folders import data_folder, find
from datasets.video.source import FrameFormat, Preparation

FRAMES, MANIFEST = "frames.npy", "manifest.json"
FORMAT = 1
"""The version of the layout; a cache of another one is made anew."""

_TORCH_DTYPES = {"|u1": torch.uint8, "<u2": torch.uint16, "<f2": torch.float16}
"""By how a `.npy` file names them."""

RESIDENT_BYTES = 256 << 20
"""How much of the file stays mapped in this process; it is dropped when more was read."""

AROUND_BYTES = 128 << 10
"""What the kernel may map around each run of frames that is read: 64 KiB before and after."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Consecutive frames of the cache; windows never cross its ends."""

    name: str
    first: int
    frames: int
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DamagedSource:
    """A source that could not be read, and why."""

    name: str
    reason: str


class Frames:
    """The frames [N,C,H,W] of a `.npy` file, uint8, uint16 or float16, read as they are needed.

    At most `RESIDENT_BYTES` of it stay in the memory of the process.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such array, or not whole.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
            offset = file.tell()
            # Copy-on-write, because torch takes no read-only memory. Nothing is ever written.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        if dtype.str not in _TORCH_DTYPES:
            raise ValueError(f"{path} holds {dtype}, not uint8, uint16 or float16")
        self.dtype = _TORCH_DTYPES[dtype.str]
        self._frames = torch.frombuffer(
            self._map, dtype=self.dtype, offset=offset, count=math.prod(shape)
        ).view(shape)
        self._touched = 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N,C,H,W)."""
        count, channels, height, width = self._frames.shape
        return count, channels, height, width

    def gather(self, indices: Tensor) -> Tensor:
        """The frames at int64 `indices` [...]: [...,C,H,W] of `dtype`, a copy."""
        wanted = indices.flatten()
        found = self._frames.index_select(0, wanted)
        self._touched += found.nbytes + int((wanted.diff() != 1).sum() + 1) * AROUND_BYTES
        if self._touched > RESIDENT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0
        return found.view(*indices.shape, *self._frames.shape[1:])


@dataclass(frozen=True, slots=True)
class Cache:
    """The opened cache of a data set: its clips, their frames, and what the manifest says."""

    folder: Path
    clips: tuple[Clip, ...]
    frames: Frames
    facts: Mapping[str, Any]
    damaged: tuple[DamagedSource, ...]

    @classmethod
    def open(cls, preparation: Preparation) -> Cache:
        """The cache that `preparation` makes.

        Raises:
            DataMissing: it has not been made, or not to its end, or by another version, or with
                frames of another type.
        """
        folder = cache_folder(preparation)
        manifest = read_manifest(folder)
        if manifest is None:
            raise DataMissing(
                f"{preparation.name} is not prepared here: get {preparation.get}, then run"
                f" `{preparation.command}`"
            )
        made = FrameFormat(**manifest["frame"]).dtype
        if made != preparation.format.dtype:
            raise DataMissing(
                f"{preparation.name} was prepared as {made}, and is {preparation.format.dtype} now:"
                f" run `{preparation.command}`"
            )
        return cls(
            folder=folder,
            clips=tuple(Clip(**clip) for clip in manifest["clips"]),
            frames=Frames(folder / FRAMES),
            facts=manifest["facts"],
            damaged=tuple(DamagedSource(**source) for source in manifest["damaged"]),
        )


def caches() -> Path:
    """The folder in which caches are made."""
    return data_folder() / "cache"


def cache_folder(preparation: Preparation) -> Path:
    """The folder of the cache, in `caches` or shared; if there is none, where it will be made."""
    made = caches() / preparation.folder
    return find(f"{made.parent.name}/{made.name}") or made


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of the finished cache in `folder`; None where there is none of this version.

    A cache whose frames are truncated, as by a broken copy, counts as none.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        Frames(folder / FRAMES)
    except (OSError, ValueError):
        return None
    return manifest if manifest.get("format") == FORMAT else None
