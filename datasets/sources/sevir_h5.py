"""The radar images of SEVIR as its authors published them: a catalogue and HDF5 files of events.

Names, order of axes and what is left out, in which order, are those of their reader (eie-sevir,
sevir/utils.py) and of Earthformer's (src/earthformer/datasets/sevir/sevir_dataloader.py), which has
the dates; the columns of the catalogue are those of a copy of it at
huggingface.co/datasets/Thao123/weather. The authors' own files were not tried. Those of SEVIR-LR,
which Earthformer's authors made smaller, are not read: the same frames are made of SEVIR's.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from datasets.sources.hdf5 import opened
from datasets.video.files import SHOWN, text_of, unique_files_under
from datasets.video.source import FrameFormat, Image, Source, Sources, SourceWrong

CATALOG = "CATALOG.csv"
GET = (
    f"{CATALOG} and data/vil of SEVIR (130 GB, by `aws s3 sync --no-sign-request s3://sevir/data/vil"
    f" vil` and `aws s3 cp --no-sign-request s3://sevir/{CATALOG} .`)"
)

SIDE, FRAMES = 384, 49
_LAST_TRAINING, _LAST_VALIDATION = datetime(2019, 1, 1), datetime(2019, 6, 1)
_SPANS = {
    "train": "to 1 January 2019",
    "validation": "from then to 1 June 2019",
    "test": "after 1 June 2019",
}
_COLUMNS = ("id", "file_name", "file_index", "img_type", "time_utc", "pct_missing")


@dataclass(frozen=True, slots=True)
class _Event:
    """An event in the catalogue: the name of its file, its place there, and its split."""

    name: str
    file: str
    row: int
    split: str


def find(folder: Path) -> Sources:
    """The events of each file and split anywhere under `folder`, one source each.

    The facts are how many files the catalogue names, how many of these are absent, and how many
    events of the catalogue are left out.

    Raises:
        SourceWrong: the catalogue or a file is not of the published form, or a split has no event.
    """
    catalogs = unique_files_under(folder, CATALOG)
    if not catalogs:
        raise SourceWrong(f"{folder} holds no {CATALOG}: get {GET}")
    files = {path.name: path for path in unique_files_under(folder, "SEVIR_VIL_*.h5")}
    events, left_out = _events(catalogs[0])
    by_file = defaultdict[str, list[_Event]](list)
    for event in events:
        by_file[event.file].append(event)
    videos = [
        Source(
            f"{Path(name).stem}/{split}",
            (catalogs[0], files[name]),
            {"split": split},
            tuple((FRAMES * number, FRAMES * (number + 1)) for number, _ in enumerate(of_split)),
        )
        for name in sorted(by_file.keys() & files.keys())
        for split, of_split in _checked(files[name], by_file[name]).items()
    ]
    for split, span in _SPANS.items():
        if not any(video.tags["split"] == split for video in videos):
            raise SourceWrong(f"{folder} holds no event of {split} ({span}): get {GET}")
    absent = len(by_file.keys() - files.keys())
    facts = {"files": len(by_file), "files_absent": absent, "events_left_out": left_out}
    return Sources(videos, facts)


def read(source: Source, frame_format: FrameFormat) -> Iterator[Image]:
    """The frames of the events that `source` is, uint8 [1,H,W]; smaller ones are means of pixels.

    One event at a time is in memory.
    """
    catalog, path = source.paths
    events, _ = _events(catalog)
    factor = SIDE // frame_format.height
    for event in sorted(events, key=lambda it: it.row):
        if (event.file, event.split) == (path.name, source.tags["split"]):
            with opened(path) as file:
                images = np.moveaxis(file["vil"][event.row], -1, 0)
            if factor > 1:
                side = frame_format.height
                means = images.reshape(FRAMES, side, factor, side, factor).mean(axis=(2, 4))
                images = np.rint(means).astype(np.uint8)
            yield from images[:, None]


def _events(catalog: Path) -> tuple[list[_Event], int]:
    """The events of which radar images are whole, and how many others there are.

    As in the authors' loader, images that lack pixels are left out first, and then events that
    are there more than once.

    Raises:
        SourceWrong: `catalog` is not the authors' list.
    """
    rows = csv.DictReader(text_of(catalog).splitlines(), strict=True)
    events: list[_Event] = []
    seen = 0
    try:
        for name in _COLUMNS:
            if name not in (rows.fieldnames or ()):
                raise SourceWrong(f"{catalog} has no column {name}: get {GET}")
        for row in rows:
            if row["img_type"] == "vil":
                seen += 1
                events += _event(row)
    except (csv.Error, ValueError, TypeError, AttributeError, OverflowError) as error:
        reason = str(error)[:SHOWN].splitlines()[0] if str(error) else type(error).__name__
        raise SourceWrong(
            f"{catalog}, line {rows.line_num}, is none of the authors' list ({reason}): get {GET}"
        ) from error
    times = Counter(event.name for event in events)
    once = [event for event in events if times[event.name] == 1]
    return once, seen - len(once)


def _event(row: Mapping[str, str]) -> Iterator[_Event]:
    """The event of a row of the catalogue; none if its images lack pixels."""
    if not row["pct_missing"].strip() or float(row["pct_missing"]) != 0:
        return
    time = datetime.fromisoformat(row["time_utc"]).replace(tzinfo=None)
    split = "test"
    if time <= _LAST_VALIDATION:
        split = "train" if time <= _LAST_TRAINING else "validation"
    number = int(row["file_index"])
    if number < 0:
        raise ValueError(f"{number} is no file_index")
    yield _Event(row["id"], PurePosixPath(row["file_name"]).name, number, split)


def _checked(path: Path, events: Sequence[_Event]) -> dict[str, list[_Event]]:
    """The `events` of the file `path` by split.

    Raises:
        SourceWrong: the file is not of the published form, or holds others.
    """
    with opened(path) as file:
        for name in ("vil", "id"):
            if not isinstance(file.get(name), h5py.Dataset):
                raise SourceWrong(f"{path.name} has no `{name}`: get the authors' file")
        vil, ids = file["vil"], file["id"]
        due = (len(ids) if ids.ndim == 1 else -1, SIDE, SIDE, FRAMES)
        if vil.shape != due or vil.dtype != np.uint8:
            raise SourceWrong(
                f"{path.name} holds {vil.dtype} {vil.shape} for {ids.shape} events, not uint8"
                f" (N,{SIDE},{SIDE},{FRAMES}) for (N,): get the authors' file"
            )
        names = [it.decode("utf-8", "replace") if isinstance(it, bytes) else it for it in ids[:]]
    by_split = defaultdict[str, list[_Event]](list)
    for event in events:
        if event.row >= len(names) or names[event.row] != event.name:
            raise SourceWrong(
                f"{path.name} does not hold the event {event.name[:SHOWN]!r} at place {event.row},"
                f" where {CATALOG} has it: get both anew"
            )
        by_split[event.split].append(event)
    return by_split
