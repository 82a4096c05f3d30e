"""`bench push`: what one store has of a suite is in another, whole and once."""

import shutil
from pathlib import Path

import pytest

from bench import cli, records
from bench.errors import UserError
from bench.records import Status
from bench.store.errors import StoreUnavailable
from bench.store.mlflow import PARENT, Point, Store
from bench.store.named import finished
from bench.store.push import push
from tests.bench.servers import Server


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Store:
    """A store with an invocation, a finished cell, a failed and a running one."""
    shutil.copytree(empty_store, tmp_path / "here")
    store = Store(f"sqlite:///{tmp_path}/here/mlflow.db")
    parent = store.begin("mnist", "mnist 120 s", {records.KIND: "suite"})
    for name, status in (("a/b/0", Status.DONE), ("a/b/1", Status.FAILED), ("a/b/2", None)):
        tags = {records.KIND: "cell", records.CELL: name, records.STATUS: "running"}
        run_id = store.begin("mnist", name, tags, parent)
        store.params(run_id, {"model": "convlstm"})
        store.points(run_id, [Point.now("val/mse", 1 / step, step) for step in range(1, 1500)])
        store.data_set(run_id, "moving_mnist", "datasets.moving_mnist", {"test": "abc"})
        (tmp_path / "x.txt").write_text(name, encoding="utf-8")
        store.attach(run_id, tmp_path / "x.txt", "folder")
        if status:
            store.end(run_id, status, "why" if status == Status.FAILED else "")
    store.end(parent, Status.DONE)
    return store


@pytest.fixture
def other(tmp_path: Path, empty_store: Path) -> Store:
    shutil.copytree(empty_store, tmp_path / "there")
    return Store(f"sqlite:///{tmp_path}/there/mlflow.db")


def _require_same(store: Store, other: Store) -> None:
    ours = {run.name: run for run in store.closed("mnist")}
    theirs = {run.name: run for run in other.closed("mnist")}
    assert theirs.keys() == ours.keys() == {"mnist 120 s", "a/b/0", "a/b/1"}
    parent = theirs["mnist 120 s"].run_id
    for name, run in ours.items():
        copy = theirs[name]
        assert copy.tags[records.COPY_OF] == run.run_id
        assert (copy.params, copy.metrics, copy.started) == (run.params, run.metrics, run.started)
        new = {records.COPY_OF, PARENT}
        assert {key: copy.tags[key] for key in copy.tags.keys() - new} == {
            key: run.tags[key] for key in run.tags.keys() - new
        }
        if name != "mnist 120 s":
            assert copy.tags[PARENT] == parent
            assert other.curve(copy.run_id, "val/mse") == store.curve(run.run_id, "val/mse")
            artifact = other.artifact(copy.run_id, "folder")
            assert artifact is not None
            assert (artifact / "x.txt").read_text(encoding="utf-8")
            assert finished(other, "a/b/0").name == "a/b/0"


def test_a_copy_has_all_that_was_recorded_and_is_found_by_its_old_id(
    store: Store, other: Store
) -> None:
    said: list[str] = []
    assert push(store, "mnist", other, said.append) == (3, 0)
    assert len(said) == 3
    _require_same(store, other)
    done = finished(store, "a/b/0")
    assert finished(other, done.run_id).name == "a/b/0"
    assert push(store, "mnist", other, said.append) == (0, 3)
    assert push(other, "mnist", store, said.append) == (0, 3)  # and back: it is there
    assert len(store.cells("mnist")) == 3


def test_a_copy_that_was_cut_short_is_made_whole(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach = other.attach

    def no_room(*_: object) -> None:
        raise StoreUnavailable("no room")

    monkeypatch.setattr(other, "attach", no_room)
    with pytest.raises(StoreUnavailable):
        push(store, "mnist", other, lambda _: None)
    assert other.cells("mnist") == []  # half a copy is no cell
    monkeypatch.setattr(other, "attach", attach)
    assert push(store, "mnist", other, lambda _: None) == (2, 1)
    _require_same(store, other)


def test_a_server_takes_copies(store: Store, tmp_path: Path, empty_store: Path) -> None:
    folder = shutil.copytree(empty_store, tmp_path / "server")
    with Server(folder).running() as address:
        uri = f"sqlite:///{tmp_path}/here/mlflow.db"
        assert cli.main(["push", "--suite", "mnist", "--to", address, "--tracking-uri", uri]) == 0
        _require_same(store, Store(address))


def test_no_suite_or_no_other_store_is_said(store: Store, other: Store) -> None:
    with pytest.raises(UserError, match="did you mean 'mnist'"):
        push(store, "mnsit", other, print)
    with pytest.raises(UserError, match="name another"):
        cli.main(["push", "--suite", "mnist", "--to", store.uri, "--tracking-uri", store.uri])
