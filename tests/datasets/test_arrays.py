import math
import shutil
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

from bench.check.dataset import checks_of
from datasets.arrays import Arrays
from datasets.contract import DataMissing, covariates_of
from datasets.video.dataset import HELD_OUT
from tests.datasets.small_sources import drifting

Save = Callable[[Path, np.ndarray], None]


def _hdf5(path: Path, array: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["run/fields"] = array


FORMATS: dict[str, Save] = {
    "a.npy": np.save,
    "a.npz": lambda path, array: np.savez(path, fields=array),
    "packed.npz": lambda path, array: np.savez_compressed(path, fields=array),
    "a.h5": _hdf5,
    "a.hdf5": _hdf5,
    "a.tif": lambda path, array: tifffile.imwrite(path, array, photometric="minisblack"),
    "packed.TIFF": lambda path, array: tifffile.imwrite(
        path, array, photometric="minisblack", compression="zlib"
    ),
}


def _numbered(count: int = 10, frames: int = 24, channels: int = 2) -> np.ndarray:
    """Sequences uint8 [N,T,C,5,6] whose frames tell their sequence, their number and channel."""
    n, t, c, y, x = np.indices((count, frames, channels, 5, 6))
    return (100 * (y == 0) * (x == 0) + 9 * n * (y == 1) + t * (y == 2) + c * (y == 3)).astype("u1")


def _origins(clips: Tensor) -> list[tuple[int, int]]:
    """The sequence and the first frame of each clip, all of whose frames must follow each other."""
    sequence, frame = clips[:, :, 0, 1, 0].long() // 9, clips[:, :, 0, 2, 0].long()
    assert (sequence == sequence[:, :1]).all()
    assert (frame.diff(dim=1) == 1).all()
    return list(zip(sequence[:, 0].tolist(), frame[:, 0].tolist(), strict=True))


def _saved(folder: Path, array: np.ndarray, name: str = "a.npy") -> str:
    FORMATS[name](folder / name, array)
    return str(folder / name)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    array = _numbered()
    dataset = Arrays(path=_saved(tmp_path, array, name), axes="NTCHW")
    assert dataset.spec.frame_shape == (2, 5, 6)
    assert dataset.spec.dtype == torch.uint8
    for clips in (
        dataset.train_clips(20, torch.Generator().manual_seed(0)),
        dataset.held_out("validation")[:],
        dataset.held_out("test")[:],
    ):
        for clip, (sequence, frame) in zip(clips, _origins(clips), strict=True):
            assert np.array_equal(clip.numpy(), array[sequence, frame : frame + 20])


@pytest.mark.parametrize("name", ["a.npy", "a.h5", "a.tif"])
@pytest.mark.parametrize("axes", ["NTCHW", "NTHWC", "TNCHW", "HWCTN", "CNHTW", "WHNTC"])
def test_axes_come_in_any_order_that_is_said(tmp_path: Path, name: str, axes: str) -> None:
    array = _numbered(channels=3)
    stored = np.ascontiguousarray(array.transpose(["NTCHW".index(axis) for axis in axes]))
    dataset = Arrays(path=_saved(tmp_path, stored, name), axes=axes)
    clips = dataset.train_clips(10, torch.Generator().manual_seed(0))
    for clip, (sequence, frame) in zip(clips, _origins(clips), strict=True):
        assert np.array_equal(clip.numpy(), array[sequence, frame : frame + 20])


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((30, 20, 64, 64), "NTHW"),
        ((30, 20, 3, 64, 64), "NTCHW"),
        ((30, 20, 64, 64, 3), "NTHWC"),
        ((30, 20, 64, 64, 1), "NTHWC"),
        ((100, 64, 64), "THW"),
        ((100, 200, 64, 3), "THWC"),
        ((100, 3, 64, 64), "TCHW"),
        ((20, 30, 64, 64), None),
        ((100, 3, 64, 3), None),
        ((30, 20, 4, 64, 4), None),
        ((30, 20, 16, 64, 64), None),
        ((20, 30, 1, 64, 64), None),
    ],
)
def test_axes_are_never_guessed_where_the_shape_leaves_several(
    tmp_path: Path, shape: tuple[int, ...], axes: str | None
) -> None:
    path = tmp_path / "a.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, shape).flush()
    if axes is None:
        with pytest.raises(ValueError, match=r"say what its axes are, such as axes='\w+'"):
            Arrays(path=str(path))
    else:
        assert f"axes {axes} of a.npy" in (Arrays(path=str(path)).notice or "")


@pytest.mark.parametrize("axes", ["NTHW", "NTHWX", "NTTHW", "nthwc", "N", "NTHWCC"])
def test_axes_that_are_none_are_refused(tmp_path: Path, axes: str) -> None:
    with pytest.raises(ValueError, match="an order of NTCHW"):
        Arrays(path=_saved(tmp_path, _numbered()), axes=axes)


def test_without_channels_there_is_one(tmp_path: Path) -> None:
    dataset = Arrays(path=_saved(tmp_path, _numbered(30)[:, :, 0]))
    assert dataset.spec.frame_shape == (1, 5, 6)


def test_windows_stay_within_their_sequence_and_sequences_in_their_split(tmp_path: Path) -> None:
    dataset = Arrays(4, 3, path=_saved(tmp_path, _numbered()), axes="NTCHW")
    drawn = _origins(dataset.train_clips(2000, torch.Generator().manual_seed(0)))
    assert {frame for _, frame in drawn} == set(range(18))
    shown = {split: _origins(dataset.held_out(split)[:]) for split in ("validation", "test")}
    sequences = {
        "train": {number for number, _ in drawn},
        **{split: {number for number, _ in those} for split, those in shown.items()},
    }
    assert {split: len(those) for split, those in sequences.items()} == {
        "train": 8,
        "validation": 1,
        "test": 1,
    }
    assert set.union(*sequences.values()) == set(range(10))
    for those in shown.values():
        assert sorted(frame for _, frame in those) == [0, 7, 14]


def test_a_sequence_is_a_cluster(tmp_path: Path) -> None:
    dataset = Arrays(4, 3, path=_saved(tmp_path, _numbered()), axes="NTCHW", test="2:4")
    clusters = dataset.clusters("test", 6).tolist()
    assert clusters == [sequence for sequence, _ in _origins(dataset.held_out("test")[:])]
    assert set(clusters) == {2, 3}


def test_sequences_are_named_or_shared_out(tmp_path: Path) -> None:
    path = _saved(tmp_path, _numbered(25))
    dataset = Arrays(path=path, test="0:3, 7", validation=0.2)
    assert {sequence for sequence, _ in _origins(dataset.held_out("test")[:])} == {0, 1, 2, 7}
    validating = {sequence for sequence, _ in _origins(dataset.held_out("validation")[:])}
    assert len(validating) == 5
    assert not validating & {0, 1, 2, 7}
    assert "16 train, 5 validation, 4 test" in (dataset.notice or "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"test": "5:11"}, "test names sequence 10 of 0 to 9"),
        ({"test": "5", "validation": "4:6"}, "sequence 5 is named for both"),
        ({"test": "0:9", "validation": "9"}, "none is left for train"),
        ({"test": "0:10"}, "none is left for"),
        ({"test": 0.9}, "none is left for train"),
    ],
)
def test_splits_that_cannot_be_are_refused(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as told:
        Arrays(path=_saved(tmp_path, _numbered()), axes="NTCHW", **options)
    assert "\n" not in str(told.value)


def test_seven_sequences_are_enough(tmp_path: Path) -> None:
    path = _saved(tmp_path, _numbered(7))
    assert "5 train, 1 validation, 1 test" in (Arrays(path=path, axes="NTCHW").notice or "")


def _shown(dataset: Arrays, sequence: int) -> dict[str, set[int]]:
    """The frames of a sequence that are in clips of each split."""
    drawn = dataset.train_clips(400, torch.Generator().manual_seed(0))
    clips = {"train": drawn, **{split: dataset.held_out(split)[:] for split in HELD_OUT}}
    return {
        split: {
            first + step
            for of, first in _origins(them)
            if of == sequence
            for step in range(dataset.spec.clip_frames)
        }
        for split, them in clips.items()
    }


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_sequences_are_cut_in_time_and_share_no_frames(
    tmp_path: Path, count: int
) -> None:
    array = _numbered(count, frames=100)
    path = _saved(tmp_path, array[0, :, :1] if count == 1 else array)
    dataset = Arrays(2, 2, path=path, axes="" if count == 1 else "NTCHW", test=0.2)
    for sequence in range(count):
        assert _shown(dataset, sequence) == {
            "train": {*range(62)},
            "validation": {*range(66, 74)},  # of 10 frames two windows
            "test": {*range(80, 100)},
        }
    assert "cut in time: first what trains, then 10 % for validation, then 20 % for test" in (
        dataset.notice or ""
    )
    assert dataset.clusters("test", 5 * count).unique().numel() == count
    with pytest.raises(DataMissing, match="has 100 frames a sequence, of which validation and"):
        Arrays(20, 20, path=path, axes="" if count == 1 else "NTCHW")


def test_what_is_named_is_not_cut(tmp_path: Path) -> None:
    path = _saved(tmp_path, _numbered(2, frames=40))
    dataset = Arrays(2, 2, path=path, axes="NTCHW", test="1")
    assert _shown(dataset, 1) == {"train": set(), "validation": set(), "test": {*range(40)}}
    assert _shown(dataset, 0) == {
        "train": {*range(32)},
        "validation": {*range(36, 40)},
        "test": set(),
    }


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i1", "u2", ">u2", "i4", "i8", "u8", "?"])
def test_values_of_any_type_are_scaled_by_the_range_of_what_trains(
    tmp_path: Path, dtype: str
) -> None:
    fields = drifting((10, 24, 1, 6, 7)) + 2
    array = (fields * 30).astype(dtype) if dtype != "?" else fields > 2
    array[0, 3] = array[0].max() + 1 if dtype not in "?i1" else array[0, 3]
    dataset = Arrays(path=_saved(tmp_path, array), axes="NTCHW", test="0", validation="1:3")
    assert dataset.spec.dtype == torch.uint16
    low, high = (float(it) for it in (array[3:].min(), array[3:].max()))
    due = (array[0, :20].astype(float) - low) / (high - low)
    shown = dataset.held_out("test")[:][0].numpy() / 65_535
    assert np.abs(shown - due.clip(0, 1)).max() < 1e-5
    assert f"values from {low:g} to {high:g}, the range of what trains, are 0 to 1" in (
        dataset.notice or ""
    )


@pytest.mark.parametrize("dtype", ["f4", "i2"])
def test_a_range_that_is_given_is_used_and_what_is_beyond_is_told(
    tmp_path: Path, dtype: str
) -> None:
    array = drifting((10, 24, 1, 6, 7)).astype(dtype)
    array[9, 0, 0, 0, 0] = 9
    dataset = Arrays(path=_saved(tmp_path, array), axes="NTCHW", value_range=(-4, 4), test="9")
    shown = dataset.held_out("test")[:][0].numpy() / 65_535
    assert np.abs(shown - ((array[9, :20] + 4) / 8).clip(0, 1)).max() < 1e-5
    assert "values from -4 to 4 are 0 to 1; others, from " in (dataset.notice or "")
    assert "to 9, are cut" in (dataset.notice or "")


def test_a_range_for_bytes_scales_them_too(tmp_path: Path) -> None:
    path = _saved(tmp_path, _numbered())
    dataset = Arrays(path=path, axes="NTCHW", value_range=(0, 50))
    assert "values from 0 to 50 are 0 to 1; others, from 0 to " in (dataset.notice or "")
    assert dataset.spec.dtype == torch.uint16
    assert int(dataset.held_out("test")[:].to(torch.int32).max()) == 65_535


def test_what_is_mapped_is_not_read_into_memory(tmp_path: Path) -> None:
    """A sparse file of 1 TB."""
    path = tmp_path / "a.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (1000, 1000, 1000, 1000)).flush()
    dataset = Arrays(path=str(path))
    assert dataset.held_out("test")[:1].shape == (1, 20, 1, 1000, 1000)


def test_a_path_may_lead_from_the_data_folder_or_from_here(
    empty_folder: Path, tmp_path: Path
) -> None:
    (empty_folder / "fields").mkdir(parents=True)
    np.save(empty_folder / "fields" / "a.npy", _numbered())
    assert Arrays(path="fields/a.npy", axes="NTCHW").spec.frame_shape == (2, 5, 6)
    np.save(tmp_path / "b.npy", _numbered(channels=1))
    assert Arrays(path="b.npy", axes="NTCHW").spec.frame_shape == (1, 5, 6)


@pytest.mark.parametrize("name", ["a.npz", "a.h5"])
def test_of_several_arrays_one_is_named(tmp_path: Path, name: str) -> None:
    arrays = {"fields": _numbered(30), "masks": _numbered(31)}
    if name == "a.npz":
        np.savez(tmp_path / name, **arrays)
    else:
        with h5py.File(tmp_path / name, "w") as file:
            for key, array in arrays.items():
                file[key] = array
    path = str(tmp_path / name)
    assert "25 train" in (Arrays(path=path, key="masks").notice or "")
    for options in ({}, {"key": "mask"}):
        with pytest.raises(ValueError, match="holds fields, masks: say which by key='fields'"):
            Arrays(path=path, **options)


@pytest.mark.usefixtures("empty_folder")
def test_one_line_says_where_an_array_is_looked_for() -> None:
    with pytest.raises(DataMissing, match=r"no array arrays\.npy in .*path='FILE'") as told:
        Arrays()
    assert "\n" not in str(told.value)


def _spoiled(value: float, dtype: str = "f4") -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        array = drifting((30, 24, 1, 6, 7)).astype(dtype)
        array[4, 5, 0, 2, 1] = value
        np.save(path, array)

    return spoil


def _bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _of(array: object) -> Callable[[Path], object]:
    return lambda path: np.save(path, np.asarray(array), allow_pickle=True)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN": (_spoiled(math.nan), "NaN or infinite, in frame 5 of sequence 4: replace it"),
    "infinite": (_spoiled(-math.inf, "f8"), "NaN or infinite, in frame 5 of sequence 4"),
    "NaN in half": (_spoiled(math.nan, "f2"), "NaN or infinite, in frame 5 of sequence 4"),
    "two axes": (_of(np.zeros((90, 30), "u1")), r"shape \(90, 30\), not \[N,T,H,W\]"),
    "six axes": (_of(np.zeros((9, 3, 2, 2, 2, 1))), "has shape .*, not"),
    "a number": (_of(3), r"has shape \(\), not"),
    "empty": (_of(np.zeros((0, 20, 8, 8))), r"has shape \(0, 20, 8, 8\), not"),
    "no pixels": (_of(np.zeros((30, 20, 0, 8))), r"has shape \(30, 20, 0, 8\), not"),
    "too short": (_of(np.zeros((30, 19, 8, 8))), "has sequences of 19 frames, fewer than the 20"),
    "all the same": (_of(np.full((30, 20, 8, 8), 7.5)), "holds nothing but 7.5 in what trains"),
    "complex": (_of(np.zeros((30, 20, 8, 8), complex)), "holds complex128, not numbers"),
    "text": (_of(np.full((30, 20, 8, 8), "x")), "holds <U1, not numbers"),
    "objects": (_of(np.full((30, 20, 8, 8), None)), "cannot be read"),
    "records": (_of(np.zeros((30, 20, 8, 8), [("a", "f4")])), "not numbers"),
    "no bytes": (Path.touch, "cannot be read"),
    "noise": (lambda path: path.write_bytes(b"x" * 999), "cannot be read"),
    "a folder": (Path.mkdir, "is no file"),
    "a socket": (_bound, "is a socket"),
    "of another format": (lambda path: _hdf5(path, np.zeros(3)), "cannot be read"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_arrays_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    write, said = WRONG[what]
    monkeypatch.chdir(tmp_path)
    write(Path("a.npy"))
    with pytest.raises(DataMissing, match=said) as told:
        Arrays(path=str(tmp_path / "a.npy"))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 500


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1])
def test_files_that_are_cut_short_are_told_in_one_line(
    tmp_path: Path, name: str, share: float
) -> None:
    path = Path(_saved(tmp_path, _numbered(30), name))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataMissing, match=path.name) as told:
        Arrays(path=str(path))
    assert "\n" not in str(told.value)


def test_an_npz_and_an_hdf5_without_arrays_are_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w"):
        pass
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("empty")
        file.create_dataset("null", shape=None, dtype="f4")
    for name in ("a.npz", "a.h5"):
        with pytest.raises(DataMissing, match="holds no arrays"):
            Arrays(path=str(tmp_path / name))


def test_other_kinds_of_file_and_keys_where_there_are_none_are_told(tmp_path: Path) -> None:
    path = _saved(tmp_path, _numbered())
    with pytest.raises(ValueError, match="has no key"):
        Arrays(path=path, key="fields")
    shutil.copy(path, tmp_path / "a.mat")
    with pytest.raises(DataMissing, match=r"is none of \.npy, \.npz, \.h5"):
        Arrays(path=str(tmp_path / "a.mat"))


def _beside(shape: tuple[int, ...] = (10, 24, 2)) -> np.ndarray:
    """Numbers [N,T,K] or [T,K] that tell their frame and, where there is one, their sequence."""
    *sequence, frame, number = np.indices(shape)
    return sum(sequence, np.zeros(shape)) * 100 + frame + 0.25 * number


WHERE: dict[str, Callable[[Path, np.ndarray], dict[str, Any]]] = {
    "in the .npz": lambda folder, numbers: {
        "path": _two(folder / "two.npz", numbers),
        "key": "fields",
        "covariates": "tides",
    },
    "in the HDF5 file": lambda folder, numbers: {
        "path": _two(folder / "two.h5", numbers),
        "key": "fields",
        "covariates": "tides",
    },
    "in a file beside": lambda folder, numbers: {
        "path": _saved(folder, _numbered()),
        "covariates": _saved_as(folder / "tides.npy", numbers),
    },
}


def _two(path: Path, numbers: np.ndarray) -> str:
    if path.suffix == ".npz":
        np.savez(path, fields=_numbered(), tides=numbers)
    else:
        with h5py.File(path, "w") as file:
            file["fields"], file["tides"] = _numbered(), numbers
    return str(path)


def _saved_as(path: Path, numbers: np.ndarray) -> str:
    np.save(path, numbers)
    return str(path)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("shape", [(10, 24, 2), (24, 2)])
def test_numbers_beside_frames_are_those_of_the_frames(
    tmp_path: Path, where: str, shape: tuple[int, ...]
) -> None:
    numbers = _beside(shape)
    dataset = Arrays(4, 5, axes="NTCHW", **WHERE[where](tmp_path, numbers))
    assert [each.name for each in dataset.spec.covariates] == ["tides 0", "tides 1"]
    for check in checks_of(dataset).values():
        check(dataset)
    clips, told = dataset.train_clips_with_covariates(20, torch.Generator().manual_seed(0))
    test = dataset.held_out("test")
    for shown, found in ((clips, told), (test[:], covariates_of(test, slice(len(test))))):
        for each, (sequence, frame) in zip(found, _origins(shown), strict=True):
            of = numbers[sequence] if len(shape) == 3 else numbers
            assert np.array_equal(each.numpy(), of[frame : frame + 9].astype("f4"))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (_beside((10, 23, 2)), r"shape \(10, 23, 2\), not \[10,24,K\] or \[24,K\]"),
        (_beside((9, 24, 2)), r"shape \(9, 24, 2\)"),
        (_beside((24, 10, 2)), r"shape \(24, 10, 2\)"),
        (np.arange(24), r"shape \(24,\)"),
        (np.float64(1), r"shape \(\)"),
        (np.zeros((10, 24, 0)), r"shape \(10, 24, 0\)"),
        (np.full((24, 1), "a"), "<U1, not numbers"),
        (np.where(_beside() == 305.25, np.nan, _beside()), "number 1 beside frame 5 of sequence 3"),
        (np.where(_beside((24, 2)) == 7, np.inf, 0.0), "number 0 beside frame 7: replace it"),
        (np.full((24, 1), 1e300), "beyond float32: number 0 beside frame 0"),
    ],
)
def test_numbers_that_do_not_fit_the_frames_are_one_line(
    tmp_path: Path, numbers: np.ndarray, said: str
) -> None:
    options = WHERE["in a file beside"](tmp_path, numbers)
    with pytest.raises(DataMissing, match=said) as told:
        Arrays(axes="NTCHW", **options)
    assert "\n" not in str(told.value)


def test_numbers_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    path = _two(tmp_path / "two.npz", _beside())
    with pytest.raises(ValueError, match="say which by covariates='fields'"):
        Arrays(path=path, key="fields", axes="NTCHW", covariates="winds")
    with pytest.raises(DataMissing, match=r"there is no array winds\.npy"):
        Arrays(path=path, key="fields", axes="NTCHW", covariates="winds.npy")
    with pytest.raises(ValueError, match=r"so covariates are a file of their own .* not 'winds'"):
        Arrays(path=_saved(tmp_path, _numbered()), axes="NTCHW", covariates="winds")


def test_as_many_sequences_as_frames_leave_open_what_one_table_is_of(tmp_path: Path) -> None:
    square = _numbered()[:, :10]
    assert square.shape[:2] == (10, 10)
    path, numbers = _saved(tmp_path, square), _beside((10, 10))
    with pytest.raises(ValueError, match=r"shape \(10, 10\), .* save them as \[10,10,K\]"):
        Arrays(2, 2, path=path, axes="NTCHW", covariates=_saved_as(tmp_path / "k.npy", numbers))
    told = _saved_as(tmp_path / "k.npy", numbers[..., None])
    one = Arrays(2, 2, path=path, axes="NTCHW", covariates=told)
    assert len(one.spec.covariates) == 1
