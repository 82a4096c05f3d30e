"""Moving Fashion-MNIST: Moving MNIST's motion with garments in the place of digits."""

from __future__ import annotations

from datasets.contract import DataMissing
from datasets.moving_mnist import MovingMNIST
from datasets.sources import digits
from datasets.sources.download import download
from datasets.sources.folders import find

# The official packed files and their MD5, as torchvision states it.
_TRAIN = ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d")
_TEST = ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79")


class MovingFashionMNIST(MovingMNIST):
    """Two garments, drawn afresh for training and fixed for validation and test.

    Images: Xiao, Rasul & Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", 2017. Train images 0 to 54,999 train, 55,000 to 59,999 validate, t10k
    tests. Public test clips are often made of training images; figures do not compare with those.
    """

    name = "moving_fashion_mnist"

    def _load(self) -> digits.Pools:
        """The garments of the official files, found or downloaded.

        Raises:
            DataMissing: neither works, or one is another file.
        """
        pools = _found()
        if pools is None:
            download("FashionMNIST", f"fashion/{_TRAIN[0]}", f"fashion/{_TEST[0]}")
            pools = _found()
        if pools is None:
            raise DataMissing(
                f"moving_fashion_mnist needs {_TRAIN[0]} and {_TEST[0]} of Fashion-MNIST (31 MB,"
                " github.com/zalandoresearch/fashion-mnist), which could not be downloaded: put"
                " them into fashion/ of the data folder ($NEXTFRAME_DATA, else ./data), or run"
                " `python -m bench data prepare moving_fashion_mnist` with a network"
            )
        return pools


def _found() -> digits.Pools | None:
    """The pools of the files in the data folder, or None where one of the two is absent."""
    train, test = (
        find(f"fashion/{name}", f"FashionMNIST/raw/{name}") for name, _ in (_TRAIN, _TEST)
    )
    if train is None or test is None:
        return None
    return digits.published(train, _TRAIN[1], test, _TEST[1])
