"""What goes wrong with a store is one kind of error each, whoever the store is."""

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bench import records
from bench.records import Point, Status
from bench.store import mlflow
from bench.store.errors import StoreError, StoreUnavailable, UnknownRun
from bench.store.mlflow import Store

WRITES: dict[str, Callable[[Store, str], object]] = {
    "tag": lambda store, run: store.tag(run, {"a": "b"}),
    "params": lambda store, run: store.params(run, {"a": 1}),
    "points": lambda store, run: store.points(run, [Point.now("train/loss", 1.0, 1)]),
    "data_set": lambda store, run: store.data_set(run, "name", "source", {"test": "abc"}),
    "end": lambda store, run: store.end(run, Status.DONE),
}
READS: dict[str, Callable[[Store, str], object]] = {
    "run": lambda store, run: store.run(run),
    "cells": lambda store, run: store.cells("mnist"),
    "suites": lambda store, run: store.suites(),
    "planned": lambda store, run: store.planned("mnist"),
    "curve": lambda store, run: store.curve(run, "train/loss"),
    "history": lambda store, run: store.history(run, ()),
}


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Store:
    shutil.copytree(empty_store, tmp_path / "results")
    return Store(f"sqlite:///{tmp_path}/results/mlflow.db")


def _begin(store: Store) -> str:
    return store.begin("mnist", "a/b/0", {records.KIND: "cell"})


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("run_id", ["0" * 32, "no/such\nid", "", "deleted"])
def test_writing_to_a_run_that_is_gone_says_so(
    store: Store, run_id: str, write: Callable[[Store, str], object]
) -> None:
    if run_id == "deleted":
        run_id = _begin(store)
        store._client.delete_run(run_id)
    with pytest.raises(UnknownRun) as caught:
        write(store, run_id)
    assert "\n" not in str(caught.value)
    assert not store.resume(run_id)
    assert store.run(run_id) is None


def test_a_deleted_experiment_takes_no_run_and_has_none(store: Store) -> None:
    run_id = _begin(store)
    store._client.delete_experiment(store.experiment("mnist"))
    with pytest.raises(StoreError, match="was deleted"):
        _begin(store)
    assert store.cells("mnist") == []
    assert store.suites() == []
    assert not store.resume(run_id)


def test_what_mlflow_refuses_is_no_fault_of_the_store(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        store.params(_begin(store), {"no such\tcharacter?": 1})
    assert not isinstance(caught.value, StoreUnavailable | UnknownRun)


@pytest.mark.parametrize("use", (WRITES | READS).values(), ids=WRITES | READS)
def test_a_database_that_breaks_later_is_unavailable(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str], use: Callable[..., object]
) -> None:
    run_id = _begin(store)
    (tmp_path / "results" / "mlflow.db").write_bytes(b"no database any more" * 1000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        use(store, run_id)
    assert capfd.readouterr() == ("", "")


def test_artifacts_that_cannot_be_written_are_unavailable(store: Store, tmp_path: Path) -> None:
    run_id = _begin(store)
    (tmp_path / "results" / "artifacts").write_text("a file in its place", encoding="utf-8")
    (tmp_path / "log.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(StoreUnavailable):
        store.attach(run_id, tmp_path / "log.txt")


class _Broken(BaseHTTPRequestHandler):
    """A server that has lost its database."""

    def do_POST(self) -> None:
        self.send_error(500)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(params=["refused", "500", "no MLflow", "silent"])
def dead(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of something that is no MLflow server."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if request.param == "refused":
            yield f"http://127.0.0.1:{silent.getsockname()[1]}"
            return
        if request.param == "silent":
            silent.listen()
            yield f"http://127.0.0.1:{silent.getsockname()[1]}"
            return
    code = {"500": 500, "no MLflow": 404}[request.param]
    handler = type("Handler", (_Broken,), {"do_POST": lambda self: self.send_error(code)})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_dead_server_is_one_line(
    dead: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setattr(mlflow, "ANSWER_SECONDS", 1)
    with pytest.raises(StoreUnavailable, match="cannot open the MLflow store") as caught:
        Store(dead)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
