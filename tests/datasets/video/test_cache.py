import gc
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from datasets.contract import DataMissing
from datasets.video import cache as module
from datasets.video.cache import FRAMES, MANIFEST, Cache, Frames, cache_folder
from tests.datasets.prepare_here import prepare_here
from tests.datasets.video.counter import COUNTERS, counter_video


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (50, 3, 8, 9), np.uint8)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, pixels: NDArray[np.uint8]) -> Frames:
    path = tmp_path_factory.mktemp("frames") / FRAMES
    np.save(path, pixels)
    return Frames(path)


@given(
    indices=st.lists(st.integers(0, 49), max_size=24).filter(lambda it: len(it) % 2 == 0),
    two_dimensional=st.booleans(),
)
def test_gathering_is_indexing(
    frames: Frames, pixels: NDArray[np.uint8], indices: list[int], two_dimensional: bool
) -> None:
    wanted = torch.tensor(indices, dtype=torch.int64)
    wanted = wanted.view(2, -1) if two_dimensional else wanted
    found = frames.gather(wanted)
    assert found.dtype == torch.uint8
    assert np.array_equal(found.numpy(), pixels[wanted.numpy()])


@pytest.mark.parametrize(("stored", "given"), [("<u2", torch.uint16), ("<f2", torch.float16)])
def test_frames_are_given_in_the_type_they_are_stored_in(
    tmp_path: Path, pixels: NDArray[np.uint8], stored: str, given: torch.dtype
) -> None:
    values = pixels.astype(stored) * 200
    np.save(tmp_path / FRAMES, values)
    frames = Frames(tmp_path / FRAMES)
    found = frames.gather(torch.tensor([[3, 4], [0, 3]]))
    assert frames.dtype == found.dtype == given
    assert np.array_equal(found.numpy(), values[[[3, 4], [0, 3]]])


def test_an_array_of_another_type_is_no_cache(tmp_path: Path) -> None:
    np.save(tmp_path / FRAMES, np.zeros((2, 1, 4, 4), np.float32))
    with pytest.raises(ValueError, match="float32"):
        Frames(tmp_path / FRAMES)


def test_what_was_gathered_is_the_callers_own(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    np.save(tmp_path / FRAMES, pixels)
    frames = Frames(tmp_path / FRAMES)
    assert frames.shape == (50, 3, 8, 9)
    every = torch.arange(50)
    frames.gather(every).zero_()
    assert np.array_equal(frames.gather(every).numpy(), pixels)
    assert np.array_equal(np.load(tmp_path / FRAMES), pixels)


def test_nothing_is_lost_when_memory_is_given_back(
    frames: Frames, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESIDENT_BYTES", 1000)
    for first in range(0, 40, 7):
        found = frames.gather(torch.arange(first, first + 10))
        assert np.array_equal(found.numpy(), pixels[first : first + 10])


def _resident_bytes() -> int:
    """What this process holds in memory, of its own and of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Rss"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the resident memory so")
@pytest.mark.parametrize(
    ("shape", "window_frames", "batches"), [((3, 64, 64), 20, 100), ((2, 32, 32), 1, 400)]
)
def test_resident_memory_stays_flat(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, int, int],
    window_frames: int,
    batches: int,
) -> None:
    """All of a cache six times as large as what may stay is read, be its frames large or small."""
    assert module.RESIDENT_BYTES <= 256 << 20
    monkeypatch.setattr(module, "RESIDENT_BYTES", 64 << 20)
    path, count = tmp_path / FRAMES, (384 << 20) // int(np.prod(shape))
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, *shape))
    frames, generator = Frames(path), torch.Generator().manual_seed(0)
    gc.collect()
    start = most = _resident_bytes()
    for _ in range(batches):
        first = torch.randint(count - window_frames, (16, 1), generator=generator)
        frames.gather(first + torch.arange(window_frames))
        most = max(most, _resident_bytes())
    assert most - start < 96 << 20


def test_an_absent_cache_is_told_with_the_command(cache_home: Path) -> None:
    with pytest.raises(DataMissing) as missing:
        Cache.open(COUNTERS)
    assert "\n" not in str(missing.value)
    for word in (COUNTERS.get, "data prepare 'counters(size=32)' --source"):
        assert word in str(missing.value)


@pytest.fixture
def made(tmp_path: Path, cache_home: Path) -> Path:
    """A finished cache of ten frames."""
    counter_video(tmp_path / "videos" / "0.avi", 10)
    return prepare_here(COUNTERS, tmp_path / "videos").folder


def test_a_cache_of_another_version_is_none(made: Path) -> None:
    assert len(Cache.open(COUNTERS).clips) == 1
    manifest = json.loads((made / MANIFEST).read_text())
    (made / MANIFEST).write_text(json.dumps({**manifest, "format": 0}))
    with pytest.raises(DataMissing):
        Cache.open(COUNTERS)


def test_a_cache_that_names_no_type_has_bytes(made: Path, tmp_path: Path) -> None:
    manifest = json.loads((made / MANIFEST).read_text())
    del manifest["frame"]["dtype"]
    (made / MANIFEST).write_text(json.dumps(manifest))
    assert Cache.open(COUNTERS).frames.dtype == torch.uint8
    assert prepare_here(COUNTERS, tmp_path / "videos").decoded == 0


def test_a_cache_in_another_type_than_now_is_told_with_the_command(made: Path) -> None:
    now = replace(COUNTERS, format=replace(COUNTERS.format, dtype="uint16"))
    with pytest.raises(DataMissing, match=r"prepared as uint8.*uint16 now.*data prepare") as told:
        Cache.open(now)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", [FRAMES, MANIFEST])
@pytest.mark.parametrize("left", [0, 60, -1, None])
def test_a_cache_that_was_copied_in_part_is_none(made: Path, name: str, left: int | None) -> None:
    path = made / name
    content = path.read_bytes()
    path.unlink()
    if left is not None:
        path.write_bytes(content[:left])
    with pytest.raises(DataMissing, match="data prepare"):
        Cache.open(COUNTERS)


def test_a_cache_may_be_shared_by_sibling_checkouts(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared" / "data" / "cache"
    shared.mkdir(parents=True)
    made.rename(shared / COUNTERS.folder)
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    assert cache_folder(COUNTERS).samefile(shared / COUNTERS.folder)
    assert Cache.open(COUNTERS).frames.shape == (10, 1, 32, 32)
    other = replace(COUNTERS, folder="other")
    assert cache_folder(other) == made.parent / "other"
