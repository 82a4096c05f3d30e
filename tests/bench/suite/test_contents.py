"""What files hold is part of what a cell is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bench import caches
from bench.errors import UserError
from bench.suite import data
from bench.suite.contents import content_digest
from bench.suite.settle import settle
from bench.suite.suite import Suite


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))


def _age(path: Path, seconds: float) -> None:
    ago = path.stat().st_mtime - seconds
    os.utime(path, (ago, ago))


def test_a_digest_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    path, copy = tmp_path / "a", tmp_path / "b"
    for each in (path, copy):
        each.write_bytes(b"some frames")
        _age(each, 60)
    first = content_digest(path)
    assert content_digest(path) == content_digest(copy) == first
    assert len([*caches.folder("files").iterdir()]) == 2
    before = path.stat()
    path.write_bytes(b"same length")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as some tools do
    assert content_digest(path) != first


def test_of_a_file_that_has_just_changed_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"frames")
    content_digest(tmp_path / "a")
    assert not caches.folder("files").exists()


def test_a_damaged_digest_is_computed_anew(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"frames")
    _age(path, 60)
    found = content_digest(path)
    (kept,) = caches.folder("files").iterdir()
    kept.write_bytes(b"\xff half")
    assert content_digest(path) == found


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        content_digest(tmp_path / "gone")


@pytest.mark.parametrize("changed", ["fields.npy", "actions.npy"])
def test_a_cell_is_another_where_any_training_frame_or_number_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path))
    numbers = np.random.default_rng(0)
    np.save(tmp_path / "fields.npy", numbers.integers(0, 256, (20, 20, 1, 16, 16), np.uint8))
    np.save(tmp_path / "actions.npy", numbers.random((20, 20, 2), np.float32))
    options = "context_frames=4, horizon=4, test='0:2', validation='2:4'"
    name = f"arrays(path='fields.npy', covariates='actions.npy', {options})"

    def trained() -> str:
        data.opened.cache_clear()
        data.training_digest.cache_clear()
        suite = Suite(name="own", models=("convlstm",), datasets=(name,), budget="4steps")
        (cell,) = settle(suite.with_overrides(device="cpu"))
        return cell.trained

    before = trained()
    assert trained() == before
    stored = np.load(tmp_path / changed)
    stored[19, 19, ..., -1] += 1  # of the last sequence, which trains
    np.save(tmp_path / changed, stored)
    assert trained() != before
