import errno
import importlib.util
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from filelock import FileLock

from datasets.contract import DataMissing
from datasets.video import prepare as module
from datasets.video.cache import FRAMES, MANIFEST, Cache
from datasets.video.growing import partial_folder
from datasets.video.manifest import ORIGIN
from datasets.video.prepare import Progress, prepare
from datasets.video.source import FrameDtype, Source, Sources, SourceWrong
from tests.datasets.prepare_here import prepare_here
from tests.datasets.video import readers
from tests.datasets.video.counter import (
    COLOUR,
    COUNTERS,
    counter_images,
    counter_video,
    find_clips,
    numbers,
    picture,
)

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def counters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of every form, which together count from 0 to 499."""
    folder = tmp_path_factory.mktemp("counters")
    counter_images(folder / "a", 130)
    counter_video(folder / "b.avi", 120, first=130)
    counter_video(folder / "c.mp4", 110, first=250)
    counter_video(folder / "d.webm", 40, first=360)
    frames = np.stack([picture(n)[..., 0] for n in range(400, 500)])
    np.save(folder / "e.npy", frames.reshape(5, 20, 64, 64, 1))
    return folder


def _spoil(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _manifest(folder: Path) -> Any:
    manifest = json.loads((folder / MANIFEST).read_text())
    return {**manifest, "created": ""}


def _same(one: Path, other: Path) -> bool:
    frames = (one / FRAMES).read_bytes() == (other / FRAMES).read_bytes()
    return frames and _manifest(one) == _manifest(other)


def test_every_form_is_counted_through(counters: Path, cache_home: Path) -> None:
    told: list[Progress] = []
    prepared = prepare(COUNTERS, counters, workers=2, on_progress=told.append)
    assert (prepared.folder, prepared.frames, prepared.decoded) == (
        cache_home / "counters-32x32",
        500,
        5,
    )
    assert told == [
        Progress(0, 5, 0, 0, ""),
        Progress(1, 5, 130, 0, "a"),
        Progress(2, 5, 250, 0, "b"),
        Progress(3, 5, 360, 0, "c"),
        Progress(4, 5, 400, 0, "d"),
        Progress(5, 5, 500, 0, "e"),
    ]
    cache = Cache.open(COUNTERS)
    assert numbers(cache.frames.gather(torch.arange(500)).numpy()) == list(range(500))
    assert [(clip.name, clip.first, clip.frames) for clip in cache.clips] == [
        ("a", 0, 130),
        ("b", 130, 120),
        ("c", 250, 110),
        ("d", 360, 40),
        *((f"e#{n + 1}", 400 + 20 * n, 20) for n in range(5)),
    ]
    assert prepared.clips == len(cache.clips)
    assert cache.clips[3].tags == {"kind": ".webm"}
    assert prepared.bytes == (prepared.folder / FRAMES).stat().st_size > 500 * 32 * 32

    serial = replace(COUNTERS, folder="serial")
    assert prepare(serial, counters, workers=1).decoded == 5
    assert _same(cache_home / "serial", prepared.folder)


def test_the_manifest_says_what_the_cache_is_made_of(tmp_path: Path, cache_home: Path) -> None:
    video = counter_video(tmp_path / "videos" / "one.avi", 9)
    _spoil(tmp_path / "videos" / "two.avi")
    (tmp_path / "list.txt").write_text("one\n")

    def find(folder: Path) -> Sources:
        return replace(find_clips(folder), lists=[tmp_path / "list.txt"])

    preparation = replace(COUNTERS, find=find)
    prepare_here(preparation, tmp_path / "videos", max_damaged_share=0.5)
    manifest = _manifest(cache_home / COUNTERS.folder)
    assert manifest["dataset"] == "counters(size=32)"
    assert manifest["frame"] == {
        "channels": 1,
        "height": 32,
        "width": 32,
        "fit": "stretch",
        "dtype": "uint8",
    }
    assert {"python", "av", "pillow", "numpy", "libavcodec"} <= manifest["versions"].keys()
    assert manifest["facts"] == {"found": ["one.avi", "two.avi"]}
    assert manifest["damaged"] == [{"name": "two", "reason": "is empty"}]
    digest = subprocess.run(["sha256sum", video], capture_output=True, text=True, check=True)
    entry = manifest["sources"][0]
    assert entry["sha256"] == digest.stdout.split()[0]
    assert (entry["frames"], entry["bytes"]) == (9, video.stat().st_size)
    assert manifest["lists"].keys() == {"list.txt"}

    # Another list makes another manifest, and nothing is decoded again.
    frames = (cache_home / COUNTERS.folder / FRAMES).stat()
    (tmp_path / "list.txt").write_text("two\n")
    assert prepare_here(preparation, tmp_path / "videos").decoded == 0
    changed = _manifest(cache_home / COUNTERS.folder)
    assert changed["lists"] != manifest["lists"]
    assert {**changed, "lists": {}} == {**manifest, "lists": {}}
    assert (cache_home / COUNTERS.folder / FRAMES).stat() == frames


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("nothing is to be decoded")


def test_what_is_there_is_not_decoded_again_and_what_changed_is(
    tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "videos"
    for n in range(2):
        counter_video(videos / f"{n}.avi", 10, first=10 * n)
    first = prepare_here(COUNTERS, videos)
    before = (first.folder / MANIFEST).stat()
    with monkeypatch.context() as patch:
        patch.setattr(module, "ProcessPool", _refuse)
        again = prepare(COUNTERS, videos)
        assert again == replace(first, decoded=0)
        assert (first.folder / MANIFEST).stat() == before
        # The folder may be moved: what counts is what lies in it.
        videos.rename(tmp_path / "moved")
        assert prepare(COUNTERS, tmp_path / "moved").decoded == 0

    counter_video(tmp_path / "moved" / "0.avi", 12, first=50)
    seen: list[list[int]] = []

    def look(progress: Progress) -> None:
        cache = Cache.open(COUNTERS)
        seen.append(numbers(cache.frames.gather(torch.arange(cache.frames.shape[0])).numpy()))

    assert prepare_here(COUNTERS, tmp_path / "moved", on_progress=look).decoded == 2
    assert seen == [list(range(20))] * 3  # the old cache, until the new one is finished
    look(Progress(2, 2, 22, 0, ""))
    assert seen[-1] == [*range(50, 62), *range(10, 20)]
    assert {path.name for path in cache_home.iterdir()} == {
        COUNTERS.folder,
        f"{COUNTERS.folder}.lock",
    }

    # So is a file that changed and kept its size, or its time.
    os.utime(tmp_path / "moved" / "1.avi", (0, 0))
    assert prepare_here(COUNTERS, tmp_path / "moved").decoded == 2
    counter_video(tmp_path / "moved" / "1.avi", 13, first=10)
    os.utime(tmp_path / "moved" / "1.avi", (0, 0))
    assert prepare_here(COUNTERS, tmp_path / "moved").frames == 12 + 13

    # A cache that a broken copy has cut off is made anew.
    frames = first.folder / FRAMES
    frames.write_bytes(frames.read_bytes()[:-1])
    with pytest.raises(DataMissing, match="counters"):
        Cache.open(COUNTERS)
    assert prepare_here(COUNTERS, tmp_path / "moved").decoded == 2


def test_another_size_is_another_cache(tmp_path: Path, cache_home: Path) -> None:
    counter_video(tmp_path / "videos" / "0.avi", 5)
    prepare_here(COUNTERS, tmp_path / "videos")
    colour = replace(COUNTERS, format=COLOUR)
    assert prepare_here(colour, tmp_path / "videos").decoded == 1
    assert Cache.open(colour).frames.shape == (5, 3, 32, 32)


def test_too_many_damaged_sources_are_refused_until_allowed(
    tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for n in range(36):
        np.save(sources / f"whole{n}.npy", np.stack([picture(2 * n)[..., 0]] * 2))
    for n in range(4):
        _spoil(sources / f"empty{n}.avi")
    with pytest.raises(SourceWrong) as refusal:
        prepare_here(COUNTERS, sources)
    assert "\n" not in str(refusal.value)
    for word in ("4 of the 40", "10.0%", "empty0 is empty", "1 more", "--max-damaged 0.1"):
        assert word in str(refusal.value)
    folder = cache_home / COUNTERS.folder
    assert not folder.exists()
    assert partial_folder(folder).exists()
    with monkeypatch.context() as patch:
        patch.setattr(module, "ProcessPool", _refuse)
        prepared = prepare(COUNTERS, sources, max_damaged_share=0.1)
    assert (prepared.clips, prepared.frames, prepared.decoded) == (36, 72, 0)
    assert [source.name for source in prepared.damaged] == [f"empty{n}" for n in range(4)]
    assert Cache.open(COUNTERS).damaged == prepared.damaged

    # Sources that were mended are decoded; two of forty is the share that is let pass unasked.
    for n in (0, 1):
        counter_video(sources / f"empty{n}.avi", 7, first=10)
    mended = prepare_here(COUNTERS, sources)
    assert (mended.frames, len(mended.damaged)) == (86, 2)


def test_nothing_but_damaged_sources_is_never_allowed(tmp_path: Path, cache_home: Path) -> None:
    (tmp_path / "videos").mkdir()
    _spoil(tmp_path / "videos" / "empty.avi")
    with pytest.raises(SourceWrong, match=r"1 of the 1 .* empty is empty"):
        prepare_here(COUNTERS, tmp_path / "videos", max_damaged_share=1)


def test_what_goes_wrong_with_one_source_costs_that_one_alone(
    tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 3.0)
    videos = tmp_path / "videos"
    for name in ("aborts", "fine", "hangs", "misshapes", "stumbles", "well"):
        counter_video(videos / f"{name}.avi", 10)
    torn = counter_video(videos / "torn.avi", 20)
    torn.write_bytes(torn.read_bytes().rpartition(b"idx1")[0][:-50])  # in its last frames
    preparation = replace(COUNTERS, read=readers.ill_behaved)
    prepared = prepare(preparation, videos, workers=2, max_damaged_share=0.9)
    reasons = {source.name: source.reason for source in prepared.damaged}
    assert re.fullmatch(r"is torn or cut off after frame \d\d", reasons.pop("torn"))
    assert reasons == {
        "aborts": f"crashed the process that decoded it (exit status -{int(signal.SIGABRT)})",
        "hangs": "was not decoded within 3 s",
        "misshapes": "was read as uint8 (1, 2, 3)",
        "stumbles": "KeyError: 'what is looked for'",
    }
    cache = Cache.open(preparation)
    assert [clip.name for clip in cache.clips] == ["fine", "well"]
    assert numbers(cache.frames.gather(torch.arange(20)).numpy()) == [*range(10), *range(10)]


@pytest.mark.parametrize("dtype", ["uint16", "float16"])
def test_frames_may_have_more_than_8_bits(
    tmp_path: Path, cache_home: Path, dtype: FrameDtype
) -> None:
    for name in ("well", "unscaled"):
        counter_video(tmp_path / "videos" / f"{name}.avi", 4)
    frame_format = replace(COUNTERS.format, dtype=dtype)
    preparation = replace(COUNTERS, format=frame_format, read=readers.in_16_bits)
    prepared = prepare_here(preparation, tmp_path / "videos", max_damaged_share=0.5)
    cache = Cache.open(preparation)
    found = cache.frames.gather(torch.arange(4))
    assert found.dtype == cache.frames.dtype == getattr(torch, dtype)
    video = Source("well", (tmp_path / "videos" / "well.avi",))
    assert np.array_equal(found, np.stack([*readers.in_16_bits(video, frame_format)]))
    if dtype == "float16":
        assert ["outside [0,1]" in it.reason for it in prepared.damaged] == [True]
    assert prepare_here(preparation, tmp_path / "videos", max_damaged_share=0.5).decoded == 0


def test_ranges_end_where_the_source_does(tmp_path: Path, cache_home: Path) -> None:
    counter_video(tmp_path / "videos" / "walk.avi", 30)

    def find(folder: Path) -> Sources:
        ranges = ((3, 10), (20, 40), (40, 50))
        return Sources([Source("walk", (folder / "walk.avi",), ranges=ranges)])

    preparation = replace(COUNTERS, find=find)
    prepare_here(preparation, tmp_path / "videos")
    clips = Cache.open(preparation).clips
    assert [(clip.name, clip.first, clip.frames) for clip in clips] == [
        ("walk#1", 3, 7),
        ("walk#2", 20, 10),
    ]


OWN_FILE = """
from datasets.video.decode import read_frames

def read_backwards(source, frame_format):
    return reversed(list(read_frames(source, frame_format)))
"""


@contextmanager
def _own(path: Path, text: str) -> Iterator[Any]:
    """The module of a user's own file in `path`."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("nextframe_user_own", path)
    assert spec is not None
    assert spec.loader is not None
    own = importlib.util.module_from_spec(spec)
    sys.modules["nextframe_user_own"] = own
    try:
        spec.loader.exec_module(own)
        yield own
    finally:
        del sys.modules["nextframe_user_own"]


def test_a_users_own_file_may_say_how_to_read(tmp_path: Path, cache_home: Path) -> None:
    counter_video(tmp_path / "videos" / "0.avi", 10)
    with _own(tmp_path / "own.py", OWN_FILE) as own:
        preparation = replace(COUNTERS, read=own.read_backwards)
        prepare(preparation, tmp_path / "videos", workers=1)
    frames = Cache.open(preparation).frames.gather(torch.arange(10))
    assert numbers(frames.numpy()) == list(reversed(range(10)))


def test_a_file_that_no_child_process_can_import_is_told(tmp_path: Path, cache_home: Path) -> None:
    counter_video(tmp_path / "videos" / "0.avi", 10)
    with _own(tmp_path / "own.py", OWN_FILE) as own:
        (tmp_path / "own.py").write_text("raise ImportError")
        preparation = replace(COUNTERS, read=own.read_backwards)
        with pytest.raises(DataMissing, match="end before they begin") as told:
            prepare(preparation, tmp_path / "videos", workers=1)
    assert "\n" not in str(told.value)


def _unreadable(folder: Path) -> Sources:
    raise PermissionError(errno.EACCES, "Permission denied", str(folder / "locked"))


WRONG: dict[str, tuple[Callable[[Path], Sources], str]] = {
    "nothing there": (lambda _: Sources([]), "{} holds nothing of counters.*: get videos that"),
    "two of a name": (
        lambda folder: Sources([Source("twin", (folder,)), Source("twin", (folder,))]),
        "{} holds two of the name twin: rename one of them",
    ),
    "unreadable": (_unreadable, "{}/locked cannot be read: Permission denied"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_sources_are_told_in_one_line(tmp_path: Path, cache_home: Path, kind: str) -> None:
    find, reason = WRONG[kind]
    with pytest.raises(SourceWrong, match=reason.format(tmp_path)) as refusal:
        prepare(replace(COUNTERS, find=find), tmp_path)
    assert "\n" not in str(refusal.value)
    assert not cache_home.exists()


def test_an_absent_source_is_told(tmp_path: Path, cache_home: Path) -> None:
    with pytest.raises(SourceWrong, match="absent does not exist: get videos that count"):
        prepare(COUNTERS, tmp_path / "absent")


def test_a_cache_is_made_by_one_process_at_a_time(tmp_path: Path, cache_home: Path) -> None:
    counter_video(tmp_path / "videos" / "0.avi", 5)
    cache_home.mkdir(parents=True)
    with (
        FileLock(cache_home / f"{COUNTERS.folder}.lock"),
        pytest.raises(DataMissing, match=r"another process is making .*: wait for it to end"),
    ):
        prepare_here(COUNTERS, tmp_path / "videos")
    assert prepare_here(COUNTERS, tmp_path / "videos").decoded == 1


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 20 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("count", [10, 30], ids=["all together", "one clip"])
def test_a_full_disk_is_told_and_gone_on_from(
    tmp_path: Path, cache_home: Path, request: pytest.FixtureRequest, count: int
) -> None:
    """20 kB are 19 frames: too few for two clips of 10, or for one of 30."""
    for n in range(2):
        counter_video(tmp_path / "videos" / f"{n}.avi", count)
    request.getfixturevalue("small_disk")
    with pytest.raises(DataMissing) as refusal:
        prepare(COUNTERS, tmp_path / "videos", workers=1)
    folder = cache_home / COUNTERS.folder
    assert str(folder) in str(refusal.value)
    assert "File too large" in str(refusal.value)
    assert not folder.exists()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert prepare_here(COUNTERS, tmp_path / "videos").frames == 2 * count


def test_a_data_folder_that_cannot_be_written(tmp_path: Path, cache_home: Path) -> None:
    cache_home.parent.mkdir(parents=True)
    cache_home.touch()
    counter_video(tmp_path / "videos" / "0.avi", 5)
    with pytest.raises(DataMissing, match=r"the cache of counters\(size=32\) cannot be written to"):
        prepare(COUNTERS, tmp_path / "videos")


SLOWLY = """
if __name__ == "__main__":  # the children run this file too
    import signal
    import sys
    import threading
    from dataclasses import replace
    from pathlib import Path
    from datasets.video.prepare import prepare
    from tests.datasets.video import readers
    from tests.datasets.video.counter import COUNTERS

    # A shell that runs the tests in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Another thread takes it: it wakes none that waits, as where it comes just before the wait.
    threading.Thread(target=threading.Event().wait, daemon=True).start()

    def show(progress):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        print(progress.done, flush=True)

    preparation = replace(COUNTERS, read=readers.slow)
    prepare(preparation, Path(sys.argv[1]), workers=2, on_progress=show)
"""


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clips, the third of which takes `SLOWLY` fifty seconds."""
    videos = tmp_path_factory.mktemp("interrupted") / "videos"
    for n in (0, 1, 3, 4, 5, 6, 7):
        counter_video(videos / f"{n}.avi", 20, first=20 * n)
    np.save(videos / "2.npy", np.zeros((1000, 64, 64), np.uint8))
    return videos


@pytest.fixture(scope="module")
def undisturbed(interrupted: Path) -> Path:
    """The cache of these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(interrupted.parent / "data"))
        return prepare_here(COUNTERS, interrupted).folder


@contextmanager
def _running(script: Path, videos: Path, done: int) -> Iterator[psutil.Process]:
    """A process group that prepares `videos` slowly, and has `done` of them."""
    with subprocess.Popen(
        [sys.executable, str(script), str(videos)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert any(int(line) == done for line in process.stdout), process.stderr.read()
            yield psutil.Process(process.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("end", ["kill -9", "ctrl-c"])
def test_an_interrupted_preparation_goes_on(
    tmp_path: Path, cache_home: Path, interrupted: Path, undisturbed: Path, end: str
) -> None:
    (tmp_path / "slowly.py").write_text(SLOWLY)
    with _running(tmp_path / "slowly.py", interrupted, done=2) as parent:
        children = parent.children(recursive=True)
        if end == "kill -9":
            parent.kill()
        else:
            time.sleep(0.5)  # by then it waits for the third
            os.killpg(parent.pid, signal.SIGINT)
        _, alive = psutil.wait_procs([parent, *children], timeout=20)
        assert not alive
    assert not (cache_home / COUNTERS.folder).exists()

    told: list[Progress] = []
    prepared = prepare_here(COUNTERS, interrupted, on_progress=told.append)
    assert told[0] == Progress(2, 8, 40, 0, "")
    assert prepared.decoded == 6
    assert _same(prepared.folder, undisturbed)


def test_what_a_kill_left_of_an_old_cache_goes(tmp_path: Path, cache_home: Path) -> None:
    counter_video(tmp_path / "videos" / "0.avi", 5)
    folder = prepare_here(COUNTERS, tmp_path / "videos").folder
    (cache_home / f"{COUNTERS.folder}.old").mkdir()
    (folder / "journal.jsonl").touch()
    assert prepare_here(COUNTERS, tmp_path / "videos").decoded == 0
    assert not (cache_home / f"{COUNTERS.folder}.old").exists()
    assert {path.name for path in folder.iterdir()} == {FRAMES, MANIFEST, ORIGIN}
