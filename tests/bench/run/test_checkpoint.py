"""What a cell keeps in its folder is read back whole or not at all."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.records import Status
from bench.run.checkpoint import Checkpoint
from bench.run.record import Record


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def checkpoint(tmp_path: Path, told: list[str]) -> Checkpoint:
    return _of("a" * 32, tmp_path, told)


def _of(key: str, results: Path, told: list[str]) -> Checkpoint:
    checkpoint = Checkpoint(results, key, told.append)
    checkpoint.folder.mkdir(parents=True)
    checkpoint.save({"weights": torch.arange(1000.0), "steps": 7})
    return checkpoint


def _flipped(data: bytes) -> bytes:
    """A bit of the tensor is another: torch itself reads this file without a word."""
    at = data.index(torch.arange(1000.0).numpy().tobytes()) + 400
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def _plain(_: bytes) -> bytes:
    file = io.BytesIO()
    torch.save({"weights": torch.arange(1000.0)}, file)
    return file.getvalue()


def test_a_state_comes_back_as_it_was(checkpoint: Checkpoint, told: list[str]) -> None:
    state = checkpoint.load()
    assert state is not None
    assert state["steps"] == 7
    assert torch.equal(state["weights"], torch.arange(1000.0))
    assert told == []


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "cut at the end": lambda data: data[:-1],
    "a flipped bit": _flipped,
    "no state": lambda _: b"hello" * 100,
    "without its digest": _plain,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_state_is_set_aside(
    checkpoint: Checkpoint, told: list[str], damage: Callable[[bytes], bytes]
) -> None:
    path = checkpoint.folder / "state.pt"
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    assert checkpoint.load() is None
    assert not checkpoint.has_state
    assert [str(path) in line for line in told] == [True]
    aside = path.with_name("state.pt.unreadable")
    assert aside.read_bytes() == damaged
    assert aside.name in told[0]
    checkpoint.save({"steps": 8})
    assert checkpoint.load() == {"steps": 8}


def test_the_state_of_another_cell_is_none(
    checkpoint: Checkpoint, told: list[str], tmp_path: Path
) -> None:
    other = _of("b" * 32, tmp_path, told)
    (other.folder / "state.pt").replace(checkpoint.folder / "state.pt")
    assert checkpoint.load() is None
    assert len(told) == 1


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"../../etc", b"two words", b"\n"])
def test_a_damaged_run_id_is_set_aside(
    checkpoint: Checkpoint, told: list[str], content: bytes
) -> None:
    path = checkpoint.folder / "run_id"
    path.write_bytes(content)
    assert checkpoint.run_id is None
    assert len(told) == 1
    assert path.with_name("run_id.unreadable").read_bytes() == content
    checkpoint.run_id = "f" * 32
    assert checkpoint.run_id == "f" * 32


def test_a_record_comes_back_as_it_was_and_a_damaged_one_is_set_aside(
    checkpoint: Checkpoint, told: list[str]
) -> None:
    record = Record(suite="s", name="n", parent="", params={}, tags={})
    record.end(Status.DIVERGED, "why", {"val/mse": float("inf")})
    checkpoint.record = record
    assert checkpoint.record == record
    path = checkpoint.folder / "record.json"
    path.write_bytes(path.read_bytes()[:-5])
    assert checkpoint.record is None
    assert len(told) == 1
