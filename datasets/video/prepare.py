"""Prepares a cache: decodes every source once, in parallel child processes."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import platform
import random
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL
from filelock import FileLock, Timeout
from pebble import ProcessExpired, ProcessPool
from pydantic import ValidationError

from datasets.contract import DataMissing
from datasets.sources.regular import read_regular
from datasets.video.cache import altered_clips, caches, names_listed, read
from datasets.video.digests import digests_of
from datasets.video.growing import GrowingCache, remove_leftovers
from datasets.video.interrupts import Unheard, held_back
from datasets.video.manifest import (
    FORMAT,
    FRAMES,
    MANIFEST,
    Altered,
    DamagedSource,
    Entry,
    Manifest,
    first_of,
    read_manifest,
    write_manifest,
    write_origin,
)
from datasets.video.part import Decoded, decode_to, digest, make_importable
from datasets.video.source import (
    FrameFormat,
    Preparation,
    Read,
    Source,
    Sources,
    SourceWrong,
    reason_of,
)

SAMPLED_SOURCES, SAMPLED_BYTES = 16, 64 << 20
"""How many sources of a finished cache are read again, to see whether they are still the same."""

TIMEOUT_SECONDS = 300.0
"""How long a source may take to decode, and 10 s more for each of its MB."""

INTERRUPT_SECONDS = 0.2
"""How long Ctrl-C waits at most, while a source is decoded."""


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
    """A finished cache.

    Attributes:
        remarks: what is odd about sources, and of how many.
        decoded: how many sources were decoded now; 0: all was there.
        instead_of: what the cache was that stood here before, "" where there was none.
    """

    folder: Path
    clips: int
    frames: int
    bytes: int
    damaged: tuple[DamagedSource, ...]
    remarks: Mapping[str, int]
    decoded: int
    instead_of: str = ""


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

    A finished cache of the same files is kept if all its frames are as they were prepared, and an
    interrupted preparation is resumed. Damaged sources are left out, and named.

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
            try:
                entries, before = _finished(folder, preparation.format, found.videos, keys)
            except Altered as reason:
                entries, before = None, str(reason)
            if entries is not None:
                remove_leftovers(folder)
                _update(folder, preparation, found, entries)
                write_origin(folder, preparation.name, source)
                return _prepared(folder, decoded=0)
            with GrowingCache(folder, preparation.format, keys) as cache:
                write_origin(cache.folder, preparation.name, source)
                there = len(cache.entries)
                _decode(cache, preparation, found.videos, keys, workers, on_progress)
                _refuse_damaged(preparation.name, cache.entries, max_damaged_share)
                cache.finish(_manifest(preparation, found, cache.entries))
            return _prepared(folder, len(keys) - there, before)
    except OSError as error:
        raise DataMissing(
            f"the cache of {preparation.name} cannot be written to {folder}: {reason_of(error)}"
        ) from error


def _found(preparation: Preparation, source: Path) -> Sources:
    try:
        if not source.exists():
            raise SourceWrong(f"{source} does not exist: get {preparation.get}")
        found = preparation.find(source)
    except OSError as error:
        raise SourceWrong(
            f"{error.filename or source} cannot be read: {reason_of(error)}"
        ) from error
    if not found.videos:
        raise SourceWrong(f"{source} holds nothing of {preparation.name}: get {preparation.get}")
    names = set[str]()
    for video in found.videos:
        if video.name in names:
            raise SourceWrong(f"{source} holds two of the name {video.name}: rename one of them")
        names.add(video.name)
        if any(end > first for (_, end), (first, _) in pairwise(sorted(video.ranges))):
            raise SourceWrong(f"two clips of {video.name} overlap: give each frame to one of them")
    _refuse_caches(source, found.videos)
    return found


def _refuse_caches(source: Path, videos: Sequence[Source]) -> None:
    """Raise SourceWrong where a video lies among the caches themselves."""
    # Not `resolve`, which raises RuntimeError where a link leads to itself.
    home, source = Path(os.path.realpath(caches())), Path(os.path.realpath(source))
    if not (home.is_relative_to(source) or source.is_relative_to(home)):
        return
    for video in videos:
        if any(Path(os.path.realpath(path)).is_relative_to(home) for path in video.paths):
            raise SourceWrong(f"{video.paths[0]} is a part of a cache: give another --source")


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


def _finished(
    folder: Path, frame_format: FrameFormat, videos: Sequence[Source], keys: Sequence[str]
) -> tuple[list[Entry] | None, str]:
    """The entries of the finished cache in `folder`; or None and, if there is one, why it won't do.

    Raises:
        Altered: it is not what its manifest says.
    """
    said = read(folder)
    if said is None:
        return None, ""
    names = altered_clips(folder, said)
    if names:
        raise Altered(f"frames were altered, somewhere in {names_listed(names)}")
    if said.frame != frame_format:
        return None, "its frames are of another format"
    if [entry.key for entry in said.sources] != keys:
        return None, "its files are others"
    for number in _sampled(said.sources):
        entry = said.sources[number]
        with suppress(OSError):
            if not entry.reason and digest(videos[number].paths) != (entry.bytes, entry.sha256):
                return None, f"the content of {entry.name} is another"
    return list(said.sources), ""


def _sampled(entries: Sequence[Entry]) -> Iterator[int]:
    """The numbers of some, drawn afresh each time."""
    left = SAMPLED_BYTES
    drawn = random.SystemRandom().sample(range(len(entries)), min(SAMPLED_SOURCES, len(entries)))
    for number in drawn:
        left -= entries[number].bytes
        if left >= 0:
            yield number


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
        raise_interrupt()
        while not wait([future], timeout=INTERRUPT_SECONDS).done:
            raise_interrupt()
        video, outcome = videos[number], _result(future)
        if _key(video) != keys[number]:
            outcome = Decoded(reason="was changed while it was read")
        cache.add(Entry(video.name, keys[number], **asdict(outcome)), cache.part(number))
        report(video.name)

    report("")
    todo = range(len(cache.entries), len(videos))
    if not todo:
        return
    count = min(workers or _cpus(), len(todo))
    waiting = deque[tuple[int, Future[Decoded]]]()
    with held_back() as raise_interrupt, _pool(count, preparation.read) as pool:
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
        except RuntimeError as error:  # of the pool
            raise DataMissing(
                f"the processes that decode {preparation.name} end before they begin"
                f" ({reason_of(error)}): see whether what reads it can be imported, and take fewer"
                " of them, by --workers 1"
            ) from error


@contextmanager
def _pool(workers: int, read: Read) -> Iterator[ProcessPool]:
    """Child processes that can import `read`; one that crashes or hangs is replaced."""
    pool = ProcessPool(
        workers,
        initializer=make_importable,
        initargs=(read.__module__, Path(str(sys.modules[read.__module__].__file__))),
        context=Unheard(),
    )
    try:
        yield pool
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


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
    """The manifest of the cache of these `entries`.

    Raises:
        SourceWrong: it would be none that can be read.
    """
    clips: list[dict[str, Any]] = []
    first = 0
    for video, entry in zip(found.videos, entries, strict=True):
        clips += _clips(video, first, entry.frames)
        first += entry.frames
    manifest = {
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
        "frame": preparation.format.as_json(),
        "frames": first,
        "clips": clips,
        "facts": dict(found.facts),
        "lists": {
            path.name: hashlib.sha256(read_regular(path)).hexdigest() for path in found.lists
        },
        "damaged": [{"name": e.name, "reason": e.reason} for e in entries if e.reason],
        "sources": [asdict(entry) for entry in entries],
    }
    try:
        Manifest.model_validate_json(json.dumps(manifest))
    except (ValidationError, TypeError) as error:
        reason = first_of(error) if isinstance(error, ValidationError) else error
        raise SourceWrong(
            f"what was found of {preparation.name} cannot be kept: {reason}"
        ) from error
    return manifest


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


def add_digests(folder: Path) -> None:
    """Give the cache in `folder`, from before there were digests, those of its frames as they are.

    Raises:
        OSError: its manifest cannot be written.
    """
    there = json.loads(read_regular(folder / MANIFEST))
    write_manifest(folder, {**there, "digests": digests_of(folder / FRAMES)})


def _update(
    folder: Path, preparation: Preparation, found: Sources, entries: Sequence[Entry]
) -> None:
    """Rewrite the manifest of a finished cache where its clips, facts or lists have changed."""
    there = json.loads(read_regular(folder / MANIFEST))
    if not there.get("digests"):
        add_digests(folder)
        there = json.loads(read_regular(folder / MANIFEST))
    now = json.loads(json.dumps(_manifest(preparation, found, entries)))
    if any(there[part] != now[part] for part in ("clips", "facts", "lists")):
        write_manifest(folder, {**now, "digests": there["digests"]})


def _prepared(folder: Path, decoded: int, instead_of: str = "") -> Prepared:
    said = read_manifest(folder)
    if said is None:
        raise FileNotFoundError(errno.ENOENT, "its manifest has gone again")
    return Prepared(
        folder=folder,
        clips=len(said.clips),
        frames=said.frames,
        bytes=(folder / FRAMES).stat().st_size,
        damaged=said.damaged,
        remarks=Counter(remark for entry in said.sources for remark in entry.remarks),
        decoded=decoded,
        instead_of=instead_of,
    )
