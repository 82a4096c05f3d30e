"""The flows of TaxiBJ as its authors published them: one HDF5 file a season, by half hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from datasets.sources.hdf5 import opened
from datasets.video.source import Image, Source, Sources, SourceWrong

SEASONS = ("BJ13", "BJ14", "BJ15", "BJ16")
PATTERN = "BJ1[3-6]_M32x32_T30_InOut.h5"

HALF_HOURS = 48  # a day
HELD_OUT_DAYS = 28
_FRAME = (2, 32, 32)
_MOST_ROWS = 1_000_000  # half hours of 57 years
_ROWS_AT_ONCE = HELD_OUT_DAYS * HALF_HOURS


@dataclass(frozen=True, slots=True)
class _Run:
    """Rows of a file that are consecutive half hours."""

    path: Path
    rows: slice


_Runs = Mapping[str, Sequence[_Run]]
"""Those of each split, in the order of time."""


def find(paths: Sequence[Path]) -> Sources:
    """The three splits of the files `paths`, one source each.

    The last 28 whole days of the last file test, the 28 whole days before them validate, all other
    whole days train. A day that lacks a half hour is left out, as its authors do.

    Raises:
        SourceWrong: a file is not of the published form, or they are too few.
    """
    paths = sorted(paths, key=lambda path: path.name)
    runs, left_out = _split(paths)
    peak = _peak(runs["train"])
    held_out = (*runs["validation"], *runs["test"])
    return Sources(
        videos=[
            Source(split, tuple(paths), {"split": split}, _ranges(of_split))
            for split, of_split in runs.items()
        ],
        facts={
            "form": "h5",
            "files": [path.name for path in paths],
            "peak": peak,
            "half_hours_left_out": left_out,
            "values_cut": sum(int((flows > peak).sum()) for flows in _flows(held_out)),
        },
    )


def read(source: Source) -> Iterator[Image]:
    """The flows of the split that `source` is, scaled by the training maximum: uint16 [2,32,32]."""
    runs, _ = _split(source.paths)
    peak = _peak(runs["train"])
    for flows in _flows(runs[source.tags["split"]]):
        yield from np.rint(flows / peak * 65_535).clip(0, 65_535).astype(np.uint16)


def _split(paths: Sequence[Path]) -> tuple[_Runs, int]:
    """The runs of each split, and how many half hours are left out."""
    runs: dict[str, list[_Run]] = {"train": [], "validation": [], "test": []}
    left_out, before = 0, 0
    for path in paths:
        times = _times(path)
        if times[0] <= before:
            raise SourceWrong(f"{path.name} begins before the file before it ends: get both anew")
        before = int(times[-1])
        days, counts = np.unique(times // HALF_HOURS, return_counts=True)
        whole = days[counts == HALF_HOURS]
        left_out += len(times) - HALF_HOURS * len(whole)
        for split, of_split in _days(whole, last=path == paths[-1]).items():
            rows = np.flatnonzero(np.isin(times // HALF_HOURS, of_split))
            gaps = np.flatnonzero(np.diff(times[rows]) != 1) + 1
            runs[split] += [
                _Run(path, slice(int(run[0]), int(run[-1]) + 1))
                for run in np.split(rows, gaps)
                if len(run)
            ]
    if len(whole) < 2 * HELD_OUT_DAYS or not runs["train"]:
        raise SourceWrong(
            f"{paths[-1].name} has too few whole days, {len(whole)}: {HELD_OUT_DAYS} test,"
            f" {HELD_OUT_DAYS} validate, and some must be left to train; get the authors' files"
        )
    return runs, left_out


def _days(whole: NDArray[np.int64], *, last: bool) -> dict[str, NDArray[np.int64]]:
    """The days of a file by split; only those of the last file are held out."""
    if not last:
        return {"train": whole}
    train, validation, test = np.split(whole, [-2 * HELD_OUT_DAYS, -HELD_OUT_DAYS])
    return {"train": train, "validation": validation, "test": test}


def _ranges(runs: Sequence[_Run]) -> tuple[tuple[int, int], ...]:
    """Where each run lies in the frames of its split."""
    ends = np.cumsum([run.rows.stop - run.rows.start for run in runs]).tolist()
    return tuple(zip([0, *ends[:-1]], ends, strict=True))


def _peak(runs: Sequence[_Run]) -> float:
    """The largest flow in `runs`."""
    peak = max(float(flows.max()) for flows in _flows(runs))
    if peak == 0:
        raise SourceWrong(f"{runs[0].path.name} holds nothing but zeros: get it anew")
    return peak


def _flows(runs: Sequence[_Run]) -> Iterator[NDArray[np.float64]]:
    """The flows of `runs`, some rows at a time [n,2,32,32].

    Raises:
        SourceWrong: where one is negative or not finite.
    """
    for run in runs:
        with opened(run.path) as file:
            for first in range(run.rows.start, run.rows.stop, _ROWS_AT_ONCE):
                last = min(first + _ROWS_AT_ONCE, run.rows.stop)
                flows = np.asarray(file["data"][first:last], np.float64)
                wrong = ~((flows >= 0) & (flows < np.inf)).all(axis=(1, 2, 3))
                if wrong.any():
                    row = first + int(wrong.argmax())
                    raise SourceWrong(
                        f"{run.path.name} holds a flow that is negative or not finite, in row"
                        f" {row}: get it anew"
                    )
                yield flows


def _times(path: Path) -> NDArray[np.int64]:
    """The half hour of each row, counted from the year 1 on.

    Raises:
        SourceWrong: the file is not of the published form, or its rows are not in order.
    """
    with opened(path) as file:
        for name in ("data", "date"):
            if not isinstance(file.get(name), h5py.Dataset):
                raise SourceWrong(f"{path.name} has no `{name}`: get the authors' file")
        data, stamps = file["data"], file["date"]
        if stamps.ndim != 1 or stamps.dtype.kind != "S" or len(stamps) > _MOST_ROWS:
            raise SourceWrong(
                f"{path.name} has {stamps.dtype} {stamps.shape} as dates, not bytes (N,): get the"
                " authors' file"
            )
        dates = stamps[:].tolist()
        if data.shape != (len(dates), *_FRAME) or data.dtype.kind not in "fiu" or not dates:
            raise SourceWrong(
                f"{path.name} holds {data.dtype} {data.shape} for {len(dates)} dates, not"
                f" (N,2,32,32) for N: get the authors' file"
            )
    times = np.array([_time(path, stamp) for stamp in dates])
    for row in np.flatnonzero(np.diff(times) <= 0).tolist():
        was, now = (dates[each].decode() for each in (row, row + 1))
        wrong = "stands twice" if was == now else f"comes after {was}"
        raise SourceWrong(f"{path.name} is not in the order of time: {now} {wrong}; get it anew")
    return times


def _time(path: Path, stamp: object) -> int:
    """The half hour that `stamp`, YYYYMMDD and 01 to 48, names."""
    try:
        text = stamp.decode("ascii") if isinstance(stamp, bytes) else ""
        half_hour = int(text[8:])
        if len(text) != 10 or not 1 <= half_hour <= HALF_HOURS:
            raise ValueError
        day = date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        raise SourceWrong(
            f"{path.name} has the date {stamp!r}, not YYYYMMDD and a half hour 01 to 48: get the"
            " authors' file"
        ) from None
    return day.toordinal() * HALF_HOURS + half_hour - 1
