from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from bench.check.dataset import CHECKS
from datasets.contract import DataMissing
from datasets.sevir import SEVIR
from datasets.video.source import SourceWrong
from tests.datasets.prepare_here import prepare_here
from tests.datasets.small_sources import (
    SEVIR_CLOCK,
    sevir,
    sevir_catalog,
    sevir_event,
    sevir_file,
    sevir_row,
)

LATE_2018 = "SEVIR_VIL_STORMEVENTS_2018_0701_1231.h5"
EARLY_2019 = "SEVIR_VIL_STORMEVENTS_2019_0101_0630.h5"
ABSENT = "SEVIR_VIL_RANDOMEVENTS_2019_0701_1231.h5"
ROWS = [
    sevir_row(0, LATE_2018, 0, "2018-12-31 23:00:00"),
    sevir_row(1, LATE_2018, 1, "2019-01-01 00:00:00"),
    sevir_row(2, LATE_2018, 2, "2018-08-01 00:00:00", missing=0.5),
    sevir_row(3, EARLY_2019, 1, "2019-01-01 00:05:00"),
    sevir_row(4, EARLY_2019, 0, "2019-06-01 00:00:00"),
    sevir_row(5, EARLY_2019, 2, "2019-06-01 00:05:00"),
    sevir_row(6, EARLY_2019, 3, "2019-06-20 00:00:00"),
    sevir_row(6, EARLY_2019, 4, "2019-06-20 01:00:00"),
    sevir_row(7, EARLY_2019, 5, "2019-06-21 00:00:00", missing=""),
    sevir_row(8, ABSENT, 0, "2019-07-03 00:00:00"),
]
SPLITS = {"train": (0, 1), "validation": (3, 4), "test": (5,)}
LEFT_OUT = 4  # two lack pixels, one is there twice


@pytest.fixture(scope="module")
def storms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two of three files, whose events are not in the order of time."""
    folder = tmp_path_factory.mktemp("storms")
    sevir_catalog(folder, ROWS)
    sevir_file(folder, LATE_2018, [0, 1, 2])
    sevir_file(folder, EARLY_2019, [4, 3, 5, 6, 6, 7])
    return folder


@pytest.fixture(scope="module")
def cached(storms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder with what is made of `storms`, in the form of SEVIR-LR."""
    folder = tmp_path_factory.mktemp("cached")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(folder))
        prepare_here(SEVIR.preparation(size=128), storms)
    return folder


def _opened(data_folder: Path, *args: int, **options: int) -> SEVIR:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(data_folder))
        return SEVIR(*args, size=128, **options)


def _shown(clips: Tensor) -> list[list[int]]:
    """The numbers of the images of `clips` of 128x128, counted over all events."""
    bits = clips[..., 0, 0, : len(SEVIR_CLOCK)].numpy()
    assert set(np.unique(bits)) <= {0, 255}
    return ((bits > 0) @ SEVIR_CLOCK).tolist()


def _windows(split: str, starts: range, step: int, frames: int) -> list[list[int]]:
    return [
        [49 * event + start + step * number for number in range(frames)]
        for event in SPLITS[split]
        for start in starts
    ]


AS_PUBLISHED = [((13, 12), 5), ((7, 6), 10)]


@pytest.mark.parametrize(("task", "minutes"), AS_PUBLISHED)
@pytest.mark.parametrize("split", ["validation", "test"])
def test_three_held_out_windows_of_each_event_as_published(
    cached: Path, split: str, task: tuple[int, int], minutes: int
) -> None:
    held_out = _opened(cached, *task, minutes=minutes).held_out(split)
    due = _windows(split, range(0, 25, 12), minutes // 5, sum(task))
    assert sorted(_shown(held_out[:])) == sorted(due)


@pytest.mark.parametrize(("task", "minutes"), AS_PUBLISHED)
def test_training_windows_begin_anywhere_in_an_event(
    cached: Path, task: tuple[int, int], minutes: int
) -> None:
    dataset = _opened(cached, *task, minutes=minutes)
    drawn = _shown(dataset.train_clips(400, torch.Generator().manual_seed(0)))
    due = _windows("train", range(25), minutes // 5, sum(task))
    assert {tuple(run) for run in drawn} == {tuple(run) for run in due}


def test_windows_of_one_event_are_a_cluster(cached: Path) -> None:
    dataset = _opened(cached)
    clusters = dataset.clusters("validation", 6).tolist()
    events = [run[0] // 49 for run in _shown(dataset.held_out("validation")[:])]
    assert len(set(zip(clusters, events, strict=True))) == len(set(clusters)) == 2


@pytest.mark.parametrize("size", [384, 128])
def test_frames_are_the_authors_bytes_or_means_of_them(storms: Path, size: int) -> None:
    preparation = SEVIR.preparation(size=size)
    source = next(it for it in preparation.find(storms).videos if it.tags["split"] == "validation")
    frames = np.stack(list(preparation.read(source, preparation.format)))
    for place, event in enumerate((4, 3)):  # as they lie in the file
        images = np.moveaxis(sevir_event(event), -1, 0).astype(float)
        factor = 384 // size
        pooled = images.reshape(49, size, factor, size, factor).mean(axis=(2, 4))
        shown = frames[49 * place :][:49, 0]
        assert np.abs(shown - pooled).max() <= (0.5 if factor > 1 else 0)


def test_each_channel_has_its_quantity_and_the_thresholds_of_csi(cached: Path) -> None:
    spec = _opened(cached).spec
    (quantity,) = spec.quantities
    assert (quantity.name, quantity.unit, quantity.low, quantity.high) == ("VIL", "", 0, 255)
    assert spec.thresholds == (16, 74, 133, 160, 181, 219)


def test_absent_files_are_told_and_events_left_out_are_counted(storms: Path, cached: Path) -> None:
    assert "1 of the 3 files of VIL are not here" in (_opened(cached).notice or "")
    facts = SEVIR.preparation().find(storms).facts
    assert facts == {"files": 3, "files_absent": 1, "events_left_out": LEFT_OUT}


def test_nothing_is_told_where_all_files_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    source = tmp_path / "source"
    source.mkdir()
    sevir(source)
    prepare_here(SEVIR.preparation(size=128), source)
    assert SEVIR(size=128).notice is None


def test_each_source_names_the_catalogue_and_its_file(storms: Path) -> None:
    for source in SEVIR.preparation().find(storms).videos:
        catalog, path = source.paths
        assert (catalog.name, path.stem) == ("CATALOG.csv", source.name.partition("/")[0])


def test_every_second_frame_is_ten_minutes_on(cached: Path) -> None:
    assert _opened(cached, 7, 6, minutes=10).frame_step == 2


@pytest.mark.parametrize("promise", CHECKS)
def test_small_frames_keep(cached: Path, promise: str) -> None:
    CHECKS[promise](_opened(cached, 7, 6, minutes=10))


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({}, "data prepare sevir --source"),
        ({"size": 128}, "data prepare 'sevir(size=128)' --source"),
    ],
)
def test_one_line_says_what_to_get_and_how_to_prepare_it(
    options: dict[str, int], command: str
) -> None:
    with pytest.raises(DataMissing) as missing:
        SEVIR(**options)
    assert "\n" not in str(missing.value)
    for word in ("CATALOG.csv", "s3://sevir/data/vil", "130 GB", command):
        assert word in str(missing.value)


def test_windows_longer_than_an_event_are_told(cached: Path) -> None:
    with pytest.raises(DataMissing, match="no clip is 50 frames long"):
        _opened(cached, 25, 25)


Spoil = Callable[[Path], None]
FILE = Path("data/vil/2018/SEVIR_VIL_STORMEVENTS_2018_0101_0630.h5")


def _listed(change: Callable[[list[dict[str, Any]]], object]) -> Spoil:
    """A catalogue that `change` has spoilt; there are no files, since it is read first."""

    def spoil(folder: Path) -> None:
        rows = [dict(row) for row in ROWS]
        change(rows)
        sevir_catalog(folder, rows)

    return spoil


def _set(**values: object) -> Spoil:
    return _listed(lambda rows: rows[1].update(values))


def _edited(edit: Callable[[h5py.File], object]) -> Spoil:
    """A file of train alone that `edit` has spoilt."""

    def spoil(folder: Path) -> None:
        sevir_catalog(folder, [sevir_row(0, FILE.name, 0, "2018-06-10 22:15:00")])
        path = folder / FILE
        path.parent.mkdir(parents=True)
        with h5py.File(path, "w") as file:
            file.create_dataset("vil", (1, 384, 384, 49), np.uint8)
            file["id"] = np.array(["S0"], "S10")
            edit(file)

    return spoil


def _instead(name: str, value: object) -> Spoil:
    def edit(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return _edited(edit)


def _cut_short(kept: float) -> Spoil:
    def spoil(folder: Path) -> None:
        _edited(lambda file: None)(folder)
        content = (folder / FILE).read_bytes()
        (folder / FILE).write_bytes(content[: int(len(content) * kept)])

    return spoil


def _twice(folder: Path) -> None:
    _edited(lambda file: None)(folder)
    (folder / "again").mkdir()
    (folder / "again" / FILE.name).write_bytes((folder / FILE).read_bytes())


def _without_a_column(folder: Path) -> None:
    sevir_catalog(folder, [{"file_name": "a.h5", "img_type": "vil"}])


def _cut_in_a_row(folder: Path) -> None:
    sevir_catalog(folder, ROWS)
    path = folder / "CATALOG.csv"
    path.write_text(path.read_text().partition("Hail")[0])


WRONG: dict[str, tuple[Spoil, str]] = {
    "nothing": (lambda folder: None, "holds no CATALOG.csv: get"),
    "no column": (_without_a_column, "has no column id"),
    "cut in a row": (_cut_in_a_row, "line 2, is none of the authors' list"),
    "no time": (_set(time_utc="yesterday"), "line 4, is none of .*yesterday"),
    "no place": (_set(file_index="first"), "line 4, is none of .*first"),
    "a place before the first": (_set(file_index=-1), "line 4, is none of .*-1 is no file_index"),
    "a share that is none": (_set(pct_missing="some"), "line 4, is none of .*some"),
    "no files": (_listed(lambda rows: None), r"holds no event of train \(to 1 January 2019\)"),
    "train alone": (_edited(lambda file: None), r"no event of validation \(from then to 1 June"),
    "no images": (_edited(lambda file: file.__delitem__("vil")), "has no `vil`"),
    "no ids": (_edited(lambda file: file.__delitem__("id")), "has no `id`"),
    "images in a group": (
        _edited(lambda file: (file.__delitem__("vil"), file.create_group("vil"))),
        "has no `vil`",
    ),
    "another type": (_instead("vil", np.zeros((1, 384, 384, 49), "i2")), "holds int16"),
    "smaller images": (_instead("vil", np.zeros((1, 192, 192, 49), "u1")), r"\(1, 192, 192, 49\)"),
    "more ids": (_instead("id", np.array(["S0", "S1"], "S10")), r"for \(2,\) events"),
    "one id, no list": (_instead("id", "S0"), r"for \(\) events"),
    "another id": (_instead("id", np.array(["S1"], "S10")), "does not hold the event 'S0' at pl"),
    "numbers as ids": (_instead("id", np.array([0])), "does not hold the event 'S0' at place 0"),
    "one file twice": (_twice, "have one name"),
    "zero bytes": (_cut_short(0), "is no HDF5 file"),
    "cut short": (_cut_short(0.5), "is no HDF5 file, is cut short"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_files_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    spoil, said = WRONG[what]
    spoil(tmp_path)
    with pytest.raises(SourceWrong, match=said) as refused:
        SEVIR.preparation().find(tmp_path)
    assert "\n" not in str(refused.value)
    assert "get " in str(refused.value) or "remove" in str(refused.value)


def test_a_file_with_a_damaged_image_is_told_in_one_line(
    tmp_path: Path, empty_folder: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    sevir(source)
    with h5py.File(source / FILE, "r+") as file:
        del file["vil"]
        packed = file.create_dataset("vil", (1, 384, 384, 49), np.uint8, compression="gzip")
        packed[0] = sevir_event(0)
        chunk = packed.id.get_chunk_info(0)
    content = bytearray((source / FILE).read_bytes())
    content[chunk.byte_offset + 2 : chunk.byte_offset + chunk.size] = bytes(chunk.size - 2)
    (source / FILE).write_bytes(content)
    with pytest.raises(SourceWrong, match="1 of the 3 sources of sevir") as told:
        prepare_here(SEVIR.preparation(size=128), source)
    assert "is no HDF5 file, is cut short or cannot be read" in str(told.value)
    assert "SourceWrong" not in str(told.value)
    assert "\n" not in str(told.value)
