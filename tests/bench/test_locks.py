from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.locks import Busy, held


def test_a_lock_is_of_one_and_its_folder_is_made(tmp_path: Path) -> None:
    lock = tmp_path / "suite" / "lock"
    with held(lock, "taken"), pytest.raises(Busy, match="taken"), held(lock, "taken"):
        pass
    with held(lock, "taken"):
        pass


@pytest.mark.parametrize("place", ["file/suite/lock", "file/lock", "folder"])
def test_where_nothing_can_be_written_the_line_says_what_helps(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(UserError, match=r"cannot be written to: .*: use another --results") as error,
        held(tmp_path / place, "taken"),
    ):
        pass
    assert not isinstance(error.value, Busy)


def test_errors_of_the_block_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), held(tmp_path / "lock", "taken"):
        raise FileNotFoundError
