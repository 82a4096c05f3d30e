import math
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from bench.check.dataset import CHECKS
from datasets.contract import DataMissing, to_unit
from datasets.video.source import SourceWrong
from datasets.weatherbench import WeatherBench
from tests.datasets.prepare_here import prepare_here
from tests.datasets.small_sources import (
    WEATHER_CLOCK,
    WEATHER_RANGE,
    weather_maps,
    weather_year,
)

LOW, HIGH = WEATHER_RANGE
LEVELS = (50, 150, 500, 850, 1000)
NEW_YEAR = np.arange(8760 - 60, 8760)  # the last hours of 2017, which 2018 goes on from
HOURS = {
    2010: np.r_[0:300, 310:500],  # ten hours are absent
    2012: np.arange(200),
    2016: np.arange(400),
    2017: NEW_YEAR,
    2018: np.arange(400),
}
SPLITS = {"train": (2010, 2012), "validation": (2016,), "test": (2017, 2018)}
BEYOND = 7  # held-out values outside the training range


def _since_2010(year: int) -> np.ndarray:
    return HOURS[year] + (date(year, 1, 1) - date(2010, 1, 1)).days * 24


TIMES = {split: np.concatenate([*map(_since_2010, of)]) for split, of in SPLITS.items()}


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a part of five years, and one that nobody asks for."""
    folder = tmp_path_factory.mktemp("maps")
    for year, hours in HOURS.items():
        values = weather_maps(year, hours)
        if year == 2018:
            values[-1, 5, :BEYOND] = [LOW - 50] + [HIGH + 50] * (BEYOND - 1)
        weather_year(folder, year, hours, values=values)
    weather_year(folder, 1999, np.arange(3))
    return folder


@pytest.fixture(scope="module")
def cached(maps: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder with what is made of `maps`."""
    folder = tmp_path_factory.mktemp("cached")
    _prepare(maps, folder)
    return folder


def _prepare(source: Path, data_folder: Path, **options: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(data_folder))
        prepare_here(WeatherBench.preparation(**options), source)


def _opened(data_folder: Path, *args: int, **options: Any) -> WeatherBench:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(data_folder))
        return WeatherBench(*args, **options)


def _shown(clips: Tensor) -> list[tuple[int, ...]]:
    """The hours since 2010 that the clocks of `clips` show."""
    bits = clips[..., 0, 0, :20].numpy()
    assert set(np.unique(bits)) <= {0, 65_535}
    return [tuple(run) for run in ((bits > 0) @ WEATHER_CLOCK).tolist()]


def _windows(split: str, frames: int = 24, step: int = 1) -> set[tuple[int, ...]]:
    """Every window of so many frames in which no hour is absent, also between them."""
    there = set(TIMES[split].tolist())
    runs = (range(first, first + (frames - 1) * step + 1) for first in there)
    return {tuple(run[::step]) for run in runs if there.issuperset(run)}


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("hours", [1, 6])
def test_held_out_windows_share_no_frame_and_cross_no_gap(
    cached: Path, split: str, hours: int
) -> None:
    shown = _shown(_opened(cached, hours=hours).held_out(split)[:])
    assert set(shown) <= _windows(split, step=hours)
    frames = [hour for run in shown for hour in run]
    assert len(set(frames)) == len(frames)
    assert len(shown) >= 2
    starts = sorted(run[0] for run in shown)
    assert set(np.diff(starts)) == {24 * hours + 1}


def test_windows_go_on_from_one_year_to_the_next(cached: Path) -> None:
    assert any(
        run[0] < 8 * 365 * 24 + 48 <= run[-1] for run in _shown(_opened(cached).held_out("test")[:])
    )


def test_windows_at_every_hour_may_be_asked_for_as_published(cached: Path) -> None:
    dataset = _opened(cached, held_out_stride=1)
    for split in ("validation", "test"):
        shown = _shown(dataset.held_out(split)[:])
        assert len(shown) == len(set(shown))
        assert set(shown) == _windows(split)


@pytest.mark.parametrize("hours", [1, 6])
def test_training_windows_cross_no_gap(cached: Path, hours: int) -> None:
    dataset = _opened(cached, 2, 2, hours=hours)
    assert dataset.frame_step == hours
    shown = _shown(dataset.train_clips(4000, torch.Generator().manual_seed(0)))
    assert set(shown) <= _windows("train", 4, hours)
    assert {hour for run in shown for hour in run} == set(TIMES["train"].tolist())


def test_windows_that_begin_in_one_week_are_a_cluster(cached: Path) -> None:
    dataset = _opened(cached)
    test = dataset.held_out("test")
    clusters = dataset.clusters("test", len(test)).tolist()
    weeks = [(run[0] - TIMES["test"][0]) // 168 for run in _shown(test[:])]
    assert len(set(zip(clusters, weeks, strict=True))) == len(set(clusters)) == len(set(weeks)) == 3


def test_values_are_scaled_by_the_training_range_and_cut(maps: Path, cached: Path) -> None:
    preparation = WeatherBench.preparation()
    found = preparation.find(maps)
    frames = {v.name: np.stack(list(preparation.read(v, preparation.format))) for v in found.videos}
    assert (found.facts["low"], found.facts["high"]) == ([LOW], [HIGH])
    assert found.facts["values_cut"] == BEYOND
    assert frames["test"][-1, 0, 5, :BEYOND].tolist() == [0] + [65_535] * (BEYOND - 1)
    frames["test"] = frames["test"][:-1]
    for split, years in SPLITS.items():
        due = np.concatenate([weather_maps(year, HOURS[year]) for year in years]).astype(float)
        shown = frames[split][:, 0] / 65_535 * (HIGH - LOW) + LOW
        assert np.abs(shown - due[: len(shown)]).max() <= 0.501 * (HIGH - LOW) / 65_535
    (quantity,) = _opened(cached).spec.quantities
    assert (quantity.name, quantity.unit) == ("2 m temperature", "K")
    assert (quantity.low, quantity.high) == (LOW, HIGH)


def test_the_climatology_is_the_mean_training_map(cached: Path) -> None:
    dataset = _opened(cached)
    due = np.concatenate([weather_maps(year, HOURS[year]) for year in SPLITS["train"]])
    mean = (due.astype(float).mean(axis=0, keepdims=True) - LOW) / (HIGH - LOW)
    found = dataset.climatology()
    assert found.dtype == torch.float32
    assert tuple(found.shape) == dataset.spec.frame_shape
    assert np.abs(found.numpy() - mean).max() < 1e-6


def test_rows_lie_at_the_latitudes_of_the_files(cached: Path) -> None:
    latitudes = _opened(cached).spec.latitudes
    assert latitudes == tuple(np.arange(32) * 5.625 - 87.1875)


def test_the_notice_tells_absent_years_and_counts_cut_values(cached: Path) -> None:
    notice = _opened(cached).notice or ""
    values = sum(len(TIMES[split]) for split in ("validation", "test")) * 32 * 64
    assert "without 2011, 2013, 2014, 2015," in notice
    assert f"{BEYOND} of the {values:,} held-out values" in notice
    assert "\n" not in notice


def _write_all(folder: Path, fields: dict[str, tuple[str, float]], levels: tuple[int, ...]) -> None:
    """Some days of a year of each split, each field warmer than the one before it."""
    for year in (2010, 2016, 2017):
        for field, (key, offset) in fields.items():
            values = weather_maps(year, np.arange(60), levels) + np.float32(offset)
            weather_year(folder, year, np.arange(60), field, key, values, levels)


VARIABLES = {
    "r": ({"relative_humidity": ("r", 0.0)}, LEVELS, [(LOW + 100, "%")]),
    "uv10": (
        {"10m_u_component_of_wind": ("u10", 0.0), "10m_v_component_of_wind": ("v10", 9.0)},
        (),
        [(LOW, "m/s"), (LOW + 9, "m/s")],
    ),
    "tcc": ({"total_cloud_cover": ("tcc", 0.0)}, (), [(LOW, "")]),
    "rtuv": (
        {
            "relative_humidity": ("r", 0.0),
            "temperature": ("t", 1000.0),
            "u_component_of_wind": ("u", 2000.0),
            "v_component_of_wind": ("v", 3000.0),
        },
        LEVELS,
        [
            (LOW + offset + level, unit)
            for offset, unit in ((0, "%"), (1000, "K"), (2000, "m/s"), (3000, "m/s"))
            for level in (15, 50, 85)
        ],
    ),
}


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable_has_its_fields_and_levels_as_channels(tmp_path: Path, variable: str) -> None:
    fields, levels, channels = VARIABLES[variable]
    _write_all(tmp_path / "maps", fields, levels)
    _prepare(tmp_path / "maps", tmp_path / "data", variable=variable)
    dataset = _opened(tmp_path / "data", variable=variable)
    found = [(each.low, each.unit) for each in dataset.spec.quantities]
    assert [unit for _, unit in found] == [unit for _, unit in channels]
    assert [low for low, _ in found] == pytest.approx([low for low, _ in channels])
    assert dataset.spec.frame_shape == (len(channels), 32, 64)
    clips = to_unit(dataset.held_out("test")[:2])
    assert torch.allclose(clips, clips[:, :, :1], atol=2e-4)  # all show one map, each on its scale
    for promise in CHECKS.values():
        promise(dataset)


def test_each_source_names_every_file_that_its_pixels_depend_on(maps: Path) -> None:
    for source in WeatherBench.preparation().find(maps).videos:
        assert [int(path.name[-16:-12]) for path in source.paths] == list(HOURS)


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ("2m_temperature", "data prepare weatherbench --source")),
        ({"variable": "rtuv"}, ("v_component_of_wind", "(variable='\"'\"'rtuv'\"'\"')' --source")),
    ],
)
def test_one_line_says_what_to_get_and_how_to_prepare_it(
    options: dict[str, Any], words: tuple[str, str]
) -> None:
    with pytest.raises(DataMissing) as missing:
        WeatherBench(**options)
    assert "\n" not in str(missing.value)
    for word in ("5.625deg.nc", "https://mediatum.ub.tum.de/1524895", *words):
        assert word in str(missing.value)


@pytest.mark.parametrize("hours", [30, 400, 9_000])
def test_windows_that_are_too_long_are_told(cached: Path, hours: int) -> None:
    with pytest.raises(DataMissing, match="no train clips to offer"):
        _opened(cached, hours=hours)


FILE = Path("2m_temperature/2m_temperature_2010_5.625deg.nc")
DAYS = np.arange(72)
Spoil = Callable[[Path], None]


def _years(first: Spoil) -> Spoil:
    """2010 as `first` writes it, and sound years to validate and to test."""

    def spoil(folder: Path) -> None:
        for year in (2016, 2017):
            weather_year(folder, year, DAYS)
        first(folder)

    return spoil


def _edited(edit: Callable[[h5py.File], None]) -> Spoil:
    def spoil(folder: Path) -> None:
        weather_year(folder, 2010, DAYS)
        with h5py.File(folder / FILE, "r+") as file:
            edit(file)

    return _years(spoil)


def _without(name: str) -> Spoil:
    return _edited(lambda file: file.__delitem__(name))


def _with(name: str, value: Any) -> Spoil:
    def edit(file: h5py.File) -> None:
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = value
        file[name].attrs.update(attributes)

    return _edited(edit)


def _units(text: Any) -> Spoil:
    return _edited(lambda file: file["time"].attrs.__setitem__("units", text))


def _valued(value: float) -> Spoil:
    maps = weather_maps(2010, DAYS)
    maps[50, 3, 4] = value
    return _with("t2m", maps)


def _cut_short(kept: float) -> Spoil:
    def spoil(folder: Path) -> None:
        weather_year(folder, 2010, DAYS)
        content = (folder / FILE).read_bytes()
        (folder / FILE).write_bytes(content[: int(len(content) * kept)])

    return _years(spoil)


def _only(*years: int) -> Spoil:
    def spoil(folder: Path) -> None:
        for year in years:
            weather_year(folder, year, DAYS)

    return spoil


def _twice(folder: Path) -> None:
    for place in ("a", "b"):
        weather_year(folder / place, 2010, DAYS)


def _elsewhere(folder: Path) -> None:
    with h5py.File(weather_year(folder, 2010, DAYS), "r+") as file:
        file["lat"][:] = np.flip(file["lat"][:])


def _in_units(text: Any, times: np.ndarray) -> Spoil:
    def edit(file: h5py.File) -> None:
        del file["time"]
        file["time"] = times
        file["time"].attrs["units"] = text

    return _edited(edit)


SINCE_1900 = DAYS + (date(2010, 1, 1) - date(1900, 1, 1)).days * 24


@pytest.mark.parametrize(
    "write",
    [
        _in_units("hours since 1900-01-01 00:00:00.0", SINCE_1900),
        _in_units(b"hours since 1900-1-1 00:00:0.0", SINCE_1900.astype(np.int32)),
        _in_units("days since 2010-01-01T00:00:00", DAYS / 24),
        _in_units("seconds since 2009-12-31 12:00:00", (DAYS + 12) * 3600.0),
    ],
)
def test_time_is_understood_however_netcdf_counts_it(tmp_path: Path, write: Spoil) -> None:
    write(tmp_path)
    assert WeatherBench.preparation().find(tmp_path).videos[0].ranges == ((0, len(DAYS)),)


WRONG: dict[str, tuple[Spoil, str]] = {
    "no maps": (_without("t2m"), "has no `t2m`"),
    "no time": (_without("time"), "has no `time`"),
    "no latitudes": (_without("lat"), "has no `lat`"),
    "another grid": (_with("t2m", np.zeros((72, 64, 128), "f4")), r"\(72, 64, 128\) as `t2m`"),
    "fewer maps": (_with("t2m", np.zeros((71, 32, 64), "f4")), r"not float32 \(72, 32, 64\)"),
    "packed": (_with("t2m", np.zeros((72, 32, 64), "i2")), "int16"),
    "texts": (_with("t2m", np.zeros((72, 32, 64), "S4")), "not float32"),
    "texts as time": (_with("time", np.array([b"now"] * 72)), "as `time`"),
    "no hours": (_with("time", np.zeros(0)), "as `time`"),
    "too many hours": (_with("time", np.zeros(9000)), "as `time`"),
    "no latitude": (_with("lat", np.zeros(31)), "no 32 latitudes"),
    "NaN as latitude": (_with("lat", np.full(32, np.nan)), "latitudes that are none"),
    "latitudes beyond the poles": (_with("lat", np.arange(32) * 6.0), "latitudes that are none"),
    "other latitudes": (_years(_elsewhere), "other latitudes"),
    "no units": (_edited(lambda file: file["time"].attrs.__delitem__("units")), "counts time in"),
    "other units": (_units("fortnights since 2010-01-01"), "counts time in 'fortnights"),
    "no day": (_units("hours since 2010-02-30"), "since no date"),
    "numbers as units": (_units(3), "counts time in '3'"),
    "another year": (_units("hours since 2011-01-01"), "no whole hours of 2010"),
    "half hours": (_with("time", DAYS / 2), "no whole hours"),
    "NaN as time": (_with("time", DAYS * math.nan), "no whole hours"),
    "backwards": (_with("time", DAYS[::-1]), "order of time at frame 1"),
    "an hour twice": (_with("time", np.r_[0:50, 49:71]), "order of time at frame 50"),
    "NaN": (_valued(math.nan), "lacks a value, or has one that is not finite, at frame 50"),
    "infinite": (_valued(-math.inf), "at frame 50"),
    "filled": (_valued(9.96921e36), "at frame 50"),
    "one value": (_with("t2m", np.full((72, 32, 64), 3, "f4")), "one value only of 2 m temp"),
    "one file twice": (_twice, "have one name"),
    "nothing": (_only(), "no year of train, such as 2010 or 2015"),
    "no training": (_only(2016, 2017), "no year of train, such as 2010 or 2015"),
    "no validation": (_only(2010, 2017), "no year of validation, such as 2016:"),
    "no test": (_only(2010, 2016), "no year of test, such as 2017 or 2018"),
    "zero bytes": (_cut_short(0), "is no HDF5 file"),
    "cut short": (_cut_short(0.5), "is no HDF5 file, is cut short"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_files_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    spoil, said = WRONG[what]
    spoil(tmp_path)
    with pytest.raises(SourceWrong, match=said) as refused:
        WeatherBench.preparation().find(tmp_path)
    assert "\n" not in str(refused.value)
    assert "get " in str(refused.value) or "remove" in str(refused.value)


WRONG_FIELDS: dict[str, tuple[str, Spoil, str]] = {
    "no v": (
        "uv10",
        lambda folder: (folder / "10m_v_component_of_wind").rename(folder / ".away") and None,
        "lacks 10m_v_component_of_wind_2010_5.625deg.nc",
    ),
    "other hours of v": (
        "uv10",
        lambda folder: (
            weather_year(folder, 2016, np.arange(1, 61), "10m_v_component_of_wind", "v10") and None
        ),
        "10m_v_component_of_wind_2016_5.625deg.nc has other hours",
    ),
    "no level": (
        "r",
        lambda folder: (
            weather_year(folder, 2016, np.arange(60), "relative_humidity", "r", levels=LEVELS[:-1])
            and None
        ),
        "no level of 1000 hPa",
    ),
    "levels without numbers": (
        "r",
        lambda folder: weather_year(folder, 2016, np.arange(60), "relative_humidity", "r") and None,
        "has no `level`",
    ),
}


@pytest.mark.parametrize("what", WRONG_FIELDS)
def test_fields_that_do_not_go_together_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    variable, spoil, said = WRONG_FIELDS[what]
    fields, levels, _ = VARIABLES[variable]
    _write_all(tmp_path, fields, levels)
    spoil(tmp_path)
    with pytest.raises(SourceWrong, match=said) as refused:
        WeatherBench.preparation(variable=variable).find(tmp_path)
    assert "\n" not in str(refused.value)
