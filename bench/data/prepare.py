"""The verb `data prepare`: makes the cache of a data set, or lets it fetch its files."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

from bench import as_started
from bench.console.bar import Bar
from bench.errors import UserError
from bench.suite import catalogue
from bench.suite.reference import Reference
from bench.units import byte_size, duration
from datasets.contract import DataMissing, Dataset
from datasets.sources.folders import data_folder, find
from datasets.video.cache import MANIFEST, altered_clips, cache_folder, names_listed, read
from datasets.video.dataset import HELD_OUT, CachedDataset
from datasets.video.digests import digest_count
from datasets.video.manifest import Altered, Manifest, remedy
from datasets.video.prepare import Prepared, add_digests, prepare
from datasets.video.source import Preparation, SourceWrong

DAMAGED_SHOWN = 10
MOST_WORKERS = max(8, 4 * (os.cpu_count() or 1))


def prepare_data(
    reference: str, source: Path | None, workers: int | None, max_damaged: float
) -> int:
    """Exit code 0 once the data set that `reference` names is prepared; prints a description.

    Args:
        reference: its name, with options.
        source: the folder that holds its files (default: looked for in the data folder).
        workers: how many processes decode (default: one a CPU).
        max_damaged: the share of its files that may be damaged.

    Raises:
        UserError: its files are not there, or not what they should be; or it is prepared, but its
            options ask for what is not in it.
    """
    if not 0 <= max_damaged <= 1 or not 1 <= (workers or 1) <= MOST_WORKERS or workers == 0:
        raise UserError(
            f"--max-damaged is a share from 0 to 1, --workers a number from 1 to {MOST_WORKERS}"
        )
    preparation = preparation_of(reference)
    if preparation is None:
        if source is not None:
            raise UserError(f"{reference} is made or fetched, not prepared: leave out --source")
        dataset = catalogue.require_dataset(reference)
        _say(f"{reference}: ready; it needs no cache", *_contents(dataset))
        return 0
    _make(preparation, source, workers, max_damaged)
    try:
        dataset = catalogue.require_dataset(reference)
    except UserError as error:
        raise UserError(f"the cache is there, but cannot be opened: {error}") from error
    _say(*_contents(dataset))
    return 0


def preparation_of(reference: str) -> Preparation | None:
    """How the data set that `reference` names is prepared; None where it has no cache.

    Raises:
        UserError: there is none, or it cannot take these options.
    """
    cls = catalogue.dataset(reference)
    if not issubclass(cls, CachedDataset):
        return None
    try:
        return cls.preparation(**Reference.parse(reference).options)
    except (TypeError, ValueError) as error:
        raise UserError(f"{reference}: {error}") from error


def _make(
    preparation: Preparation, source: Path | None, workers: int | None, max_damaged: float
) -> None:
    """Make the cache and print its outcome."""
    source = source or find(*preparation.homes)
    if source is None and _is_there(preparation):
        return
    began = time.monotonic()
    try:
        with Bar(f"preparing {preparation.name}") as bar:
            prepared = prepare(
                preparation,
                source or _nowhere(preparation),
                workers=workers,
                max_damaged_share=max_damaged,
                on_progress=lambda at: bar.show(at.done, at.total, at.frames, at.damaged),
            )
    except (SourceWrong, DataMissing) as error:
        raise UserError(str(error)) from error
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: the same line goes on from here\n")
        raise
    _say(*_outcome(preparation, prepared, time.monotonic() - began))


def _is_there(preparation: Preparation) -> bool:
    """Whether there is a cache; says so. One without digests gets some."""
    said, folder = whole_there(preparation), cache_folder(preparation)
    if said is None:
        return False
    if not said.digests:
        try:
            add_digests(folder)
        except OSError as error:
            raise UserError(f"{folder} cannot be written to: {error.strerror}") from error
    _say(f"{preparation.name}: already prepared: {folder}")
    return True


def whole_there(preparation: Preparation) -> Manifest | None:
    """The manifest of the cache that `preparation` makes, all of whose frames are as they were.

    None where there is no cache.

    Raises:
        UserError: it is not what it was.
    """
    folder = cache_folder(preparation)
    try:
        said = read(folder)
        altered = [] if said is None else _altered(preparation.name, folder, said)
        if altered:
            raise Altered(
                f"not the frames that were prepared, somewhere in {names_listed(altered)}"
            )
    except (Altered, OSError) as error:
        raise UserError(
            f"the cache of {preparation.name} in {folder} is of no use ({error}): make it anew by"
            f" `{remedy(preparation.name, folder)}`"
        ) from error
    return said


def _altered(name: str, folder: Path, said: Manifest) -> list[str]:
    """The clips whose frames are not as they were, with a bar, since all of them are read."""
    total = digest_count(said.digests)
    with Bar(f"verifying {name}") as bar:

        def blocks() -> Iterator[int]:
            for block in range(total):
                bar.show(block, total, block * said.frames // total, 0)
                yield block

        return altered_clips(folder, said, blocks())


def _nowhere(preparation: Preparation) -> Path:
    """Raises the error that says what to get, and where to put it."""
    places = [str(data_folder() / home) for home in preparation.homes]
    put = f", put it into {' or '.join(places)}, or say where it is: " if places else ", then run "
    line = as_started(preparation.command)
    raise UserError(f"no files of {preparation.name} here: get {preparation.get}{put}`{line}`")


def _outcome(preparation: Preparation, prepared: Prepared, seconds: float) -> Iterator[str]:
    took = f"prepared in {duration(seconds)}" if prepared.decoded else "already prepared"
    if prepared.instead_of:
        took += f" in place of an older cache, as {prepared.instead_of}"
    size = f"{prepared.clips:,} clips, {prepared.frames:,} frames, {byte_size(prepared.bytes)}"
    yield f"{preparation.name}: {took}: {size}: {prepared.folder}"
    damaged = prepared.damaged
    if damaged:
        yield f"  {len(damaged):,} damaged, left out:"
        yield from (f"    {it.name}: {it.reason}" for it in damaged[:DAMAGED_SHOWN])
    if len(damaged) > DAMAGED_SHOWN:
        yield f"    and {len(damaged) - DAMAGED_SHOWN:,} more: {prepared.folder / MANIFEST}"
    for remark, sources in prepared.remarks.items():
        yield f"  {sources:,} with {remark}"


def _contents(dataset: Dataset) -> Iterator[str]:
    """The lines that describe an opened data set."""
    spec = dataset.spec
    task = f"one of {len(spec.classes)} classes" if spec.classes else f"then {spec.horizon} more"
    shape = "x".join(map(str, spec.frame_shape))
    beside = "".join(f", {it.name}" for it in spec.covariates)
    yield f"  windows of {spec.context_frames} frames {shape}{beside}, {task}"
    if isinstance(dataset, CachedDataset):
        yield f"  clips: {_counts(dataset.splits)}"
    yield f"  held-out windows: {_counts({name: dataset.held_out(name) for name in HELD_OUT})}"
    if dataset.notice:
        yield f"  note: {dataset.notice}"


def _counts(splits: Mapping[Any, Sized]) -> str:
    return ", ".join(f"{len(content):,} {name}" for name, content in splits.items())


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
