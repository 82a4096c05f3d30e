import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datasets.video.cache import FRAMES, MANIFEST
from datasets.video.growing import JOURNAL, GrowingCache, partial_folder
from datasets.video.manifest import Entry
from datasets.video.source import FrameFormat

FORMAT = FrameFormat(channels=1, height=2, width=3)
LENGTHS = [4, 0, 7, 1, 12]  # the second source is damaged
KEYS = [f"key {number}" for number in range(len(LENGTHS))]


def _entry(number: int, key: str) -> Entry:
    length = LENGTHS[number]
    return Entry(f"clip {number}", key, length, 9 * length, "", "" if length else "is empty")


def _grow(folder: Path, keys: list[str], upto: int = len(LENGTHS)) -> int:
    """Add what the cache lacks of the first `upto` sources; how many it had."""
    with GrowingCache(folder, FORMAT, keys) as cache:
        had = len(cache.entries)
        for number in range(had, upto):
            part = cache.part(number)
            pixels = (number + ord(keys[number][0])) % 256
            part.write_bytes(bytes([pixels]) * LENGTHS[number] * 6)
            cache.add(_entry(number, keys[number]), part)
        if upto == len(LENGTHS):
            cache.finish({"entries": [entry.name for entry in cache.entries]})
    return had


def _content(folder: Path) -> tuple[bytes, bytes]:
    return (folder / FRAMES).read_bytes(), (folder / MANIFEST).read_bytes()


def test_a_finished_cache_is_an_array_and_a_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    _grow(folder, KEYS)
    frames = np.load(folder / FRAMES)
    assert frames.shape == (24, 1, 2, 3)
    expected = np.repeat(np.arange(len(LENGTHS)) + ord("k"), LENGTHS)
    assert np.array_equal(frames[:, 0, 0, 0], expected)
    assert json.loads((folder / MANIFEST).read_text())["entries"][1] == "clip 1"
    assert {path.name for path in folder.iterdir()} == {FRAMES, MANIFEST}
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@settings(max_examples=60)
@given(
    upto=st.integers(0, len(LENGTHS) - 1),
    journal_lost=st.integers(0, 400),
    frames_lost=st.integers(-50, 200),
)
@example(upto=2, journal_lost=1, frames_lost=0)
def test_whatever_a_kill_leaves_the_end_is_the_same(
    upto: int, journal_lost: int, frames_lost: int
) -> None:
    with TemporaryDirectory() as whole, TemporaryDirectory() as killed:
        folder = Path(killed) / "cache"
        _grow(Path(whole) / "cache", KEYS)
        _grow(folder, KEYS, upto)
        for name, lost in ((JOURNAL, journal_lost), (FRAMES, frames_lost)):
            path = partial_folder(folder) / name
            content = path.read_bytes()
            path.write_bytes(content[: max(len(content) - lost, 0)] + b"x" * -lost)
        (partial_folder(folder) / "parts" / "1-1").write_bytes(b"left behind")
        had = _grow(folder, KEYS, upto=len(KEYS) - 1)
        assert had <= upto
        assert had == upto or journal_lost or frames_lost > 0
        assert _grow(folder, KEYS) == len(KEYS) - 1
        assert _content(folder) == _content(Path(whole) / "cache")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "null",
        "{",
        "[" * 100_000,
        '{"name": "clip 1", "key": "key 1"}',
        '{"name": "clip 1", "key": "key 1", "frames": -4, "bytes": 0, "sha256": "", "reason": ""}',
        '{"name": "clip 1", "key": "key 1", "frames": "4", "bytes": 0, "sha256": "", "reason": ""}',
        '{"name": "clip 1", "key": "key 1", "frames": ' + "9" * 5000 + "}",
        '{"name": 1, "key": "key 1", "frames": 1e9, "bytes": NaN, "sha256": "", "reason": ""}',
        "\udce9\udcff",
    ],
)
def test_what_is_no_line_of_a_journal_ends_it(tmp_path: Path, line: str) -> None:
    _grow(tmp_path / "cache", KEYS, upto=3)
    journal = partial_folder(tmp_path / "cache") / JOURNAL
    head, first, _, last = journal.read_bytes().splitlines(keepends=True)
    content = line.encode("utf-8", "surrogateescape")
    journal.write_bytes(head + first + content + b"\n" + last)
    assert _grow(tmp_path / "cache", KEYS) == 1
    _grow(tmp_path / "whole", KEYS)
    assert _content(tmp_path / "cache") == _content(tmp_path / "whole")


class Killed(BaseException):
    """What nothing catches."""


@pytest.mark.parametrize("step", range(6))
def test_a_kill_while_it_takes_its_place_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """From the last source on names change six times: so many of them are done."""
    folder, left = tmp_path / "cache", step
    _grow(tmp_path / "clean", KEYS)
    _grow(folder, [f"other {key}" for key in KEYS])
    _grow(folder, KEYS, upto=len(KEYS) - 1)

    def until_killed(change: Callable[..., Any]) -> Callable[..., Any]:
        def change_or_die(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return change(*arguments, **options)

        return change_or_die

    with monkeypatch.context() as patch:
        for name in ("rmdir", "replace", "rename", "unlink"):
            patch.setattr(Path, name, until_killed(getattr(Path, name)))
        with pytest.raises(Killed):
            _grow(folder, KEYS)
    if step < 5:  # else it is finished
        assert _grow(folder, KEYS) == len(KEYS) - (step == 0)
    assert _content(folder) == _content(tmp_path / "clean")


def test_what_came_from_other_sources_is_not_taken_up(tmp_path: Path) -> None:
    changed = [*KEYS[:2], "another", *KEYS[3:]]
    _grow(tmp_path / "clean", changed)
    _grow(tmp_path / "cache", KEYS, upto=4)
    assert _grow(tmp_path / "cache", changed) == 2
    assert _content(tmp_path / "cache") == _content(tmp_path / "clean")


def test_what_was_made_in_another_format_is_not_taken_up(tmp_path: Path) -> None:
    _grow(tmp_path / "cache", KEYS, upto=3)
    with GrowingCache(tmp_path / "cache", FrameFormat(1, 3, 2), KEYS) as cache:
        assert cache.entries == []


def test_a_new_cache_takes_the_old_ones_place_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    _grow(folder, KEYS)
    old = _content(folder)
    others = [f"other {key}" for key in KEYS]
    _grow(folder, others, upto=4)
    assert _content(folder) == old
    assert _grow(folder, others) == 4
    assert _content(folder) != old
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
