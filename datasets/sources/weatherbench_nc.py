"""The hourly fields of WeatherBench as its authors published them: a NetCDF4 file a year.

The form is that of their src/regrid.py and of what their quickstart.ipynb prints: float32 over
time, level if any, lat and lon; lat from south to north; level as int32; every hour of every year.
Files that xarray wrote are read, with hours since 1900 as ECMWF counts them, hours since their own
start, or days; the authors' own were not tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from datasets.sources.hdf5 import opened
from datasets.video.files import unique_files_under
from datasets.video.source import Image, Source, Sources, SourceWrong

SPLIT_YEARS = {
    "train": range(2010, 2016),
    "validation": range(2016, 2017),
    "test": range(2017, 2019),
}
YEARS = range(2010, 2019)

ROWS, COLUMNS = 32, 64
_HOURS_AT_ONCE = 168
_MOST_HOURS = 366 * 24
_LARGEST_VALUE = 1e30  # NetCDF fills what is missing with 1e37
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}
_UNITS = re.compile(r"(\w+) since (\d{4})-(\d\d?)-(\d\d?)(?:[ T](\d\d?):(\d\d?)(?::[\d.]+)?)?")


@dataclass(frozen=True, slots=True)
class Channel:
    """A field: what it measures, in which files, and there under which name and at which level."""

    quantity: str
    unit: str
    files: str
    key: str
    level: int | None = None


def _on_levels(quantity: str, unit: str, files: str, key: str, levels: Sequence[int]) -> list[Any]:
    return [Channel(f"{quantity} at {each} hPa", unit, files, key, each) for each in levels]


_HUMIDITY = ("relative humidity", "%", "relative_humidity", "r")
_UPPER_AIR = (
    _HUMIDITY,
    ("temperature", "K", "temperature", "t"),
    ("eastward wind", "m/s", "u_component_of_wind", "u"),
    ("northward wind", "m/s", "v_component_of_wind", "v"),
)

CHANNELS: Mapping[str, Sequence[Channel]] = {
    "t2m": [Channel("2 m temperature", "K", "2m_temperature", "t2m")],
    "r": _on_levels(*_HUMIDITY, levels=[1000]),
    "uv10": [
        Channel("10 m eastward wind", "m/s", "10m_u_component_of_wind", "u10"),
        Channel("10 m northward wind", "m/s", "10m_v_component_of_wind", "v10"),
    ],
    "tcc": [Channel("total cloud cover", "", "total_cloud_cover", "tcc")],
    "rtuv": [each for of in _UPPER_AIR for each in _on_levels(*of, levels=[150, 500, 850])],
}
"""Of each variable that may be asked for."""

_Files = Mapping[str, Path]
"""Those of one year, by `Channel.files`."""


def get(variable: str) -> str:
    """What to get for `variable`, and where from, in one line."""
    folders = " and ".join(dict.fromkeys(channel.files for channel in CHANNELS[variable]))
    return (
        f"the yearly files of 2010 to 2018 of {folders} (*_YYYY_5.625deg.nc) of WeatherBench at"
        " 5.625 degrees, unzipped, from https://mediatum.ub.tum.de/1524895"
    )


def find(folder: Path, variable: str) -> Sources:
    """The three splits of the files anywhere under `folder`, one source each.

    The facts are the years, the lowest and highest training value of each channel, the latitude of
    each row, the mean training frame (scaled as frames are), how many held-out values there are,
    and how many of them lie outside the training range.

    Raises:
        SourceWrong: a file is not of the published form, or there are too few.
    """
    channels = CHANNELS[variable]
    years = _years(channels, folder, get(variable))
    times: dict[int, NDArray[np.int64]] = {}
    latitudes: list[float] = []
    for year, files in years.items():
        times[year], rows = _form(year, files, channels)
        latitudes = latitudes or rows
        if not np.allclose(rows, latitudes):
            raise SourceWrong(f"the rows of {year} lie at other latitudes: get {get(variable)}")
    low, high, mean = _range([years[it] for it in years if it in SPLIT_YEARS["train"]], channels)
    outside = values = 0
    for year in years.keys() - set(SPLIT_YEARS["train"]):
        for block in _blocks(years[year], channels):
            outside += int(((block < low) | (block > high)).sum())
            values += block.size
    scale = {"low": _text(low), "high": _text(high)}
    paths = tuple(path for files in years.values() for path in files.values())
    return Sources(
        videos=[
            Source(
                split,
                paths,
                {"split": split, "variable": variable, **scale},
                _ranges(np.concatenate([times[year] for year in years if year in of_split])),
            )
            for split, of_split in SPLIT_YEARS.items()
        ],
        facts={
            "years": list(years),
            "low": low.ravel().tolist(),
            "high": high.ravel().tolist(),
            "latitudes": latitudes,
            "climatology": ((mean - low) / (high - low)).round(7).ravel().tolist(),
            "held_out_values": values,
            "values_cut": outside,
        },
    )


def read(source: Source) -> Iterator[Image]:
    """The fields of the split that `source` is, scaled by the training range: uint16 [C,32,64]."""
    channels = CHANNELS[source.tags["variable"]]
    low, high = (_array(source.tags[name]) for name in ("low", "high"))
    for year, files in _by_year(source.paths, channels).items():
        if year in SPLIT_YEARS[source.tags["split"]]:
            for block in _blocks(files, channels):
                scaled = (block - low) / (high - low)
                yield from np.rint(scaled * 65_535).clip(0, 65_535).astype(np.uint16)


def _text(values: NDArray[np.float64]) -> str:
    return " ".join(map(repr, values.ravel().tolist()))


def _array(text: str) -> NDArray[np.float64]:
    """The value of each channel, from `_text` [C,1,1]."""
    return np.array(text.split(), np.float64)[:, None, None]


def _years(channels: Sequence[Channel], folder: Path, get: str) -> dict[int, _Files]:
    """The files of each year that is there, in the order of time.

    Raises:
        SourceWrong: one year lacks a file of several, or a split has no year.
    """
    fields = dict.fromkeys(channel.files for channel in channels)
    paths = [path for field in fields for path in unique_files_under(folder, _name(field, "????"))]
    found = _by_year(paths, channels)
    for year, files in found.items():
        for field in fields:
            if field not in files:
                raise SourceWrong(f"{folder} lacks {_name(field, year)}: get {get}")
    for split, of_split in SPLIT_YEARS.items():
        if not any(year in of_split for year in found):
            span = " or ".join(map(str, sorted({of_split[0], of_split[-1]})))
            raise SourceWrong(f"{folder} holds no year of {split}, such as {span}: get {get}")
    return found


def _by_year(paths: Sequence[Path], channels: Sequence[Channel]) -> dict[int, _Files]:
    """`paths` by year and by `Channel.files`; other years are passed over."""
    named = {path.name: path for path in paths}
    fields = dict.fromkeys(channel.files for channel in channels)
    found = {
        year: {field: named[name] for field in fields if (name := _name(field, year)) in named}
        for year in YEARS
    }
    return {year: files for year, files in found.items() if files}


def _name(field: str, year: int | str) -> str:
    return f"{field}_{year}_5.625deg.nc"


def _form(
    year: int, files: _Files, channels: Sequence[Channel]
) -> tuple[NDArray[np.int64], list[float]]:
    """The hours of one year since the year 1, and the latitude of each row.

    Raises:
        SourceWrong: a file is not of the published form, or they differ in these.
    """
    found = [_form_of(year, files[channel.files], channel) for channel in channels]
    times, latitudes = found[0]
    for channel, (other_times, other_latitudes) in zip(channels, found, strict=True):
        if not (np.array_equal(times, other_times) and np.array_equal(latitudes, other_latitudes)):
            raise SourceWrong(
                f"{files[channel.files].name} has other hours or latitudes than"
                f" {files[channels[0].files].name}: get both anew"
            )
    return times, latitudes


def _form_of(year: int, path: Path, channel: Channel) -> tuple[NDArray[np.int64], list[float]]:
    with opened(path) as file:
        for name in ("time", "lat", channel.key, *(["level"] if channel.level else [])):
            if not isinstance(file.get(name), h5py.Dataset):
                raise SourceWrong(f"{path.name} has no `{name}`: get the authors' file")
        times = _times(year, path, file["time"])
        levels = _levels(path, file["level"]) if channel.level else []
        if channel.level and channel.level not in levels:
            raise SourceWrong(f"{path.name} has no level of {channel.level} hPa: get it anew")
        due = (len(times), *([len(levels)] if channel.level else []), ROWS, COLUMNS)
        values, rows = file[channel.key], file["lat"]
        if values.shape != due or values.dtype.kind != "f":
            raise SourceWrong(
                f"{path.name} holds {values.dtype} {values.shape} as `{channel.key}`, not float32"
                f" {due}: get the authors' file"
            )
        if rows.shape != (ROWS,) or rows.dtype.kind != "f":
            raise SourceWrong(f"{path.name} has no {ROWS} latitudes: get the authors' file")
        latitudes = np.asarray(rows[:], np.float64)
    steps = np.diff(latitudes)
    rising_or_falling = (steps > 0).all() or (steps < 0).all()
    if not (rising_or_falling and (np.abs(latitudes) <= 90).all()):
        raise SourceWrong(f"{path.name} has latitudes that are none: get it anew")
    return times, latitudes.tolist()


def _levels(path: Path, levels: h5py.Dataset) -> list[int]:
    """The levels of a file in hPa."""
    if levels.ndim != 1 or levels.dtype.kind not in "iuf" or len(levels) > 1000:
        raise SourceWrong(f"{path.name} has levels that are none: get the authors' file")
    return [int(level) for level in np.nan_to_num(levels[:])]


def _times(year: int, path: Path, stamps: h5py.Dataset) -> NDArray[np.int64]:
    """The hour of each frame since the year 1; a NetCDF file counts them from a date it names.

    Raises:
        SourceWrong: they are no whole hours of `year`, in order.
    """
    if stamps.ndim != 1 or stamps.dtype.kind not in "iuf" or not 0 < len(stamps) <= _MOST_HOURS:
        raise SourceWrong(
            f"{path.name} has {stamps.dtype} {stamps.shape} as `time`, not up to {_MOST_HOURS:,}"
            " hours: get the authors' file"
        )
    units = stamps.attrs.get("units", "")
    text = units.decode("utf-8", "replace") if isinstance(units, bytes) else str(units)
    match = _UNITS.fullmatch(text.strip())
    if match is None or match[1] not in _SECONDS:
        raise SourceWrong(
            f"{path.name} counts time in {text[:80]!r}, not in hours since a date: get it anew"
        )
    try:
        start = datetime(*(int(part or 0) for part in match.groups()[1:]))  # type: ignore[arg-type]
    except ValueError:
        raise SourceWrong(
            f"{path.name} counts time since no date, {text[:80]!r}: get it anew"
        ) from None
    hours = np.asarray(stamps[:], np.float64) * (_SECONDS[match[1]] / 3600)
    hours += (start - datetime(1, 1, 1)).total_seconds() / 3600
    first, end = ((datetime(it, 1, 1) - datetime(1, 1, 1)).days * 24 for it in (year, year + 1))
    whole = np.rint(hours)
    if not ((np.abs(hours - whole) < 1e-3) & (whole >= first) & (whole < end)).all():
        raise SourceWrong(f"{path.name} holds times that are no whole hours of {year}: get it anew")
    if (np.diff(whole) <= 0).any():
        at = int((np.diff(whole) <= 0).argmax()) + 1
        raise SourceWrong(f"{path.name} is not in the order of time at frame {at}: get it anew")
    return whole.astype(np.int64)


def _ranges(times: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """The frames of each run of consecutive hours."""
    gaps = np.flatnonzero(np.diff(times) != 1) + 1
    return tuple(pairwise((0, *gaps.tolist(), len(times))))


def _range(
    years: Sequence[_Files], channels: Sequence[Channel]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and the highest value of each channel [C,1,1], and the mean frame [C,32,64].

    Raises:
        SourceWrong: a channel has one value only.
    """
    low = np.full((len(channels), 1, 1), np.inf)
    high, total, hours = -low, np.zeros((len(channels), ROWS, COLUMNS)), 0
    for files in years:
        for block in _blocks(files, channels):
            low = np.minimum(low, block.min(axis=(0, 2, 3))[:, None, None])
            high = np.maximum(high, block.max(axis=(0, 2, 3))[:, None, None])
            total += block.sum(axis=0)
            hours += len(block)
    for channel, one in zip(channels, (low == high).ravel(), strict=True):
        if one:
            name = years[0][channel.files].name
            raise SourceWrong(f"{name} holds one value only of {channel.quantity}: get it anew")
    return low, high, total / hours


def _blocks(files: _Files, channels: Sequence[Channel]) -> Iterator[NDArray[np.float64]]:
    """The fields of one year, some hours at a time [n,C,32,64].

    Raises:
        SourceWrong: where one is missing or not finite.
    """
    first = 0
    while True:
        block = np.stack([_hours(files[it.files], it, first) for it in channels], axis=1)
        if not len(block):
            return
        yield block
        first += len(block)


def _hours(path: Path, channel: Channel, first: int) -> NDArray[np.float64]:
    """The fields of one channel from the hour `first` on, none beyond the end [n,32,64]."""
    with opened(path) as file:
        values, hours = file[channel.key], slice(first, first + _HOURS_AT_ONCE)
        if channel.level is None:
            found = np.asarray(values[hours], np.float64)
        else:
            level = _levels(path, file["level"]).index(channel.level)
            found = np.asarray(values[hours, level], np.float64)
    wrong = ~(np.abs(found) < _LARGEST_VALUE).all(axis=(1, 2))
    if wrong.any():
        raise SourceWrong(
            f"{path.name} lacks a value, or has one that is not finite, at frame"
            f" {first + int(wrong.argmax())}: get it anew"
        )
    return found
