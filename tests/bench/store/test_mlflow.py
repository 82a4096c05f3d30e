import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from math import inf, nan
from pathlib import Path
from threading import Barrier

import pytest
from mlflow.system_metrics.metrics import gpu_monitor
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from bench import records
from bench.errors import UserError
from bench.records import Status
from bench.store import system
from bench.store.address import store_uri
from bench.store.mlflow import Point, Store
from tests.bench.conftest import environment


@pytest.fixture
def store(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(empty_store, tmp_path / "results")
    return Store(store_uri(None, tmp_path / "results"))


def _cell_run(store: Store, name: str = "a/b/0", parent: str = "") -> str:
    return store.begin("mnist", name, {records.KIND: "cell", records.CELL: "k"}, parent)


def test_a_run_reads_back_as_it_was_written(store: Store, tmp_path: Path) -> None:
    parent = store.begin("mnist", "mnist 120 s", {records.KIND: "suite"})
    run_id = _cell_run(store, parent=parent)
    store.params(run_id, {"model": "convlstm", "budget.seconds": 120})
    store.points(run_id, [Point.now("val/mse", value, step) for step, value in [(2, 0.5), (1, 1)]])
    store.data_set(run_id, "moving_mnist", "datasets.moving_mnist", {"test": "abc"})
    (tmp_path / "log.txt").write_text("hello", encoding="utf-8")
    store.attach(run_id, tmp_path / "log.txt")
    store.end(run_id, Status.DONE)
    (run,) = store.cells("mnist")
    assert (run.run_id, run.name) == (run_id, "a/b/0")
    assert run.page == f"http://127.0.0.1:5000/#/experiments/1/runs/{run_id}"
    assert run.params == {"model": "convlstm", "budget.seconds": "120"}
    assert run.tags[records.STATUS] == "done"
    assert run.tags["mlflow.parentRunId"] == parent == store.latest_invocation("mnist")
    assert store.curve(run_id, "val/mse") == [(1, 1.0), (2, 0.5)]
    local = store.artifact(run_id, "log.txt")
    assert local is not None
    assert local.read_text(encoding="utf-8") == "hello"
    assert store.artifact(run_id, "absent.txt") is None


def test_a_curve_read_from_sqlite_is_what_mlflow_tells(store: Store) -> None:
    run_id = _cell_run(store)
    told = [(1, 9.0, 3), (1, 2.0, 5), (1, 1.0, 4), (2, nan, 1), (3, inf, 2), (0, -inf, 7)]
    store.points(run_id, [Point("val/mse", value, step, at) for step, value, at in told])
    history = store._client.get_metric_history(run_id, "val/mse")
    last = {m.step: m.value for m in sorted(history, key=lambda m: m.timestamp)}
    curve, none = store.curves_of(run_id, ("val/mse", "absent"))
    assert repr(curve) == repr(sorted(last.items()))  # NaN is not equal to itself
    assert dict(curve)[1] == 2
    assert none == []


def test_cells_that_begin_at_the_same_moment_may_name_the_same_data(store: Store) -> None:
    runs = [_cell_run(store, f"a/b/{seed}") for seed in range(4)]
    together = Barrier(len(runs))

    def name_data(run_id: str) -> None:
        for number in range(5):
            together.wait()
            store.data_set(run_id, "moving_mnist", "datasets.moving_mnist", {"test": str(number)})

    with ThreadPoolExecutor(len(runs)) as pool:
        assert [*pool.map(name_data, runs)] == [None] * len(runs)


def test_a_resumed_run_is_running_again_under_its_new_parent(store: Store) -> None:
    run_id = _cell_run(store)
    for _ in range(2):  # a kill may leave a run half described: doing it again must do no harm
        store.params(run_id, {"model": "convlstm"})
        store.data_set(run_id, "moving_mnist", "datasets.moving_mnist", {"test": "abc"})
    store.end(run_id, Status.FAILED, "it broke")
    assert store.resume(run_id, "new parent")
    (run,) = store.cells("mnist")
    assert run.tags[records.STATUS] == "running"
    assert run.tags[records.ERROR] == ""
    assert run.tags["mlflow.parentRunId"] == "new parent"
    assert len(store._client.get_run(run_id).inputs.dataset_inputs) == 1
    assert not store.resume("0" * 32)


def test_points_sent_again_are_recorded_once(store: Store) -> None:
    run_id = _cell_run(store)
    points = [Point.now("train/loss", step / 10, step) for step in range(1500)]
    store.points(run_id, points)
    store.points(run_id, [*points, Point.now("train/loss", 1.0, 1500)])
    assert len(store._client.get_metric_history(run_id, "train/loss")) == 1501


def test_the_newest_run_comes_first(store: Store) -> None:
    runs = [_cell_run(store, name) for name in ("first", "second")]
    assert [run.run_id for run in store.cells("mnist")] == runs[::-1]


def test_a_suite_without_runs_has_none(store: Store) -> None:
    assert store.cells("absent") == []
    assert store.latest_invocation("absent") is None
    assert store.suites() == []


def test_a_moved_results_folder_keeps_its_artifacts(store: Store, tmp_path: Path) -> None:
    run_id = _cell_run(store)
    (tmp_path / "log.txt").write_text("hello", encoding="utf-8")
    store.attach(run_id, tmp_path / "log.txt")
    shutil.move(tmp_path / "results", tmp_path / "elsewhere")
    moved = Store(store_uri(None, tmp_path / "elsewhere"))
    assert moved.artifact(run_id, "log.txt") is not None
    new = _cell_run(moved)
    moved.attach(new, tmp_path / "log.txt")
    assert not (tmp_path / "results").exists()


def test_two_processes_may_create_the_store_at_once(tmp_path: Path) -> None:
    """One process that has imported all makes the second, so that both begin in one moment."""
    code = """
import os, sys
from bench.store.mlflow import Store
other = os.fork()
Store(sys.argv[1]).experiment("a")
if other:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
"""
    line = [sys.executable, "-c", code, store_uri(None, tmp_path)]
    assert subprocess.run(line, env=environment(), check=False).returncode == 0


def test_a_store_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database", encoding="utf-8")
    with pytest.raises(UserError, match="cannot open the MLflow store") as caught:
        Store(store_uri(None, tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [None, "http://flag"])
def test_the_flag_goes_before_the_environment(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert store_uri(given, tmp_path) == (given or "http://environment")


def test_a_long_error_is_cut_to_what_mlflow_takes(store: Store) -> None:
    run_id = _cell_run(store)
    store.end(run_id, Status.FAILED, "x" * 20_000)
    (run,) = store.cells("mnist")
    assert run.tags[records.ERROR].startswith("xxx")


def test_mlflow_sends_nothing_home() -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.parametrize("damaged", ["", "[{", '[{"name": "a"}]', '{"a": 1}', "[1]"])
def test_a_damaged_plan_counts_for_nothing(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: str
) -> None:
    run_id = store.begin("mnist", "mnist 120 s", {records.KIND: "suite"})
    plan = tmp_path / records.PLAN
    plan.write_text(damaged, encoding="utf-8")
    store.attach(run_id, plan)
    assert store.planned("mnist") == []
    assert "is damaged" in capsys.readouterr().err


def test_the_page_to_begin_with_is_that_of_the_newest_suite(store: Store) -> None:
    assert store.pages("http://a:80") == {}
    _cell_run(store)
    store.begin("later", "a/b/0", {records.KIND: "cell"})
    for _ in range(2):
        pages = store.pages("http://a:80/")
        assert [*pages] == ["later", "mnist"]
    tried = store.begin("later-tuning", "a/b/0/trial 1", {records.KIND: "cell"})
    store.params(tried, {"trial": "1"})
    assert [*store.pages("http://a:80")] == ["later", "mnist", "later-tuning"]
    newest = store.experiment("later")
    assert pages["later"].startswith(f"http://a:80/#/experiments/{newest}/runs?")


def test_a_deleted_run_is_gone_with_its_artifacts(store: Store, tmp_path: Path) -> None:
    run_id = _cell_run(store)
    (tmp_path / "deep").mkdir()
    for name in ("log.txt", "deep/table.csv"):
        (tmp_path / name).write_text("12345", encoding="utf-8")
    store.attach(run_id, tmp_path / "log.txt")
    store.attach(run_id, tmp_path / "deep", "deep")
    assert store.size_bytes(run_id) == 10
    artifact = store.artifact(run_id, "log.txt")
    store.delete(run_id)
    assert artifact is not None
    assert not artifact.exists()
    assert store.cells("mnist") == []
    assert store.run(run_id) is None


@pytest.mark.parametrize(("gpu", "watched"), [("b", ["GPU-b"]), ("", [])])
def test_a_cell_records_its_own_gpu_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch, gpu: str, watched: list[str]
) -> None:
    every = gpu_monitor.GPUMonitor.__new__(gpu_monitor.GPUMonitor)
    every.gpu_handles = ["GPU-a", "GPU-b"]
    monkeypatch.setattr(SystemMetricsMonitor, "_initialize_gpu_monitor", lambda _: every)
    monkeypatch.setattr(SystemMetricsMonitor, "start", lambda _: None)
    monkeypatch.setattr(system, "_uuid", lambda handle: handle.removeprefix("GPU-"))
    with store.system_metrics(_cell_run(store), False, gpu):
        assert every.gpu_handles == watched
