import gzip
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from bench.contracts.dataset import CHECKS
from datasets import digits, download, moving_fashion_mnist
from datasets.contract import DataMissing, HeldOutName
from datasets.moving_fashion_mnist import MovingFashionMNIST
from datasets.moving_mnist import MovingMNIST
from datasets.torchvision_import import import_torchvision

TRAIN, TEST = "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"


def _images(first: int, count: int) -> np.ndarray:
    """Images that show their number in bits, below a row of ink."""
    images = np.zeros((count, 28, 28), np.uint8)
    numbers = np.arange(first, first + count)
    images[:, 1, :17] = 255 * (numbers[:, None] >> np.arange(17) & 1)
    images[:, 0] = 255
    return images


def _numbers(images: np.ndarray) -> set[int]:
    return set(((images[:, 1, :17] > 0) @ (1 << np.arange(17))).tolist())


@pytest.fixture(scope="session")
def garments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two files of Fashion-MNIST's form."""
    folder = tmp_path_factory.mktemp("garments")
    for name, first, count in ((TRAIN, 0, 60_000), (TEST, 60_000, 10_000)):
        head = np.array([2051, count, 28, 28], ">i4").tobytes()
        content = gzip.compress(head + _images(first, count).tobytes(), compresslevel=1)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch, garments: Path) -> None:
    """The MD5 of these files are the ones asked for."""
    for variable, name in (("_TRAIN", TRAIN), ("_TEST", TEST)):
        md5 = hashlib.md5((garments / name).read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setattr(moving_fashion_mnist, variable, (name, md5))


@pytest.fixture(params=["fashion", "FashionMNIST/raw"])
def in_place(
    request: pytest.FixtureRequest, checked: None, empty_folder: Path, garments: Path
) -> Path:
    return Path(shutil.copytree(garments, empty_folder / request.param))


def _offer(monkeypatch: pytest.MonkeyPatch, factory: Callable[..., None]) -> None:
    torchvision = SimpleNamespace(datasets=SimpleNamespace(FashionMNIST=factory))
    monkeypatch.setattr(download, "import_torchvision", lambda: torchvision)


def _refuse(root: str, download: bool) -> None:
    raise URLError("no route")


@pytest.mark.usefixtures("in_place")
@pytest.mark.parametrize("split", ["validation", "test"])
def test_garments_move_as_digits_do(monkeypatch: pytest.MonkeyPatch, split: HeldOutName) -> None:
    garments = MovingFashionMNIST()
    pools = garments._load()
    monkeypatch.setattr(digits, "load", lambda: pools)
    plain = MovingMNIST()
    assert garments.notice is None
    assert torch.equal(garments.held_out(split)[3:9], plain.held_out(split)[3:9])
    draws = [d.train_clips(3, torch.Generator().manual_seed(0)) for d in (garments, plain)]
    assert torch.equal(*draws)


@pytest.mark.usefixtures("in_place")
def test_splits_share_no_garment() -> None:
    pools = MovingFashionMNIST()._load()
    assert _numbers(pools.train) == set(range(55_000))
    assert _numbers(pools.validation) == set(range(55_000, 60_000))
    assert _numbers(pools.test) == set(range(60_000, 70_000))


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize("promise", CHECKS)
def test_it_keeps(promise: str, empty_folder: Path, garments: Path) -> None:
    shutil.copytree(garments, empty_folder / "fashion")
    CHECKS[promise](MovingFashionMNIST())


@pytest.mark.usefixtures("checked")
def test_absent_files_are_downloaded(
    monkeypatch: pytest.MonkeyPatch, empty_folder: Path, garments: Path
) -> None:
    def fashion_mnist(root: str, download: bool) -> None:
        shutil.copytree(garments, Path(root, "FashionMNIST", "raw"))

    _offer(monkeypatch, fashion_mnist)
    assert len(MovingFashionMNIST().held_out("test")) == 10_000
    files = {str(path.relative_to(empty_folder)) for path in empty_folder.rglob("*.gz")}
    assert files == {f"fashion/{TRAIN}", f"fashion/{TEST}"}


@pytest.mark.usefixtures("empty_folder")
def test_without_a_network_one_line_says_what_to_get_and_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _offer(monkeypatch, _refuse)
    with pytest.raises(DataMissing) as missing:
        MovingFashionMNIST()
    message = str(missing.value)
    assert "\n" not in message
    for word in (TRAIN, TEST, "zalandoresearch", "fashion/", "data prepare moving_fashion_mnist"):
        assert word in message


@pytest.mark.parametrize("wrong", [TRAIN, TEST])
def test_a_file_with_another_md5_is_refused(in_place: Path, wrong: str) -> None:
    content = bytearray((in_place / wrong).read_bytes())
    content[9] ^= 1  # the operating system that packed it, which unpacking does not look at
    (in_place / wrong).write_bytes(content)
    with pytest.raises(DataMissing, match=f"{wrong} is not the official file"):
        MovingFashionMNIST()


def test_the_md5_asked_for_are_those_that_torchvision_checks() -> None:
    resources = import_torchvision().datasets.FashionMNIST.resources
    assert {moving_fashion_mnist._TRAIN, moving_fashion_mnist._TEST} <= set(resources)
