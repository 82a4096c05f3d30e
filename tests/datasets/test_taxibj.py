import math
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.check.dataset import CHECKS
from datasets.contract import DataMissing
from datasets.taxibj import TaxiBJ
from datasets.video.dataset import SPLITS
from datasets.video.source import Source, SourceWrong
from tests.datasets.prepare_here import prepare_here
from tests.datasets.small_sources import (
    TAXI_BEGIN,
    TAXI_CLOCK,
    TAXI_PEAK,
    taxi_flows,
    taxi_season,
)


def _half_hours(frames: Tensor) -> np.ndarray:
    """What the clocks of `frames` [...,2,32,32] show, in whole pixels of white or black."""
    bits = frames[..., 0, 0, :16].numpy()
    assert set(np.unique(bits)) <= {0, 65_535}
    return (bits > 0) @ TAXI_CLOCK


def _day(month: int, day: int, year: int = 2015) -> int:
    return (date(year, month, day) - TAXI_BEGIN).days


def _of_days(days: Iterable[int]) -> np.ndarray:
    return np.concatenate([np.arange(48) + 48 * day for day in days])


SPRING = [0, 2, 4, 5]  # the 4th of March is absent
HALF_A_DAY = np.arange(48, 72)  # all that there is of the 2nd
WINTER = [day for day in range(_day(11, 1), _day(11, 1) + 60) if day != _day(11, 21)]
SEASONS = {
    "BJ15_M32x32_T30_InOut.h5": np.sort(np.concatenate((_of_days(SPRING), HALF_A_DAY))),
    "BJ16_M32x32_T30_InOut.h5": _of_days(WINTER),
}
TIMES = {
    "train": _of_days([*SPRING, *WINTER[:3]]),
    "validation": _of_days(WINTER[3:31]),
    "test": _of_days(WINTER[31:]),
}
HIGH = 7  # values of the last frame above the training maximum


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two of the authors' four files, a fraction as long."""
    folder = tmp_path_factory.mktemp("seasons")
    for name, half_hours in SEASONS.items():
        flows = taxi_flows(half_hours)
        if name.startswith("BJ16"):
            flows[-1, 1, 5, :HIGH] = 2 * TAXI_PEAK
        taxi_season(folder / name, half_hours, flows)
    return folder


@pytest.fixture(scope="module")
def of_seasons(seasons: Path, tmp_path_factory: pytest.TempPathFactory) -> TaxiBJ:
    return _prepared(seasons, tmp_path_factory.mktemp("of_seasons"))


def _prepared(source: Path, data_folder: Path, **options: int) -> TaxiBJ:
    """The data set made of the folder `source`, where it is not yet in `data_folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(data_folder))
        prepare_here(TaxiBJ.preparation(), source)
        return TaxiBJ(**options)


def _windows(half_hours: np.ndarray, frames: int = 8) -> set[tuple[int, ...]]:
    """Every run of so many consecutive half hours."""
    there = set(half_hours.tolist())
    runs = (tuple(range(first, first + frames)) for first in there)
    return {run for run in runs if there.issuperset(run)}


def _shown(clips: Tensor) -> list[tuple[int, ...]]:
    return [tuple(run) for run in _half_hours(clips).tolist()]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_out_windows_are_all_there_are_and_cross_no_gap(
    of_seasons: TaxiBJ, split: str
) -> None:
    shown = _shown(of_seasons.held_out(split)[:])
    assert len(set(shown)) == len(shown)
    assert set(shown) == _windows(TIMES[split])


def test_windows_of_one_day_are_a_cluster(of_seasons: TaxiBJ) -> None:
    test = of_seasons.held_out("test")
    clusters = of_seasons.clusters("test", len(test)).tolist()
    days = [run[0] // 48 for run in _shown(test[:])]
    assert len(set(zip(clusters, days, strict=True))) == len(set(clusters)) == len(set(days)) > 20


def test_training_windows_are_of_whole_days_and_cross_no_gap(of_seasons: TaxiBJ) -> None:
    shown = _shown(of_seasons.train_clips(4000, torch.Generator().manual_seed(0)))
    assert set(shown) <= _windows(TIMES["train"])
    assert {half_hour for run in shown for half_hour in run} == set(TIMES["train"].tolist())


def test_flows_are_scaled_by_the_training_maximum_and_cut(seasons: Path) -> None:
    preparation = TaxiBJ.preparation()
    found = preparation.find(seasons)
    frames = {v.name: np.stack(list(preparation.read(v, preparation.format))) for v in found.videos}
    assert found.facts["peak"] == TAXI_PEAK
    assert found.facts["values_cut"] == HIGH
    assert found.facts["half_hours_left_out"] == len(HALF_A_DAY)
    flows = taxi_flows(SEASONS["BJ16_M32x32_T30_InOut.h5"])[-len(frames["test"]) :]
    flows[-1, 1, 5, :HIGH] = TAXI_PEAK
    scaled = flows.astype(float) / TAXI_PEAK
    error = np.mean((frames["test"] / 65_535 - scaled) ** 2)
    assert error == pytest.approx((1 / 65_535) ** 2 / 12, rel=0.02, abs=0)
    in_8_bits = np.mean((np.rint(scaled * 255) / 255 - scaled) ** 2)
    assert error < in_8_bits / 60_000  # which is 1 % of published MSEs, 1.5e-4
    assert (frames["test"][-1, 1, 5, :HIGH] == 65_535).all()


def test_each_source_names_every_file_that_its_pixels_depend_on(seasons: Path) -> None:
    for source in TaxiBJ.preparation().find(seasons).videos:
        assert [path.name for path in source.paths] == sorted(SEASONS)


def test_missing_seasons_and_unused_windows_are_told(
    of_seasons: TaxiBJ, seasons: Path, tmp_path: Path
) -> None:
    assert "without BJ13, BJ14" in (of_seasons.notice or "")
    assert "dataset.npz" not in (of_seasons.notice or "")
    for path in seasons.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "dataset.npz").write_bytes(b"not even looked at")
    facts = TaxiBJ.preparation().find(tmp_path).facts
    assert facts["form"] == "h5"
    assert facts["passed_over"] == ["dataset.npz"]


def _cut_into_windows(first: int, last: int) -> dict[str, np.ndarray]:
    """Windows one half hour apart, between these, as X and Y in [-1,1]."""
    series = taxi_flows(np.arange(first, last)) / (TAXI_PEAK / 2) - 1
    windows = np.stack([series[at : at + 8] for at in range(len(series) - 7)])
    return {"X": windows[:, :4], "Y": windows[:, 4:]}


def _write_windows(path: Path, train: dict[str, np.ndarray], test: dict[str, np.ndarray]) -> None:
    arrays = {f"{name}_train": array for name, array in train.items()}
    np.savez(path, **arrays, **{f"{name}_test": array for name, array in test.items()})


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the field's file, a fraction as long: 250 windows and the 50 after them."""
    folder = tmp_path_factory.mktemp("windows")
    test = _cut_into_windows(250, 307)
    test["Y"][-1, -1, 1, 5, :HIGH] = 1.5
    _write_windows(folder / "dataset.npz", _cut_into_windows(0, 257), test)
    return folder


@pytest.fixture(scope="module")
def windows_cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("windows_cached")


@pytest.fixture(scope="module")
def of_windows(windows: Path, windows_cached: Path) -> TaxiBJ:
    return _prepared(windows, windows_cached)


def test_windows_of_the_npz_are_the_clips_and_overlapping_ones_are_left_out(
    of_windows: TaxiBJ, windows: Path
) -> None:
    def from_to(first: int, last: int) -> set[tuple[int, ...]]:
        return _windows(np.arange(first, last))

    assert len(of_windows.held_out("test")) == 50
    assert set(_shown(of_windows.held_out("test")[:])) == from_to(250, 307)
    # The last 25 training windows, less the 7 that reach into the test.
    assert set(_shown(of_windows.held_out("validation")[:])) == from_to(225, 250)
    drawn = of_windows.train_clips(3000, torch.Generator().manual_seed(0))
    assert set(_shown(drawn)) == from_to(0, 225)
    facts = TaxiBJ.preparation().find(windows).facts
    assert facts["windows_left_out"] == 14
    assert facts["values_cut"] == HIGH
    assert "dataset.npz" in (of_windows.notice or "")


def test_both_forms_hold_the_same_pixels(windows: Path, seasons: Path) -> None:
    preparation = TaxiBJ.preparation()

    def read(source: Source) -> np.ndarray:
        return np.stack(list(preparation.read(source, preparation.format)))

    by_name = [{v.name: v for v in preparation.find(f).videos} for f in (windows, seasons)]
    of_npz = read(by_name[0]["train"])[::8][:48].astype(int)
    assert _half_hours(torch.from_numpy(of_npz)).tolist() == list(range(48))
    flows = taxi_flows(np.arange(257))[:48] / TAXI_PEAK
    assert np.abs(of_npz / 65_535 - flows).max() <= 0.51 / 65_535


@pytest.mark.parametrize(("context_frames", "horizon"), [(4, 1), (3, 4), (8, 8)])
def test_windows_of_the_npz_have_one_length(
    windows: Path, windows_cached: Path, context_frames: int, horizon: int
) -> None:
    with pytest.raises(ValueError, match="4 -> 4 only"):
        _prepared(windows, windows_cached, context_frames=context_frames, horizon=horizon)


@pytest.fixture(scope="module")
def season() -> dict[str, np.ndarray]:
    return _cut_into_windows(0, 256)


@settings(max_examples=25)
@given(
    st.just(list(range(40))) | st.permutations(range(40)), st.integers(1, 20), st.integers(1, 12)
)
def test_whatever_the_order_of_windows_splits_share_no_frame(
    tmp_path_factory: pytest.TempPathFactory,
    season: dict[str, np.ndarray],
    order: list[int],
    tests: int,
    apart: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "any" / "dataset.npz"
    path.parent.mkdir(exist_ok=True)
    firsts = [apart * place % 249 for place in order]
    train, test = (
        {name: array[part] for name, array in season.items()}
        for part in (firsts[:-tests], firsts[-tests:])
    )
    _write_windows(path, train, test)
    try:
        found = TaxiBJ.preparation().find(path.parent)
    except SourceWrong:
        event("no window is left to a split")
        return
    event("three splits")
    frames = [_frames_of(source) for source in found.videos]
    assert [source.tags["split"] for source in found.videos] == list(SPLITS)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not frames[one] & frames[other]


def _frames_of(source: Source) -> set[int]:
    """The half hours that the clips of `source` show."""
    preparation = TaxiBJ.preparation()
    frames = torch.from_numpy(np.stack(list(preparation.read(source, preparation.format))))
    shown = _half_hours(frames)
    return {int(half_hour) for first, last in source.ranges for half_hour in shown[first:last]}


@pytest.mark.parametrize("promise", CHECKS)
def test_of_windows_it_keeps(of_windows: TaxiBJ, promise: str) -> None:
    CHECKS[promise](of_windows)


@pytest.mark.usefixtures("empty_folder")
def test_one_line_says_what_to_get_and_how_to_prepare_it() -> None:
    with pytest.raises(DataMissing) as missing:
        TaxiBJ()
    assert "\n" not in str(missing.value)
    for word in ("BJ16_M32x32_T30_InOut.h5", "DeepST", "dataset.npz", "data prepare taxibj"):
        assert word in str(missing.value)


BJ16 = "BJ16_M32x32_T30_InOut.h5"
DAYS = _of_days(range(3))
Spoil = Callable[[Path], None]


def _season(half_hours: np.ndarray = DAYS, flows: np.ndarray | None = None) -> Spoil:
    return lambda folder: taxi_season(folder / BJ16, half_hours, flows)


def _edited(edit: Callable[[h5py.File], None]) -> Spoil:
    def spoil(folder: Path) -> None:
        taxi_season(folder / BJ16, DAYS)
        with h5py.File(folder / BJ16, "r+") as file:
            edit(file)

    return spoil


def _without(name: str) -> Spoil:
    return _edited(lambda file: file.__delitem__(name))


def _dated(row: int, stamp: bytes) -> Spoil:
    return _edited(lambda file: file["date"].__setitem__(row, stamp))


def _with_flow(value: float) -> Spoil:
    flows = taxi_flows(_of_days(WINTER))
    flows[100, 1, 2, 3] = value
    return _season(_of_days(WINTER), flows)


def _cut_short(name: str, write: Spoil, kept: float) -> Spoil:
    def spoil(folder: Path) -> None:
        write(folder)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * kept)])

    return spoil


def _twice(folder: Path) -> None:
    for place in (folder / "a", folder / "b"):
        place.mkdir()
        taxi_season(place / BJ16, DAYS)


def _short_winter(folder: Path) -> None:
    taxi_season(folder / BJ16.replace("16", "15"), DAYS)
    taxi_season(folder / BJ16, _of_days(WINTER[:40]))


def _overlapping(folder: Path) -> None:
    taxi_season(folder / BJ16.replace("16", "15"), DAYS)
    taxi_season(folder / BJ16, DAYS)


def _zeros(folder: Path) -> None:
    taxi_season(folder / BJ16, _of_days(WINTER), np.zeros((48 * len(WINTER), 2, 32, 32)))


def _npz(edit: Callable[[dict[str, np.ndarray]], None] = lambda arrays: None) -> Spoil:
    def spoil(folder: Path) -> None:
        arrays = {f"{n}_train": a for n, a in _cut_into_windows(0, 40).items()}
        arrays |= {f"{n}_test": a for n, a in _cut_into_windows(40, 60).items()}
        edit(arrays)
        np.savez(folder / "dataset.npz", **arrays)

    return spoil


def _change(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    return _npz(lambda arrays: arrays.update({name: change(arrays[name])}))


def _poke(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def poke(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[3, 2, 1, 0, 0] = value
        return array

    return poke


def _only_first(arrays: dict[str, np.ndarray]) -> None:
    arrays.update({name: array[[0]] for name, array in arrays.items()})


WRONG: dict[str, tuple[Spoil, str]] = {
    "an empty folder": (lambda folder: None, "holds nothing of TaxiBJ: get BJ13"),
    "no data": (_without("data"), "has no `data`"),
    "no date": (_without("date"), "has no `date`"),
    "another shape": (_season(DAYS, np.zeros((144, 2, 16, 16))), r"\(144, 2, 16, 16\) for 144"),
    "a date too many": (_season(DAYS, taxi_flows(DAYS)[1:]), r"\(143, 2, 32, 32\) for 144"),
    "text": (_season(DAYS, np.full((144, 2, 32, 32), b"x")), "not \\(N,2,32,32\\)"),
    "no rows": (_season(np.empty(0, int), taxi_flows(np.empty(0, int))), "for 0 dates"),
    "unsorted": (_season(DAYS[::-1]), "order of time: 2015030347 comes after 2015030348"),
    "a row twice": (_season(np.r_[DAYS[:9], DAYS[8:]]), "2015030109 stands twice"),
    "half hour 49": (_dated(4, b"2015030149"), "has the date b'2015030149'"),
    "no such day": (_dated(4, b"2015023001"), "has the date b'2015023001'"),
    "a short date": (_dated(4, b"20150301"), "has the date b'20150301'"),
    "NaN": (_with_flow(math.nan), "negative or not finite, in row 100"),
    "infinite": (_with_flow(math.inf), "negative or not finite, in row 100"),
    "negative": (_with_flow(-1), "negative or not finite, in row 100"),
    "nothing but zeros": (_zeros, "nothing but zeros"),
    "too few days": (_season(), "too few whole days, 3"),
    "too few days in the last file": (_short_winter, "too few whole days, 40"),
    "nothing to train on": (_season(_of_days(WINTER[:56])), "too few whole days"),
    "one file twice": (_twice, "have one name"),
    "overlapping files": (_overlapping, "begins before the file before it ends"),
    "zero bytes": (_cut_short(BJ16, _season(), 0), "is no HDF5 file"),
    "cut short": (_cut_short(BJ16, _season(), 0.5), "is no HDF5 file, is cut short"),
    "no Y_test": (_npz(lambda arrays: arrays.__delitem__("Y_test")), "lacks X_test or Y_test"),
    "fewer Y than X": (_change("Y_train", lambda a: a[1:]), "have 33 and 32 windows"),
    "no windows": (_npz(lambda arrays: arrays.update(X_test=arrays["X_test"][:0])), "have 0 and"),
    "6 frames": (_change("X_test", lambda a: a[:, [0, 1, 2, 3, 3, 3]]), r"6, 2, 32, 32\)"),
    "integers": (_change("X_train", lambda a: a.astype(int)), "an array is int64"),
    "in columns": (_change("X_train", np.asfortranarray), "an array is float32"),
    "objects": (_change("X_train", lambda a: a.astype(object)), "an array is object"),
    "NaN in the npz": (_change("X_train", _poke(math.nan)), "train values that are not finite"),
    "in [0,1]": (_npz(lambda a: a.update({n: v / 2 + 0.5 for n, v in a.items()})), r"lie in \[0,1"),
    "above 1 in training": (_change("X_train", _poke(1.5)), r"lie in \[-1,1.5\]"),
    "below -1": (_change("X_test", _poke(-1.5)), r"the test values of .* lie in \[-1.5,1\]"),
    "all windows overlap": (_npz(_only_first), "no train window without a frame of another"),
    "npz of zero bytes": (_cut_short("dataset.npz", _npz(), 0), "is no .npz file"),
    "npz cut short": (_cut_short("dataset.npz", _npz(), 0.7), "is no .npz file, is cut short"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_files_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    spoil, said = WRONG[what]
    spoil(tmp_path)
    with pytest.raises(SourceWrong, match=said) as refused:
        TaxiBJ.preparation().find(tmp_path)
    assert "\n" not in str(refused.value)
    assert "get " in str(refused.value) or "remove" in str(refused.value)


def test_a_bit_that_flipped_in_the_npz_is_noticed(tmp_path: Path) -> None:
    _npz()(tmp_path)
    path = tmp_path / "dataset.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(SourceWrong, match="cut short or cannot be read"):
        TaxiBJ.preparation().find(tmp_path)
