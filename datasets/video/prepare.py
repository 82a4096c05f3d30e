"""Prepares a cache: decodes every source once, in parallel child processes."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import platform
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL
from filelock import FileLock, Timeout
from pebble import ProcessExpired, ProcessPool

from datasets.contract import DataMissing
from datasets.video.cache import FORMAT, FRAMES, DamagedSource, caches, read_manifest
from datasets.video.growing import Entry, GrowingCache, remove_leftovers, write_manifest
from datasets.video.part import Decoded, decode_to, make_importable
from datasets.video.source import FrameFormat, Preparation, Read, Source, Sources, SourceWrong

TIMEOUT_SECONDS = 300.0
"""How long a source may take to decode, and 10 s more for each of its MB."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a preparation is: sources done of all, frames and damaged so far, the last source."""

    done: int
    total: int
    frames: int
    damaged: int
    name: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A finished cache. `decoded` is how many sources were decoded now; 0: all was there."""

    folder: Path
    clips: int
    frames: int
    bytes: int
    damaged: tuple[DamagedSource, ...]
    decoded: int


OnProgress = Callable[[Progress], None]


def prepare(
    preparation: Preparation,
    source: Path,
    *,
    workers: int | None = None,
    max_damaged_share: float = 0.05,
    on_progress: OnProgress = lambda progress: None,
) -> Prepared:
    """The cache of the files in `source`, in the data folder.

    A finished cache of the same files is kept, and an interrupted preparation is resumed. Damaged
    sources are left out, and named.

    Args:
        preparation: of the data set.
        source: the folder that holds its files.
        workers: how many processes decode (default: one for each CPU that may be used).
        max_damaged_share: where more than this share of the sources is damaged, there is no cache.
        on_progress: called at the start and after each source.

    Raises:
        SourceWrong: `source` does not hold what it should, or too much of it is damaged.
        DataMissing: the cache cannot be written, or another process is making it.
    """
    found = _found(preparation, source)
    keys = [_key(video) for video in found.videos]
    folder = caches() / preparation.folder
    try:
        with _locked(folder):
            entries = _finished(folder, preparation.format, keys)
            if entries is not None:
                remove_leftovers(folder)
                _update_manifest(folder, _manifest(preparation, found, entries))
                return _prepared(folder, decoded=0)
            with GrowingCache(folder, preparation.format, keys) as cache:
                there = len(cache.entries)
                _decode(cache, preparation, found.videos, keys, workers, on_progress)
                _refuse_damaged(preparation.name, cache.entries, max_damaged_share)
                cache.finish(_manifest(preparation, found, cache.entries))
            return _prepared(folder, decoded=len(keys) - there)
    except OSError as error:
        raise DataMissing(
            f"the cache of {preparation.name} cannot be written to {folder}: {error.strerror}"
        ) from error


def _found(preparation: Preparation, source: Path) -> Sources:
    try:
        if not source.exists():
            raise SourceWrong(f"{source} does not exist: get {preparation.get}")
        found = preparation.find(source)
    except OSError as error:
        raise SourceWrong(f"{error.filename or source} cannot be read: {error.strerror}") from error
    if not found.videos:
        raise SourceWrong(f"{source} holds nothing of {preparation.name}: get {preparation.get}")
    names = set[str]()
    for video in found.videos:
        if video.name in names:
            raise SourceWrong(f"{source} holds two of the name {video.name}: rename one of them")
        names.add(video.name)
    return found


def _key(source: Source) -> str:
    """Hash of the names, sizes, times and readability of the files of `source`."""
    digest = hashlib.sha256(source.name.encode())
    for path in source.paths:
        try:
            state = path.stat()
            known = (path.name, state.st_size, state.st_mtime_ns, os.access(path, os.R_OK))
        except OSError:
            known = (path.name, 0, 0, False)
        digest.update(repr(known).encode())
    return digest.hexdigest()[:32]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the cache `folder`, so that one process at a time makes it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{folder}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise DataMissing(f"another process is making {folder}: wait for it to end") from None
    try:
        yield
    finally:
        lock.release()


def _finished(folder: Path, frame_format: FrameFormat, keys: list[str]) -> list[Entry] | None:
    """The entries of the finished cache in `folder`; None unless it is of these sources."""
    manifest = read_manifest(folder)
    if manifest is None or FrameFormat(**manifest["frame"]) != frame_format:
        return None
    entries = [Entry(**entry) for entry in manifest["sources"]]
    return entries if [entry.key for entry in entries] == keys else None


def _decode(
    cache: GrowingCache,
    preparation: Preparation,
    videos: Sequence[Source],
    keys: Sequence[str],
    workers: int | None,
    on_progress: OnProgress,
) -> None:
    """Decode the sources that `cache` lacks, in order; at most two a process wait to be added."""

    def report(name: str) -> None:
        on_progress(Progress(len(cache.entries), len(videos), cache.frames, cache.damaged, name))

    def settle(number: int, future: Future[Decoded]) -> None:
        name = videos[number].name
        cache.add(Entry(name, keys[number], **asdict(_result(future))), cache.part(number))
        report(name)

    report("")
    todo = range(len(cache.entries), len(videos))
    if not todo:
        return
    count = min(workers or _cpus(), len(todo))
    pool = _pool(count, preparation.read)
    waiting = deque[tuple[int, Future[Decoded]]]()
    try:
        for number in todo:
            if len(waiting) == 2 * count:
                settle(*waiting.popleft())
            video = videos[number]
            arguments = cache.part(number), video, preparation.format, preparation.read
            future = pool.schedule(decode_to, arguments, timeout=_timeout_seconds(video))
            waiting.append((number, future))
        while waiting:
            settle(*waiting.popleft())
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


def _pool(workers: int, read: Read) -> ProcessPool:
    """Child processes that can import `read`; one that crashes or hangs is replaced."""
    return ProcessPool(
        workers,
        initializer=make_importable,
        initargs=(read.__module__, Path(str(sys.modules[read.__module__].__file__))),
        context=multiprocessing.get_context("spawn"),
    )


def _result(future: Future[Decoded]) -> Decoded:
    try:
        return future.result()
    except ProcessExpired as end:
        return Decoded(reason=f"crashed the process that decoded it (exit status {end.exitcode})")
    except TimeoutError as error:
        return Decoded(reason=f"was not decoded within {error.args[-1]:.0f} s")


def _cpus() -> int:
    """The number of CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _timeout_seconds(source: Source) -> float:
    """The time limit of `source`, in seconds."""
    size = sum(path.stat().st_size for path in source.paths if path.exists())
    return TIMEOUT_SECONDS + size / 1e5


def _refuse_damaged(name: str, entries: Sequence[Entry], max_damaged_share: float) -> None:
    """Raise SourceWrong where more than `max_damaged_share` of the sources are damaged, or all."""
    damaged = [entry for entry in entries if entry.reason]
    share = len(damaged) / len(entries)
    if share <= max_damaged_share and len(damaged) < len(entries):
        return
    some = "; ".join(f"{entry.name} {entry.reason}" for entry in damaged[:3])
    more = f"; and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    allow = f", or allow it with --max-damaged {math.ceil(share * 100) / 100:g}"
    raise SourceWrong(
        f"{len(damaged)} of the {len(entries)} sources of {name} cannot be read ({share:.1%}):"
        f" {some}{more}. Get them anew{allow if len(damaged) < len(entries) else ''}"
    )


def _manifest(preparation: Preparation, found: Sources, entries: Sequence[Entry]) -> dict[str, Any]:
    """The manifest of the cache of these `entries`."""
    clips: list[dict[str, Any]] = []
    first = 0
    for video, entry in zip(found.videos, entries, strict=True):
        clips += _clips(video, first, entry.frames)
        first += entry.frames
    return {
        "format": FORMAT,
        "dataset": preparation.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "av": av.__version__,
            **{name: ".".join(map(str, it)) for name, it in av.library_versions.items()},
        },
        "frame": asdict(preparation.format),
        "frames": first,
        "clips": clips,
        "facts": dict(found.facts),
        "lists": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found.lists},
        "damaged": [{"name": e.name, "reason": e.reason} for e in entries if e.reason],
        "sources": [asdict(entry) for entry in entries],
    }


def _clips(source: Source, first: int, frames: int) -> Iterator[dict[str, Any]]:
    """The clips of a source whose `frames` frames begin at `first`."""
    ranges = source.ranges or ((0, frames),)
    for name, (start, end) in zip(source.clip_names, ranges, strict=True):
        length = min(end, frames) - start
        if length > 0:
            yield {
                "name": name,
                "first": first + start,
                "frames": length,
                "tags": dict(source.tags),
            }


def _update_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Rewrite the manifest of a finished cache where its clips, facts or lists have changed."""
    there, now = read_manifest(folder) or {}, json.loads(json.dumps(manifest))
    if any(there.get(part) != now[part] for part in ("clips", "facts", "lists")):
        write_manifest(folder, now)


def _prepared(folder: Path, decoded: int) -> Prepared:
    manifest = read_manifest(folder) or {}
    return Prepared(
        folder=folder,
        clips=len(manifest["clips"]),
        frames=manifest["frames"],
        bytes=(folder / FRAMES).stat().st_size,
        damaged=tuple(DamagedSource(**source) for source in manifest["damaged"]),
        decoded=decoded,
    )
