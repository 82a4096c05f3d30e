"""A cache of decoded frames: one memory-mapped `.npy` file, and a manifest of what is in it."""

from __future__ import annotations

import hashlib
import math
import mmap
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from datasets.contract import DataMissing
from datasets.sources.folders import data_folder, find
from datasets.sources.regular import open_regular
from datasets.video import digests, manifest
from datasets.video.beside import from_text
from datasets.video.manifest import FRAMES as FRAMES
from datasets.video.manifest import MANIFEST as MANIFEST
from datasets.video.manifest import Altered, Entry, Manifest
from datasets.video.manifest import Clip as Clip
from datasets.video.manifest import DamagedSource as DamagedSource
from datasets.video.nearby import nearby
from datasets.video.source import Preparation

SAMPLED_BLOCKS = 16
"""How much of the frames is checked whenever a cache is opened, in blocks of 1 MiB."""

_TORCH_DTYPES = {"|u1": torch.uint8, "<u2": torch.uint16, "<f2": torch.float16}
"""By how a `.npy` file names them."""

RESIDENT_BYTES = 256 << 20
"""How much of the file stays mapped in this process; it is dropped when more was read."""

AROUND_BYTES = 128 << 10
"""What the kernel may map around each run of frames that is read: 64 KiB before and after."""


class Frames:
    """The frames [N,C,H,W] of a `.npy` file, uint8, uint16 or float16, read as they are needed.

    At most `RESIDENT_BYTES` of it stay in the memory of the process.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such array, or not whole.
    """

    def __init__(self, path: Path) -> None:
        with open_regular(path) as file:
            shape, dtype = _head(file)
            offset = file.tell()
            # Copy-on-write, because torch takes no read-only memory. Nothing is ever written.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        due = offset + math.prod(shape) * dtype.itemsize
        if len(self._map) != due:
            raise ValueError(f"{path.name} has {len(self._map):,} bytes of {due:,}")
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


def _head(file: BinaryIO) -> tuple[tuple[int, int, int, int], np.dtype[Any]]:
    """The shape and the type of the `.npy` file. Raises ValueError where they are of no frames."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"is a .npy file of version {version}")
    if dtype.str not in _TORCH_DTYPES:
        raise ValueError(f"holds {dtype}, not uint8, uint16 or float16")
    if len(shape) != 4 or min(shape) < 1 or fortran_order:
        raise ValueError(f"holds an array {shape}, not frames [N,C,H,W]")
    return shape, dtype


@dataclass(frozen=True, slots=True)
class Cache:
    """The opened cache of a data set: its clips, their frames, and what the manifest says.

    Attributes:
        digest: names all frames and where the clips lie in them (32 hexadecimal digits); "" in
            caches from before there were digests.
    """

    folder: Path
    clips: tuple[Clip, ...]
    frames: Frames
    facts: Mapping[str, Any]
    damaged: tuple[DamagedSource, ...]
    sources: tuple[Entry, ...] = ()
    digest: str = ""

    @classmethod
    def open(cls, preparation: Preparation) -> Cache:
        """The cache that `preparation` makes, its frames perhaps from a copy on this machine.

        A sample of its frames is checked.

        Raises:
            DataMissing: it has not been made, or not to its end, or by another version, or with
                frames of another type, or is not what its manifest says.
        """
        folder = read_from = cache_folder(preparation)
        remedy = manifest.remedy(preparation.name, folder)
        try:
            said = read(folder)
            if said is None:
                raise DataMissing(
                    f"{preparation.name} is not prepared here: get {preparation.get}, then run"
                    f" `{preparation.command}`"
                )
            _check_form(said, preparation)
            read_from = nearby(folder, digest_of(said))
            frames = Frames(read_from / FRAMES)
            _check_sample(read_from, said)
        except (Altered, OSError, ValueError) as error:
            if read_from != folder:
                raise DataMissing(
                    f"the copy of the cache of {preparation.name} in {read_from} is of no use"
                    f" ({error}): remove it, and it is made anew"
                ) from error
            raise DataMissing(
                f"the cache of {preparation.name} in {folder} is of no use ({error}): make it anew"
                f" by `{remedy}`"
            ) from error
        if said.frame.dtype != preparation.format.dtype:
            raise DataMissing(
                f"{preparation.name} was prepared as {said.frame.dtype}, and is"
                f" {preparation.format.dtype} now: run `{remedy}`"
            )
        return cls(
            folder, said.clips, frames, said.facts, said.damaged, said.sources, digest_of(said)
        )

    def covariates(self, preparation: Preparation, count: int) -> Tensor:
        """The `count` numbers beside each frame that it was prepared with, float32 [frames,count].

        Raises:
            DataMissing: it has others, or none.
        """
        try:
            parts = [from_text(it.covariates, it.frames, count) for it in self.sources]
        except ValueError as error:
            raise DataMissing(
                f"the cache of {preparation.name} in {self.folder} has not {count} numbers beside"
                " each frame, as its files or the version that made it had none: remove it, and run"
                f" `{manifest.remedy(preparation.name, self.folder)}`"
            ) from error
        return torch.from_numpy(np.concatenate(parts))


def caches() -> Path:
    """The folder in which caches are made."""
    return data_folder() / "cache"


def cache_folder(preparation: Preparation) -> Path:
    """The folder of the cache, in `caches` or shared; if there is none, where it will be made."""
    made = caches() / preparation.folder
    return find(f"{made.parent.name}/{made.name}") or made


def read(folder: Path) -> Manifest | None:
    """The manifest of the finished cache in `folder`, which its frames fit; None if there is none.

    Raises:
        Altered: it is damaged, of another version, or its frames are of another form or cut.
    """
    said = manifest.read_manifest(folder)
    if said is None:
        return None
    path = folder / FRAMES
    try:
        found = Frames(path)
        size = path.stat().st_size
    except OSError as error:
        raise Altered(f"{FRAMES} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Altered(f"{FRAMES} is damaged: {error}") from error
    due = getattr(torch, said.frame.dtype), (said.frames, *said.frame.shape)
    if (found.dtype, found.shape) != due:
        raise Altered(f"{FRAMES} holds other frames than {MANIFEST} says")
    if said.digests and digests.digest_count(said.digests) != digests.blocks_in(size):
        raise Altered(f"{MANIFEST} has not a digest for each block of {FRAMES}")
    return said


def altered_clips(folder: Path, said: Manifest, blocks: Iterable[int] | None = None) -> list[str]:
    """The names of the clips whose frames are not those that were prepared, as digests tell.

    Args:
        folder: of the cache.
        said: its manifest; without digests nothing is altered.
        blocks: of the file of frames, to be looked at (default: all).

    Raises:
        OSError: the frames cannot be read.
    """
    path, every = folder / FRAMES, range(digests.digest_count(said.digests))
    size = path.stat().st_size
    frame_bytes = math.prod(said.frame.shape) * np.dtype(said.frame.dtype).itemsize
    head = size - frame_bytes * said.frames
    names: dict[str, None] = {}
    for block in digests.altered(path, said.digests, every if blocks is None else blocks):
        first = (block * digests.BLOCK_BYTES - head) // frame_bytes
        last = ((block + 1) * digests.BLOCK_BYTES - 1 - head) // frame_bytes
        near = [c.name for c in said.clips if c.first <= last and c.first + c.frames > first]
        names |= dict.fromkeys(near or ["frames between clips"])
    return list(names)


def digest_of(said: Manifest) -> str:
    """A name of all that is in a cache: its frames, what is beside them, and where clips lie."""
    if not said.digests:
        return ""
    clips = [(clip.name, clip.first, clip.frames) for clip in said.clips]
    beside = "".join(source.covariates for source in said.sources)
    return hashlib.sha256(f"{said.digests} {clips}{beside}".encode()).hexdigest()[:32]


def names_listed(names: Sequence[str], most: int = 3) -> str:
    """The first of `names`, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _check_sample(folder: Path, said: Manifest) -> None:
    """Raise Altered where some blocks, drawn afresh each time, are not what was prepared."""
    every = range(digests.digest_count(said.digests))
    drawn = sorted(random.SystemRandom().sample(every, min(SAMPLED_BLOCKS, len(every))))
    names = altered_clips(folder, said, drawn)
    if names:
        raise Altered(f"not the frames that were prepared, somewhere in {names_listed(names)}")


def _check_form(said: Manifest, preparation: Preparation) -> None:
    """Raise Altered where facts or tags are not of the form that the data set reads."""
    try:
        TypeAdapter(preparation.facts).validate_python(said.facts, strict=True)
        tags = TypeAdapter(preparation.tags)
        for clip in said.clips:
            tags.validate_python(clip.tags, strict=True)
    except ValidationError as error:
        raise Altered(f"{MANIFEST} is damaged: {manifest.first_of(error)}") from error
