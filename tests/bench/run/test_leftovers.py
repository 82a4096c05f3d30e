"""Runs that dead processes left open are closed by the next run of that suite in that folder."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bench import records
from bench.records import Status
from bench.run.checkpoint import Checkpoint
from bench.run.leftovers import Leftovers
from bench.run.record import folder_tag
from bench.store.mlflow import Store

KEY = "a" * 32


@pytest.fixture
def results(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copytree(empty_store, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def store(results: Path) -> Store:
    return Store(_uri(results))


def _uri(results: Path) -> str:
    return f"sqlite:///{results}/mlflow.db"


def _begin(store: Store, kind: str, folder: Path | None = None, **tags: str) -> str:
    ours = {records.FOLDER: folder_tag(folder)} if folder else {}
    return store.begin("own", "run", {records.KIND: kind, **ours, **tags})


def _cell(store: Store, folder: Path | None = None, status: Status = Status.RUNNING) -> str:
    tags = {records.TRAINED: KEY, records.STATUS: status.value}
    return _begin(store, "cell", folder, **tags)


def _status(results: Path, run_id: str) -> str:
    return str(MlflowClient(tracking_uri=_uri(results)).get_run(run_id).info.status)


def _close(results: Path, store: Store) -> list[str]:
    told: list[str] = []
    Leftovers(results, "own", told.append).close(store)
    return told


def test_runs_of_this_folder_are_closed_whatever_its_files_say(results: Path, store: Store) -> None:
    by_tag = [_cell(store, results), _begin(store, "suite", results)]
    by_file = [_cell(store), _begin(store, "suite")]  # of a folder that was moved since
    Checkpoint(results, KEY).run_id = by_file[0]
    Leftovers(results, "own", print).remember_invocation(by_file[1], store.uri)
    assert _close(results, store) == []
    assert {_status(results, run_id) for run_id in by_tag + by_file} == {"KILLED"}
    assert {run.tags[records.STATUS] for run in store.cells("own")} == {"interrupted"}
    assert not (results / "own" / "invocation").exists()


def test_runs_of_others_stay_open(results: Path, store: Store, tmp_path: Path) -> None:
    others = [_cell(store, tmp_path), _begin(store, "suite", tmp_path)]
    ours = _cell(store, results)
    with Checkpoint(results, KEY).held():  # it lives
        _close(results, store)
    assert {_status(results, run_id) for run_id in [*others, ours]} == {"RUNNING"}


def test_a_run_that_was_half_closed_keeps_its_end(results: Path, store: Store) -> None:
    run_id = _cell(store, results, Status.DIVERGED)
    _close(results, store)
    run = store.run(run_id)
    assert run is not None
    assert run.tags[records.STATUS] == "diverged"
    assert _status(results, run_id) == "FAILED"


@pytest.mark.parametrize("content", [b"", b"0" * 32, b"\xff\x00", b"no run\nsqlite:////no/such.db"])
def test_a_stale_or_damaged_file_of_the_invocation_stops_nothing(
    results: Path, store: Store, content: bytes
) -> None:
    store.experiment("own")
    path = results / "own" / "invocation"
    path.parent.mkdir()
    path.write_bytes(content)
    told = _close(results, store)
    assert len(told) == (content == b"\xff\x00")
    assert not path.exists()
    assert not Path("/no/such.db").exists()


def test_runs_in_the_store_of_the_last_invocation_are_closed_too(
    results: Path, store: Store, empty_store: Path, tmp_path: Path
) -> None:
    shutil.copytree(empty_store, tmp_path / "other")
    other = Store(_uri(tmp_path / "other"))
    parent, cell = _begin(other, "suite", results), _cell(other, results)
    Leftovers(results, "own", print).remember_invocation(parent, other.uri)
    _close(results, store)
    assert {_status(tmp_path / "other", run_id) for run_id in (parent, cell)} == {"KILLED"}


def test_a_store_that_is_damaged_is_named_in_a_line(
    results: Path, store: Store, tmp_path: Path
) -> None:
    store.experiment("own")
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"no database" * 100)
    leftovers = Leftovers(results, "own", print)
    leftovers.remember_invocation("0" * 32, f"sqlite:///{damaged}")
    (line,) = _close(results, store)
    assert "damaged.db" in line
