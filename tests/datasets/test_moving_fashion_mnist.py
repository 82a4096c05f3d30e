import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from datasets import moving_fashion_mnist
from datasets.contract import DataMissing
from datasets.moving_fashion_mnist import MovingFashionMNIST
from datasets.moving_mnist import MovingMNIST
from datasets.sources import digits, download
from datasets.sources.torchvision_import import import_torchvision
from datasets.video.dataset import HELD_OUT
from tests.datasets.small_sources import FASHION_TEST, FASHION_TRAIN, trust_garments
from tests.datasets.small_sources import garments as write_garments


def _numbers(images: np.ndarray) -> set[int]:
    return set(((images[:, 1, :17] > 0) @ (1 << np.arange(17))).tolist())


@pytest.fixture(scope="module")
def garments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two files of Fashion-MNIST's form."""
    folder = tmp_path_factory.mktemp("garments")
    write_garments(folder)
    return folder / "fashion"


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch, garments: Path) -> None:
    """The MD5 of these files are the ones asked for."""
    trust_garments(monkeypatch, garments.parent)


@pytest.fixture
def in_place(
    request: pytest.FixtureRequest, checked: None, empty_folder: Path, garments: Path
) -> Path:
    place = getattr(request, "param", "fashion")
    return Path(shutil.copytree(garments, empty_folder / place))


def _offer(monkeypatch: pytest.MonkeyPatch, factory: Callable[..., None]) -> None:
    torchvision = SimpleNamespace(datasets=SimpleNamespace(FashionMNIST=factory))
    monkeypatch.setattr(download, "import_torchvision", lambda: torchvision)


def _refuse(root: str, download: bool) -> None:
    raise URLError("no route")


@pytest.mark.usefixtures("in_place")
def test_garments_move_as_digits_do(monkeypatch: pytest.MonkeyPatch) -> None:
    garments = MovingFashionMNIST()
    pools = garments._load()
    monkeypatch.setattr(digits, "load", lambda: pools)
    plain = MovingMNIST()
    assert garments.notice is None
    for split in HELD_OUT:
        assert torch.equal(garments.held_out(split)[3:9], plain.held_out(split)[3:9])
    draws = [d.train_clips(3, torch.Generator().manual_seed(0)) for d in (garments, plain)]
    assert torch.equal(*draws)


@pytest.mark.parametrize("in_place", ["fashion", "FashionMNIST/raw"], indirect=True)
def test_splits_share_no_garment(in_place: Path) -> None:
    pools = MovingFashionMNIST()._load()
    assert _numbers(pools.train) == set(range(55_000))
    assert _numbers(pools.validation) == set(range(55_000, 60_000))
    assert _numbers(pools.test) == set(range(60_000, 70_000))


@pytest.mark.usefixtures("checked")
def test_absent_files_are_downloaded(
    monkeypatch: pytest.MonkeyPatch, empty_folder: Path, garments: Path
) -> None:
    def fashion_mnist(root: str, download: bool) -> None:
        shutil.copytree(garments, Path(root, "FashionMNIST", "raw"))

    _offer(monkeypatch, fashion_mnist)
    assert len(MovingFashionMNIST().held_out("test")) == 10_000
    files = {str(path.relative_to(empty_folder)) for path in empty_folder.rglob("*.gz")}
    assert files == {f"fashion/{FASHION_TRAIN}", f"fashion/{FASHION_TEST}"}


@pytest.mark.usefixtures("empty_folder")
def test_without_a_network_one_line_says_what_to_get_and_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _offer(monkeypatch, _refuse)
    with pytest.raises(DataMissing) as missing:
        MovingFashionMNIST()
    message = str(missing.value)
    assert "\n" not in message
    command = "data prepare moving_fashion_mnist"
    for word in (FASHION_TRAIN, FASHION_TEST, "zalandoresearch", "fashion/", command):
        assert word in message


@pytest.mark.parametrize("wrong", [FASHION_TRAIN, FASHION_TEST])
def test_a_file_with_another_md5_is_refused(in_place: Path, wrong: str) -> None:
    content = bytearray((in_place / wrong).read_bytes())
    content[9] ^= 1  # the operating system that packed it, which unpacking does not look at
    (in_place / wrong).write_bytes(content)
    with pytest.raises(DataMissing, match=f"{wrong} is not the official file"):
        MovingFashionMNIST()


def test_the_md5_asked_for_are_those_that_torchvision_checks() -> None:
    resources = import_torchvision().datasets.FashionMNIST.resources
    assert {moving_fashion_mnist._TRAIN, moving_fashion_mnist._TEST} <= set(resources)
