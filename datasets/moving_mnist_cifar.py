"""Moving MNIST in front of photographs: white digits that move over an image that stands still."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from datasets.contract import Clips, DataMissing, HeldOutName, Spec
from datasets.moving_mnist import CANVAS, MovingMNIST
from datasets.sources import digits
from datasets.sources.clip_numbers import clip_numbers
from datasets.sources.download import download
from datasets.sources.folders import find
from datasets.sources.regular import read_regular

_FOLDER = "cifar-10-batches-py"

_FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""The official files with 10,000 images each, and their MD5, as torchvision states it."""


class CifarMovingMNIST(MovingMNIST):
    """Two digits in front of a photograph, drawn afresh for training and fixed for the rest.

    As in OpenSTL (github.com/chengtan9907/OpenSTL, dataloader_moving_mnist.py, "mnist_cifar"):
    pixels of a digit above 1 are white, the background is an image of CIFAR-10 (A. Krizhevsky,
    "Learning Multiple Layers of Features from Tiny Images", 2009) made twice as large by a bicubic
    filter. Digits and motion are those of `moving_mnist`. There training and test share all images;
    here four of CIFAR-10's training files train, the fifth validates and its test file tests, so
    figures do not compare.
    """

    name = "moving_mnist/cifar"

    def __init__(
        self, context_frames: int = 10, horizon: int = 10, *, train_share: float = 1.0
    ) -> None:
        """Load the digits and the images.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            train_share: how much of the training digits is used, as in `moving_mnist`.

        Raises:
            DataMissing: CIFAR-10 can neither be found nor downloaded, or a file is another.
            ValueError: an option is none.
        """
        super().__init__(context_frames, horizon, train_share=train_share)
        self.spec = Spec((3, CANVAS, CANVAS), context_frames, horizon)
        *train, validation, test = _images()
        self._train_backgrounds = {torch.device("cpu"): torch.cat(train)}
        self._held_out_backgrounds: dict[HeldOutName, Tensor] = {
            "validation": validation,
            "test": test,
        }

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random training clips, uint8 [count,T,3,64,64], on the generator's device."""
        clips, device = super().train_clips(count, generator), generator.device
        if device not in self._train_backgrounds:
            self._train_backgrounds[device] = self._train_backgrounds[torch.device("cpu")].to(
                device
            )
        pool = self._train_backgrounds[device]
        chosen = torch.randint(len(pool), (count,), generator=generator, device=device)
        return _before(clips, pool[chosen].float())

    def held_out(self, split: HeldOutName) -> Clips:
        """The 10,000 fixed clips of `split`, rendered as they are read."""
        return _ClipsBefore(super().held_out(split), split, self._held_out_backgrounds[split])

    def _load(self) -> digits.Pools:
        """The digits of MNIST in black and white."""
        pools = digits.load()
        train, validation, test = (
            np.where(images > 1, np.uint8(255), np.uint8(0))
            for images in (pools.train, pools.validation, pools.test)
        )
        return digits.Pools(train, validation, test, pools.notice)


class _ClipsBefore:
    """Clips in front of images of a `pool`."""

    def __init__(self, clips: Clips, split: HeldOutName, pool: Tensor) -> None:
        self._clips, self._split, self._pool = clips, split, pool

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, window: slice, /) -> Tensor:
        numbers = clip_numbers(self._split, range(len(self))[window], 1)[:, 0]
        images = self._pool[(numbers * len(self._pool)).long()]
        return _before(self._clips[window], images.double())  # in which the filter is exact


def _before(clips: Tensor, images: Tensor) -> Tensor:
    """Clips uint8 [B,T,1,64,64] before images of 0..255, float [B,3,32,32], [B,T,3,64,64]."""
    large = interpolate(images, (CANVAS, CANVAS), mode="bicubic").round_().clamp_(0, 255)
    return torch.maximum(clips, large.byte()[:, None])


def _images() -> list[Tensor]:
    """The images of each file of CIFAR-10, uint8 [10000,3,32,32], those of the test file last.

    Raises:
        DataMissing: they can neither be found nor downloaded, or a file is another.
    """
    names = [f"{_FOLDER}/{name}" for name in _FILES]
    if any(find(name) is None for name in names):
        download("CIFAR10", *names)
    paths = [find(name) for name in names]
    found = [path for path in paths if path is not None]
    if len(found) < len(names):
        raise DataMissing(
            f"moving_mnist/cifar needs {', '.join(_FILES)} of CIFAR-10 (cifar-10-python.tar.gz,"
            " 170 MB, www.cs.toronto.edu/~kriz/cifar.html), which could not be downloaded: unpack"
            f" it in the data folder ($NEXTFRAME_DATA, else ./data), so that {_FOLDER}/ is there"
        )
    return [*map(_read, found)]


def _read(path: Path) -> Tensor:
    """The images of an official file, uint8 [10000,3,32,32].

    Raises:
        DataMissing: it is another file.
    """
    try:
        content = read_regular(path)
    except OSError:
        content = b""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != _FILES[path.name]:
        raise DataMissing(f"{path} is not the official file: replace or delete it")
    batch = pickle.loads(content, encoding="bytes")  # noqa: S301, the official file by its MD5
    return torch.tensor(batch[b"data"]).view(-1, 3, 32, 32)
