"""The verb `data status`: every data set, and every other cache in the data folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import PROGRAM
from bench.caches import size_bytes
from bench.console.rows import Format, print_rows
from bench.data.prepare import preparation_of
from bench.errors import UserError
from bench.suite import catalogue
from bench.units import byte_size
from datasets.video.cache import MANIFEST, cache_folder, caches, read
from datasets.video.dataset import SPLITS, CachedDataset
from datasets.video.growing import JOURNAL, partial_folder
from datasets.video.manifest import Altered, read_origin, remedy

UNPREPARED, DAMAGED = "not prepared", "damaged"
COLUMNS = ["name", "state", *SPLITS, "frames", "damaged", "size", "where", "note"]
SEEN = COLUMNS[:-2]  # in a table; what is long stands below it

Row = dict[str, object]


def found(reference: str | None) -> list[Row]:
    """The state of the data set that `reference` names, or of all.

    Splits are counted in clips. Sizes are bytes.

    Raises:
        UserError: there is no such data set, or the data folder cannot be read.
    """
    try:
        return [*_rows(reference)]
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error


def show(found: Sequence[Row], style: Format) -> int:
    """Exit code 0; prints what was `found`, sizes in a table in larger units."""
    if style != "table":
        print_rows(found, COLUMNS, style)
        return 0
    print_rows([row | {"size": _readable(row.get("size"))} for row in found], SEEN)
    lines = [f"{row['name']}: {row['note']}" for row in found if row.get("note")]
    lines.append(f"caches lie in {caches()}")
    if any(row["state"] == UNPREPARED for row in found):
        lines.append(f"to make one: {PROGRAM} data prepare NAME --source FOLDER")
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _readable(size: object) -> str | None:
    return byte_size(size) if isinstance(size, int) else None


def _rows(reference: str | None) -> list[Row]:
    """A row for one data set, or for each there is and each other cache."""
    if reference is not None:
        return [_row(reference)]
    rows = [_row(name) for name in sorted(catalogue.all_datasets())]
    return [*rows, *_others({row.get("where") for row in rows})]


def _row(reference: str) -> Row:
    """The state of one data set."""
    preparation = preparation_of(reference)
    if preparation is None:
        return {"name": reference, "state": "not cached"}
    folder = cache_folder(preparation)
    if os.access(folder / MANIFEST, os.F_OK):
        return _of_cache(reference, folder)
    partial = partial_folder(caches() / preparation.folder)
    if partial.is_dir():
        return _of_partial(reference, partial)
    return {"name": reference, "state": UNPREPARED}


def _others(seen: set[object]) -> Iterator[Row]:
    """A row for each cache that is in no row yet, such as those made with options."""
    for folder in sorted(caches().glob("*/")):
        if str(folder) in seen or folder.suffix == ".old":
            continue
        origin = read_origin(folder)
        if os.access(folder / MANIFEST, os.F_OK):
            yield _of_cache(origin.dataset if origin else None, folder)
        elif folder.suffix == ".partial" and (folder / JOURNAL).is_file():
            yield _of_partial(origin.dataset if origin else folder.stem, folder)


def _of_cache(name: str | None, folder: Path) -> Row:
    """The state of a cache; `name` is None where the manifest alone tells what it is of."""
    row: Row = {
        "name": name or folder.name,
        "state": "ready",
        "size": size_bytes(folder),
        "where": str(folder),
    }
    try:
        said = read(folder)
    except Altered as reason:
        anew = f"make it anew by `{remedy(name, folder)}`" if name else f"remove {folder}"
        return row | {"state": DAMAGED, "note": f"{reason}; {anew}"}
    if said is None:  # it has gone since
        return row | {"state": UNPREPARED}
    name = name or said.dataset
    row |= {"name": name, "frames": said.frames, "damaged": len(said.damaged)}
    try:
        dataset = catalogue.require_dataset(name)
    except UserError as error:
        return row | {"note": f"it cannot be opened: {error}"}
    if isinstance(dataset, CachedDataset):
        row |= {split: len(clips) for split, clips in dataset.splits.items()}
    return row | {"note": dataset.notice or ""}


def _of_partial(name: str, folder: Path) -> Row:
    """The state of an interrupted or running preparation."""
    done = (folder / JOURNAL).read_bytes().count(b"\n") - 1  # the first line is a heading
    return {
        "name": name,
        "state": "partly prepared",
        "size": size_bytes(folder),
        "where": str(folder),
        "note": f"{max(done, 0):,} files done; unless it runs now, go on: `{remedy(name, folder)}`",
    }
