import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from datasets.contract import DataMissing
from datasets.kitti_caltech import KittiCaltech
from datasets.video.source import SourceWrong
from tests.datasets.prepare_here import prepare_here
from tests.datasets.small_sources import caltech_sequence, kitti_caltech, kitti_part, yellow
from tests.datasets.video.counter import numbers, numbers_of


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KITTI's three parts and two of Caltech's sequences, one of a set that does not test."""
    folder = tmp_path_factory.mktemp("kitti_caltech")
    kitti_caltech(folder)
    caltech_sequence(folder / "set06" / "V000.seq", range(61))
    caltech_sequence(folder / "set06" / "V001.seq", range(498, 535), behind=16)
    caltech_sequence(folder / "set05" / "V000.seq", range(900, 960))
    return folder


@pytest.fixture(scope="module")
def cached(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which `source` is prepared."""
    folder = tmp_path_factory.mktemp("cached")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(folder))
        prepare_here(KittiCaltech.preparation(), source)
    return folder


@pytest.fixture
def here(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTFRAME_DATA", str(cached))


def _made(source: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> KittiCaltech:
    """The data set of the files in `source`, prepared beside them."""
    monkeypatch.setenv("NEXTFRAME_DATA", str(source.parent / "data"))
    prepare_here(KittiCaltech.preparation(), source)
    return KittiCaltech(**options)  # type: ignore[arg-type]


def _shown(clips: Tensor) -> set[tuple[int, ...]]:
    return {tuple(window) for window in numbers_of(clips).tolist()}


def _is_yellow(clips: Tensor) -> bool:
    """Whether red and green are far brighter than blue, which a JPEG does not leave at 0."""
    red, green, blue = clips.float().mean((0, 1, 3, 4)).tolist()
    return min(red, green) > 8 * blue


def _side_by_side(end: int, count: int, frames: int = 11) -> set[tuple[int, ...]]:
    """So many windows up to the frame before `end`."""
    firsts = [end - frames * place for place in range(1, count + 1)]
    return {tuple(range(first, first + frames)) for first in firsts}


@pytest.mark.usefixtures("here")
def test_held_out_windows_lie_side_by_side_up_to_the_end_of_each_recording() -> None:
    dataset = KittiCaltech()
    assert _shown(dataset.held_out("validation")[:]) == _side_by_side(125, 2)
    test = _shown(dataset.held_out("test")[:])
    used = [list(frames) for frames in (range(2, 61, 3), range(500, 535, 3))]
    assert test == {tuple(frames[-11:]) for frames in used}
    assert _shown(KittiCaltech(tested_on="kitti").held_out("test")[:]) == _side_by_side(212, 1)


@pytest.mark.usefixtures("here")
def test_a_longer_horizon_takes_longer_windows() -> None:
    dataset = KittiCaltech(horizon=3)
    assert _shown(dataset.held_out("validation")[:]) == _side_by_side(125, 1, 13)
    assert dataset.spec.horizon == 3


@pytest.mark.usefixtures("here")
def test_training_draws_every_window_of_the_train_file_within_one_recording() -> None:
    drawn = _shown(KittiCaltech().train_clips(150, torch.Generator().manual_seed(0)))
    firsts = {window[0] for window in drawn}
    assert firsts == {*range(14), *range(24, 27)}
    assert all(window == tuple(range(window[0], window[0] + 11)) for window in drawn)


@pytest.mark.usefixtures("here")
def test_frames_are_rgb_in_every_split() -> None:
    dataset = KittiCaltech()
    assert _is_yellow(dataset.train_clips(4, torch.Generator().manual_seed(0)))
    assert _is_yellow(dataset.held_out("validation")[:])
    assert _is_yellow(dataset.held_out("test")[:])
    assert torch.equal(
        dataset.held_out("validation")[:1][0, 0].permute(1, 2, 0),
        torch.from_numpy(yellow(int(numbers_of(dataset.held_out("validation")[:1])[0, 0]))),
    )


@pytest.mark.usefixtures("here")
def test_a_recording_is_a_cluster() -> None:
    dataset = KittiCaltech()
    assert dataset.clusters("validation", 2).tolist() == [0, 0]
    assert dataset.clusters("test", 2).tolist() == [0, 1]


@pytest.mark.usefixtures("here")
def test_absent_sets_of_caltech_are_told() -> None:
    assert "without Caltech's set07, set08, set09, set10" in (KittiCaltech().notice or "")
    assert KittiCaltech(tested_on="kitti").notice is None


def test_caltech_is_scaled_to_the_height_and_cropped_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "source" / "set06" / "V000.seq"
    path.parent.mkdir(parents=True)
    kitti_caltech(tmp_path / "source")
    caltech_sequence(path, range(3), size=(640, 480))
    preparation = KittiCaltech.preparation()
    (video,) = (v for v in preparation.find(tmp_path / "source").videos if v.paths == (path,))
    (frame,) = preparation.read(video, preparation.format)
    # Of four blocks of 160 pixels in a row the outer ones lose 20 of 600: a thirtieth of 160.
    row = frame[0, 10]
    assert numbers([frame]) == [2]
    bright = np.flatnonzero(row > 127)
    assert bright[0] == pytest.approx(140 / 600 * 160, abs=1.5)
    assert bright[-1] + 1 == pytest.approx(300 / 600 * 160, abs=1.5)


def _openstl_arrays(folder: Path, dtype: type = np.uint8) -> None:
    """OpenSTL's arrays in BGR: recordings of 24 and 11 frames, of which 2 come before the first."""
    frames = np.stack([yellow(600 + n)[..., ::-1] for n in range(35)])
    scaled = frames if dtype is np.uint8 else (frames / 255).astype(dtype)
    np.save(folder / "data_cache.npy", scaled)
    np.save(folder / "indices_cache.npy", np.array([24, 13, 2]))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_arrays_of_openstl_stand_for_caltech(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    kitti_caltech(source)
    shutil.rmtree(source / "set06")
    _openstl_arrays(source, dtype)
    dataset = _made(source, monkeypatch)
    test = dataset.held_out("test")
    assert _shown(test[:]) == {tuple(range(f, f + 11)) for f in (602, 613, 624)}
    assert _is_yellow(test[:])
    assert dataset.clusters("test", 3).tolist() == [0, 0, 0]  # no gap tells where one ends
    with pytest.raises(DataMissing, match="no test clips"):
        KittiCaltech(horizon=2)


def test_sequences_are_preferred_to_arrays_and_this_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    kitti_caltech(source)
    _openstl_arrays(source)
    assert "data_cache.npy, indices_cache.npy was not used" in (
        _made(source, monkeypatch).notice or ""
    )


def _hickle_5(folder: Path) -> None:
    """The validation part as hickle 5 writes it: each string its letters or a reference."""
    with h5py.File(folder / "X_val.hkl", "r") as file:
        frames = file["data_0"][:]
    with h5py.File(folder / "X_val.hkl", "w") as file:
        file["data"] = frames
    with h5py.File(folder / "sources_val.hkl", "w") as file:
        group = file.create_group("data")
        for place in range(len(frames)):
            name = b"road-x" if place < 12 else b"city-y"
            letters = np.frombuffer(name, "S1").reshape(1, -1)
            first = group[f"data{place // 12 * 12}"].ref if place in (7, 14) else None
            group[f"data{place}"] = first or (letters if place % 2 else np.frombuffer(name, "u1"))


def _variable(folder: Path) -> None:
    """The names as strings of variable length."""
    names = ["road-x"] * 12 + ["city-y"] * 13
    with h5py.File(folder / "sources_val.hkl", "w") as file:
        file.create_dataset("data_0", data=names, dtype=h5py.string_dtype())


@pytest.mark.parametrize("rewrite", [_hickle_5, _variable])
def test_files_of_every_hickle_are_read(tmp_path: Path, rewrite: Callable[[Path], None]) -> None:
    kitti_caltech(tmp_path)
    rewrite(tmp_path)
    found = KittiCaltech.preparation().find(tmp_path)
    (source,) = (video for video in found.videos if video.name == "kitti/val")
    assert source.ranges == ((0, 12), (12, 25))
    assert found.facts["recordings"]["kitti/val"] == ["road-x", "city-y"]
    preparation = KittiCaltech.preparation()
    assert numbers(preparation.read(source, preparation.format)) == list(range(100, 125))


def test_without_caltech_the_option_for_kitti_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    kitti_caltech(source)
    shutil.rmtree(source / "set06")
    assert len(_made(source, monkeypatch, tested_on="kitti").held_out("test")) == 1
    with pytest.raises(DataMissing, match="set06 to set10 of Caltech") as told:
        KittiCaltech()
    assert "\n" not in str(told.value)


@pytest.mark.usefixtures("empty_folder")
def test_one_line_says_what_to_get_and_how_to_prepare_it() -> None:
    with pytest.raises(DataMissing) as missing:
        KittiCaltech()
    assert "\n" not in str(missing.value)
    for word in ("kitti_data.zip", "X_train.hkl", "set06", "data prepare kitti_caltech"):
        assert word in str(missing.value)


Spoil = Callable[[Path], object]


def _with(name: str, item: object, key: str = "data_0") -> Spoil:
    def spoil(folder: Path) -> None:
        with h5py.File(folder / name, "w") as file:
            if item is not None:
                file[key] = item

    return spoil


def _without(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def _arrays(frames: object, starts: object) -> Spoil:
    def spoil(folder: Path) -> None:
        shutil.rmtree(folder / "set06")
        np.save(folder / "data_cache.npy", np.asarray(frames))
        np.save(folder / "indices_cache.npy", np.asarray(starts))

    return spoil


def _only_frames(folder: Path) -> None:
    shutil.rmtree(folder / "set06")
    np.save(folder / "data_cache.npy", FRAMES)


def _nothing_to_test_on(folder: Path) -> None:
    shutil.rmtree(folder / "set06")
    (folder / "X_test.hkl").unlink()
    (folder / "sources_test.hkl").unlink()


FRAMES = np.zeros((22, 128, 160, 3), np.uint8)
SHARED = {"city-2011_09_26_drive_0001_sync": 25}
WRONG: dict[str, tuple[Spoil, str]] = {
    "no X_train": (_without("X_train.hkl"), "not both X_train.hkl and sources_train.hkl"),
    "no sources_val": (_without("sources_val.hkl"), "not both X_val.hkl and sources_val.hkl"),
    "no sources_test": (_without("sources_test.hkl"), "not both X_test.hkl and sources_test"),
    "nothing to test on": (_nothing_to_test_on, "holds nothing to test on: get"),
    "empty": (_with("X_val.hkl", None), "X_val.hkl is empty: get it anew"),
    "a number": (_with("X_val.hkl", 3), "X_val.hkl holds no array"),
    "a group": (_with("X_val.hkl", FRAMES, "data_0/data_0"), "X_val.hkl holds no array"),
    "channels first": (_with("X_val.hkl", FRAMES.transpose(0, 3, 1, 2)), r"\(22, 3, 128, 160\)"),
    "floats": (_with("X_val.hkl", np.zeros((25, 128, 160, 3))), "X_val.hkl holds float64"),
    "fewer frames": (_with("X_val.hkl", FRAMES), r"\(22, 128, 160, 3\) for 25 names"),
    "numbers": (_with("sources_val.hkl", np.arange(25)), "something else than strings"),
    "one string": (_with("sources_val.hkl", b"city"), "holds no list of strings"),
    "no UTF-8": (_with("sources_val.hkl", np.array([b"\xff"] * 25)), "else than strings"),
    "a group of groups": (_with("sources_val.hkl", 3, "data/a/b"), "something else than strings"),
    "one recording twice": (lambda f: kitti_part(f, "val", SHARED), "sources_val.hkl both have"),
    "one of two arrays": (_only_frames, "not both data_cache.npy and indices_cache.npy"),
    "grey arrays": (_arrays(FRAMES[..., 0], [0, 11]), r"uint8 \(22, 128, 160\)"),
    "starts beyond": (_arrays(FRAMES, [0, 11, 30]), "does not fit the 22 frames"),
    "starts before": (_arrays(FRAMES, [-3, 0, 11]), "does not fit the 22 frames"),
    "a start twice": (_arrays(FRAMES, [0, 11, 11]), "does not fit the 22 frames"),
    "no starts": (_arrays(FRAMES, []), r"float64 \(0,\)"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_files_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    spoil, said = WRONG[what]
    kitti_caltech(tmp_path)
    spoil(tmp_path)
    with pytest.raises(SourceWrong, match=said) as refused:
        KittiCaltech.preparation().find(tmp_path)
    assert "\n" not in str(refused.value)
    assert "get " in str(refused.value)


def _head(place: int, value: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:place] + value.to_bytes(4, "little") + content[place + 4 :]


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no bytes": (lambda content: b"", "is no Norpix sequence"),
    "another magic": (_head(0, 1), "is no Norpix sequence"),
    "raw images": (_head(568, 100), "format 100, not JPEG"),
    "fewer images": (_head(572, 43), "is cut short or broken after image 40"),
    "the head alone": (lambda content: content[:1024], "is cut short or broken after image 0"),
    "cut in an image": (lambda content: content[:1500], "is cut short in image 1"),
    "cut between": (lambda content: content[: len(content) // 2], "is cut short"),
    "an image of no size": (_head(1024, 4), "is cut short or broken after image 0"),
    "an endless image": (_head(1024, 2**32 - 1), "is cut short or broken after image 0"),
    "no JPEG": (lambda content: content.replace(b"\xff\xd8\xff", b"\xff\xd8\x00"), "is no JPEG"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_sequence_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    change, said = BROKEN[what]
    source = tmp_path / "source"
    source.mkdir()
    kitti_caltech(source)
    path = source / "set07" / "V003.seq"
    caltech_sequence(path, range(40))
    path.write_bytes(change(path.read_bytes()))
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    prepared = prepare_here(KittiCaltech.preparation(), source, max_damaged_share=0.5)
    ((name, reason),) = ((it.name, it.reason) for it in prepared.damaged)
    assert name == "caltech/set07/V003"
    assert said in reason
    assert len(KittiCaltech().held_out("test")) == 1


@pytest.mark.parametrize("said", [0, 41])
def test_a_sequence_that_says_no_length_or_a_little_more_is_read_to_its_end(
    tmp_path: Path, said: int
) -> None:
    kitti_caltech(tmp_path)
    path = tmp_path / "set06" / "V000.seq"
    path.write_bytes(_head(572, said)(path.read_bytes()))
    preparation = KittiCaltech.preparation()
    source = preparation.find(tmp_path).videos[-1]
    assert numbers(preparation.read(source, preparation.format)) == list(range(302, 340, 3))
