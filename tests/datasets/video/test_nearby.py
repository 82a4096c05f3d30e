"""Copies of caches on a disk of the machine that reads them."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from datasets.contract import DataMissing
from datasets.video import nearby as module
from datasets.video.cache import FRAMES, Cache
from tests.datasets.prepare_here import prepare_here
from tests.datasets.video.counter import COUNTERS, counter_video

ALL = torch.arange(10)


@pytest.fixture
def made(tmp_path: Path, cache_home: Path) -> Path:
    """A finished cache of ten frames."""
    counter_video(tmp_path / "videos" / "0.avi", 10)
    return prepare_here(COUNTERS, tmp_path / "videos").folder


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that copies are asked for in, by way of another variable."""
    monkeypatch.setenv("JOB_DISK", str(tmp_path / "disk"))
    monkeypatch.setenv(module.VARIABLE, "$JOB_DISK")
    return tmp_path / "disk"


def test_frames_are_read_from_the_copy_once_there_is_one(made: Path, disk: Path) -> None:
    shared = Cache.open(COUNTERS)
    (copy,) = disk.iterdir()
    assert (copy / FRAMES).read_bytes() == (made / FRAMES).read_bytes()
    pixels = shared.frames.gather(ALL)
    stamp = (copy / FRAMES).stat().st_mtime_ns
    (copy / FRAMES).rename(copy / "moved")
    shutil.copy2(copy / "moved", copy / FRAMES)
    again = Cache.open(COUNTERS)
    assert (copy / FRAMES).stat().st_mtime_ns == stamp  # not copied anew
    assert torch.equal(again.frames.gather(ALL), pixels)
    assert again.digest == shared.digest
    assert again.folder == made


def test_without_the_variable_nothing_is_copied(
    made: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(module.VARIABLE)
    Cache.open(COUNTERS)
    assert not disk.exists()


def test_processes_that_begin_together_copy_once(
    made: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies, both = [], threading.Barrier(4)

    def copyfile(source: Path, target: Path) -> None:
        copies.append(target)
        target.write_bytes(source.read_bytes())

    def opened(_: int) -> Path:
        both.wait()
        return module.nearby(made, "digest")

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with ThreadPoolExecutor(4) as pool:
        found = {*pool.map(opened, range(4))}
    assert len(copies) == len(found) == 1
    assert [*found] == [disk / f"{made.name}-digest"]


def test_a_cache_that_is_made_anew_has_another_copy(made: Path, disk: Path, tmp_path: Path) -> None:
    Cache.open(COUNTERS)
    shutil.rmtree(made)
    counter_video(tmp_path / "videos" / "0.avi", 12)
    prepare_here(COUNTERS, tmp_path / "videos")
    assert Cache.open(COUNTERS).frames.shape[0] == 12
    assert len([*disk.iterdir()]) == 2


def test_a_copy_that_was_broken_off_is_none(
    made: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def copyfile(_: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(shutil, "copyfile", copyfile)
        assert Cache.open(COUNTERS).frames.shape[0] == 10
    told = capsys.readouterr().err
    assert f"note: no copy in {disk} (Input/output error): frames are read from {made}" in told
    (copy,) = disk.iterdir()
    assert [path.name for path in copy.iterdir()] in ([], ["lock"])
    Cache.open(COUNTERS)
    assert (copy / FRAMES).exists()


@pytest.mark.parametrize(
    ("asked", "why"),
    [("$NOT_SET_ANYWHERE/x", "a variable in it is not set"), ("/dev/null/x", "Not a directory")],
)
def test_where_no_copy_can_be_made_frames_are_read_where_they_are(
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: str,
    why: str,
) -> None:
    monkeypatch.setenv(module.VARIABLE, asked)
    assert Cache.open(COUNTERS).frames.shape[0] == 10
    assert f"note: no copy in {asked} ({why})" in capsys.readouterr().err


def test_a_disk_without_room_gets_none(
    made: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    assert Cache.open(COUNTERS).frames.shape[0] == 10
    assert "No space left on device" in capsys.readouterr().err


def test_a_damaged_copy_is_named(made: Path, disk: Path) -> None:
    Cache.open(COUNTERS)
    (copy,) = disk.iterdir()
    pixels = bytearray((copy / FRAMES).read_bytes())
    pixels[-1] ^= 1
    (copy / FRAMES).write_bytes(pixels)
    with pytest.raises(DataMissing, match=r"the copy of .* is of no use .*: remove it") as told:
        Cache.open(COUNTERS)
    assert str(copy) in str(told.value)
