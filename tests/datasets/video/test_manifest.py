"""A cache is what its manifest says: what is not so counts as not made, and the remedy mends it."""

import json
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.contract import DataMissing
from datasets.video import cache as cache_module
from datasets.video.cache import FRAMES, MANIFEST, Cache, altered_clips, read
from datasets.video.manifest import Altered, read_manifest, remedy
from datasets.video.prepare import Prepared, add_digests
from datasets.video.source import Source, Sources, SourceWrong
from tests.datasets.prepare_here import prepare_here
from tests.datasets.video.counter import COUNTERS, counter_video, find_clips


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two clips, of 10 and 12 frames."""
    counter_video(tmp_path / "videos" / "one.avi", 10)
    counter_video(tmp_path / "videos" / "two.avi", 12, first=10)
    return tmp_path / "videos"


@pytest.fixture
def made(source: Path, cache_home: Path) -> Path:
    """Their finished cache."""
    return prepare_here(COUNTERS, source).folder


def _changed(**parts: Any) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps({**json.loads(content), **parts}).encode()


def _clip(**parts: Any) -> Callable[[bytes], bytes]:
    """Changes the second clip."""

    def change(content: bytes) -> bytes:
        manifest = json.loads(content)
        manifest["clips"][1] |= parts
        return json.dumps(manifest).encode()

    return change


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "a list": lambda _: b"[]",
    "null": lambda _: b"null",
    "cut": lambda content: content[:-3],
    "begun": lambda _: b"{",
    "nested deeply": lambda _: b'{"format": 1, "facts": ' + b"[" * 100_000,
    "no UTF-8": lambda content: content.replace(b"one", b"\xff\xfe!"),
    "thousands of digits": lambda c: c.replace(b'"frames": 22', b'"frames": 2' + b"2" * 5000),
    "another version": _changed(format=7),
    "a version that is none": _changed(format=True),
    "frames as text": _changed(frames="22"),
    "frames that are none": _changed(frames=float("nan")),
    "fewer frames": _changed(frames=21),
    "another shape": _changed(frame={"channels": 1, "height": 32, "width": 16}),
    "no shape": _changed(frame={"channels": 1, "height": -1, "width": 32}),
    "another type": _changed(
        frame={"channels": 1, "height": 32, "width": 32, "fit": "stretch", "dtype": "uint16"}
    ),
    "no clips": _changed(clips=None),
    "no facts": _changed(facts=[]),
    "digests of others": _changed(digests="00" * 8),
    "no digests but words": _changed(digests="words"),
    "a clip outside the frames": _clip(frames=13),
    "a clip before the frames": _clip(first=-1),
    "clips that overlap": _clip(first=9),
    "a clip twice": _clip(name="one"),
    "a clip of no source": _clip(name="three"),
    "a clip without frames": _clip(frames=0),
    "tags that are none": _clip(tags={"kind": 1}),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_manifest_is_told_and_made_anew(made: Path, source: Path, what: str) -> None:
    path = made / MANIFEST
    path.write_bytes(SPOILT[what](path.read_bytes()))
    with pytest.raises(DataMissing) as told:
        Cache.open(COUNTERS)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000
    assert _remade(str(told.value), source).decoded == 2
    assert len(Cache.open(COUNTERS).clips) == 2


def _remade(message: str, source: Path) -> Prepared:
    """What the command in `message` makes."""
    command = shlex.split(message.split("`")[1])
    assert command[:6] == ["python", "-m", "bench", "data", "prepare", COUNTERS.name]
    assert command[6:] == ["--source", str(source)]
    return prepare_here(COUNTERS, Path(command[7]))


@pytest.mark.parametrize("name", [MANIFEST, FRAMES])
def test_nothing_waits_for_a_pipe(made: Path, source: Path, name: str) -> None:
    (made / name).unlink()
    os.mkfifo(made / name)
    with pytest.raises(DataMissing, match="no regular file"):
        Cache.open(COUNTERS)
    assert prepare_here(COUNTERS, source).decoded == 2


@pytest.mark.parametrize("name", [MANIFEST, FRAMES])
def test_a_link_to_itself_is_told(made: Path, name: str) -> None:
    (made / name).unlink()
    (made / name).symlink_to(name)
    with pytest.raises(DataMissing, match="cannot be read"):
        Cache.open(COUNTERS)


@pytest.mark.parametrize("frames", ["cut", "longer", "of floats", "fewer"])
def test_frames_that_do_not_fit_are_told(made: Path, source: Path, frames: str) -> None:
    path = made / FRAMES
    array = np.load(path)
    if frames in ("cut", "longer"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] if frames == "cut" else content + b"x")
    else:
        np.save(path, array.astype(np.float32) if frames == "of floats" else array[:-1])
    with pytest.raises(DataMissing) as told:
        Cache.open(COUNTERS)
    assert "\n" not in str(told.value)
    assert _remade(str(told.value), source).decoded == 2


def _alter(made: Path, frame: int) -> None:
    """Change one bit of a pixel, and leave the size and the time as they were."""
    path, before = made / FRAMES, (made / FRAMES).stat()
    frames = np.lib.format.open_memmap(path, mode="r+")
    frames[frame, 0, 5, 5] ^= 1
    frames.flush()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(("frame", "clip"), [(3, "one"), (21, "two")])
def test_an_altered_pixel_is_told_at_the_next_use(
    made: Path, source: Path, frame: int, clip: str
) -> None:
    _alter(made, frame)
    with pytest.raises(DataMissing, match=clip) as told:
        Cache.open(COUNTERS)
    assert "\n" not in str(told.value)
    prepared = _remade(str(told.value), source)
    assert prepared.decoded == 2
    assert "altered" in prepared.instead_of
    Cache.open(COUNTERS)


@pytest.fixture
def large(tmp_path: Path, cache_home: Path) -> Path:
    """A cache of 8 clips of 800 KiB each, so of seven blocks."""
    folder = tmp_path / "arrays"
    folder.mkdir()
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (800, 32, 32), np.uint8)
        np.save(folder / f"{number}.npy", noise)
    return prepare_here(COUNTERS, folder).folder


def test_all_is_checked_when_asked_and_a_sample_at_each_use(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = read(large)
    assert said is not None
    assert altered_clips(large, said) == []
    _alter(large, 800 * 3 + 400)
    names = altered_clips(large, said)
    assert "3#1" in names
    assert len(names) <= 3
    monkeypatch.setattr(cache_module, "SAMPLED_BLOCKS", 3)
    outcomes = set()
    for _ in range(40):
        try:
            Cache.open(COUNTERS)
        except DataMissing:
            outcomes.add("told")
        else:
            outcomes.add("missed")
    assert outcomes == {"told", "missed"}


def test_a_cache_from_before_there_were_digests_gets_them_and_is_decoded_no_more(
    made: Path, source: Path
) -> None:
    whole = (made / MANIFEST).read_bytes()
    manifest = json.loads(whole)
    del manifest["digests"]
    for entry in manifest["sources"]:
        del entry["remarks"]
    (made / MANIFEST).write_text(json.dumps(manifest))
    (made / "origin.json").unlink()
    assert Cache.open(COUNTERS).digest == ""
    assert prepare_here(COUNTERS, source).decoded == 0
    assert json.loads((made / MANIFEST).read_bytes())["digests"] == json.loads(whole)["digests"]
    digest = Cache.open(COUNTERS).digest
    assert len(digest) == 32

    (made / MANIFEST).write_text(json.dumps(manifest))
    add_digests(made)
    assert Cache.open(COUNTERS).digest == digest


def test_the_digest_names_frames_and_clips(made: Path, source: Path) -> None:
    before = Cache.open(COUNTERS).digest
    assert Cache.open(COUNTERS).digest == before
    counter_video(source / "two.avi", 12, first=11)
    prepare_here(COUNTERS, source)
    assert Cache.open(COUNTERS).digest != before


def test_another_source_of_the_same_name_size_and_time_is_found(made: Path, source: Path) -> None:
    path = source / "two.avi"
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    prepared = prepare_here(COUNTERS, source)
    assert prepared.decoded == 2
    assert "two" in prepared.instead_of


def test_a_source_that_changes_while_it_is_read_is_damaged(source: Path, cache_home: Path) -> None:
    def touch(_: object) -> None:
        os.utime(source / "two.avi", ns=(1, 1))

    prepared = prepare_here(COUNTERS, source, max_damaged_share=0.5, on_progress=touch)
    assert [(it.name, it.reason) for it in prepared.damaged] == [
        ("two", "was changed while it was read")
    ]
    assert prepare_here(COUNTERS, source).decoded > 0


def test_what_lies_among_the_caches_is_no_source(made: Path, cache_home: Path) -> None:
    def find(folder: Path) -> Sources:
        return Sources([Source("clip", tuple(folder.rglob("*.npy")))])

    for place in (made, cache_home, cache_home.parent):
        with pytest.raises(SourceWrong, match="part of a cache"):
            prepare_here(replace(COUNTERS, find=find, folder="other"), place)


@pytest.mark.parametrize("facts", [{"x": "\udce9"}, {"x": {1, 2}}])
def test_facts_that_cannot_be_kept_are_told(
    source: Path, cache_home: Path, facts: dict[str, Any]
) -> None:
    def find(folder: Path) -> Sources:
        return replace(find_clips(folder), facts=facts)

    with pytest.raises(SourceWrong, match="cannot be kept"):
        prepare_here(replace(COUNTERS, find=find), source)
    assert read_manifest(cache_home / COUNTERS.folder) is None


def test_ranges_that_overlap_are_refused(source: Path, cache_home: Path) -> None:
    def find(folder: Path) -> Sources:
        return Sources([Source("one", (folder / "one.avi",), ranges=((0, 5), (4, 9)))])

    with pytest.raises(SourceWrong, match="overlap"):
        prepare_here(replace(COUNTERS, find=find), source)


def test_the_remedy_of_a_cache_whose_origin_is_unknown_has_a_place_for_it(tmp_path: Path) -> None:
    assert remedy("it's", tmp_path).endswith("""'it'"'"'s' --source FOLDER""")


def test_a_manifest_that_is_a_folder_is_told(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(Altered):
        read_manifest(tmp_path)
