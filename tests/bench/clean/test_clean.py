"""`bench clean`: shows what can go, and deletes that and nothing else."""

import contextlib
import io
import shutil
from pathlib import Path

import pytest

from bench import caches, cli, records
from bench.clean import clean
from bench.errors import UserError
from bench.records import Status
from bench.run.checkpoint import Checkpoint
from bench.store.mlflow import Store


@pytest.fixture
def results(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a cell of every end, each with a log, and the interrupted with a checkpoint."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    results = tmp_path / "results"
    shutil.copytree(empty_store, results)
    store = Store(f"sqlite:///{results}/mlflow.db")
    log = tmp_path / records.LOG
    log.write_text("x" * 100, encoding="utf-8")
    weights = tmp_path / records.CHECKPOINT
    weights.write_bytes(bytes(1000))
    for status in (*Status, "in use"):
        if status in (Status.SKIPPED, Status.MISSING):
            continue
        tags = {records.KIND: "cell", records.TRAINED: str(status), records.CELL: str(status)}
        run_id = store.begin("own", str(status), tags | {records.STATUS: "running"})
        store.attach(run_id, log)
        if status in (Status.INTERRUPTED, "in use"):
            checkpoint = Checkpoint(results, str(status))
            with checkpoint.held():
                checkpoint.run_id = run_id
                checkpoint.save({"step": 3})
        if status == Status.DONE:
            store.attach(run_id, weights)
            store.tag(run_id, {records.WEIGHTS_BYTES: "1000"})
        if isinstance(status, Status) and status != Status.RUNNING:
            store.end(run_id, status)
    kept = caches.folder("costs")
    kept.mkdir(parents=True)
    (kept / "a.json").write_text("{}")
    return results


def _left(results: Path) -> set[str]:
    return {run.name for run in Store(f"sqlite:///{results}/mlflow.db").cells("own")}


def test_it_shows_how_much_there_is_and_deletes_nothing(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _left(results)
    with Checkpoint(results, "in use").held():
        assert cli.main(["clean", "--results", str(results)]) == 0
    lines = {
        line.split()[0]: line.split()[1:4] for line in capsys.readouterr().out.splitlines()[2:]
    }
    assert lines["failed"] == ["3", "300", "B"]
    assert lines["interrupted"][0] == "1"
    assert lines["weights"] == ["1", "1000", "B"]
    assert lines["caches"] == ["1", "2", "B"]
    assert _left(results) == before


def test_it_deletes_what_is_named_and_nothing_else(results: Path) -> None:
    before = _left(results)
    words = ["clean", "failed", "interrupted", "weights", "--yes", "--results", str(results)]
    with Checkpoint(results, "in use").held():
        assert cli.main(words) == 0
        assert before - _left(results) == {"failed", "oom", "timeout", "interrupted"}
        assert Checkpoint(results, "in use").has_state
    assert not Checkpoint(results, "interrupted").folder.exists()
    store = Store(f"sqlite:///{results}/mlflow.db")
    (done,) = (run for run in store.cells("own") if run.is_done)
    assert store.artifact(done.run_id, records.CHECKPOINT) is None
    assert store.artifact(done.run_id, records.LOG) is not None
    assert done.weights_bytes == 0
    assert caches.folder("costs").exists()


def test_a_result_that_is_not_recorded_yet_stays(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoint, "record", object())
    items = clean.found(Store(f"sqlite:///{results}/mlflow.db"), results, "own")
    assert "interrupted" not in {item.kind for item in items}


def test_the_state_of_a_cell_that_failed_goes_with_its_run(results: Path) -> None:
    checkpoint = Checkpoint(results, "failed")
    with checkpoint.held():
        checkpoint.save({"step": 3})
    assert cli.main(["clean", "failed", "--yes", "--results", str(results)]) == 0
    assert not checkpoint.folder.exists()  # or the next run would go on from it


@pytest.mark.parametrize("now", ["done", "running"])
def test_what_has_gone_on_while_it_asked_stays(results: Path, now: str) -> None:
    store = Store(f"sqlite:///{results}/mlflow.db")
    items = [i for i in clean.found(store, results, "own") if i.name == "interrupted"]
    (run,) = (run for run in store.cells("own") if run.name == "interrupted")

    def goes_on(what: str) -> bool:
        if now == "done":
            store.end(run.run_id, Status.DONE)
        return True

    with contextlib.ExitStack() as stack:
        if now == "running":
            stack.enter_context(Checkpoint(results, "interrupted").held())
        assert clean.clean(items, ["interrupted"], goes_on) == (0, 0)
    assert "interrupted" in _left(results)
    assert Checkpoint(results, "interrupted").has_state


@pytest.mark.parametrize(("answer", "goes"), [("y\n", True), ("\n", False), ("", False)])
def test_it_asks(results: Path, monkeypatch: pytest.MonkeyPatch, answer: str, goes: bool) -> None:
    stdin = io.StringIO(answer)
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", stdin)
    assert cli.main(["clean", "caches", "--results", str(results)]) == 0
    assert caches.folder("costs").exists() != goes


def test_with_nobody_to_ask_it_deletes_nothing(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UserError, match="say --yes"):
        cli.main(["clean", "failed", "--results", str(results)])
    with pytest.raises(UserError, match="did you mean 'own'"):
        cli.main(["clean", "failed", "--yes", "--suite", "onw", "--results", str(results)])
    assert "failed" in _left(results)
