"""Finished cells are counted in, or scored anew from their weights, wherever they can be."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import records
from bench.store.mlflow import RecordedCell, Store
from tests.bench.conftest import SUITE, USER_MODELS, run_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A folder with the finished suite `own.toml` and its results."""
    folder = tmp_path_factory.mktemp("rescore")
    shutil.copytree(empty_store, folder / "results")
    (folder / "mine.py").write_text(USER_MODELS, encoding="utf-8")
    _suite(folder, "own")
    done = _bench(folder, "run", "--suite", folder / "own.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _suite(folder: Path, name: str, **replaced: str) -> Path:
    text = SUITE.format(models=folder / "mine.py")
    for key, value in replaced.items():
        text = text.replace(f"{key} = 4", f"{key} = {value}")
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _bench(folder: Path, *words: object, report: bool = False) -> subprocess.CompletedProcess[str]:
    return run_here(*words, "--results", folder / "results", report=report)


def _store(folder: Path) -> Store:
    return Store(f"sqlite:///{folder}/results/mlflow.db")


def _newest(folder: Path, suite: str) -> dict[str, RecordedCell]:
    return {run.name: run for run in reversed(_store(folder).cells(suite))}


def test_other_test_clips_score_the_weights_anew(folder: Path) -> None:
    before = _newest(folder, "own")
    done = _bench(folder, "run", "--suite", _suite(folder, "fewer", test_clips="3"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rescore" in done.stdout
    after = _newest(folder, "fewer")
    assert set(after) == set(before)
    for name, run in after.items():
        old = before[name]
        assert run.tags[records.WEIGHTS_OF] == old.run_id
        assert run.tags[records.TRAINED] == old.tags[records.TRAINED]
        assert run.params["test_clips"] == "3"
        assert run.metrics["speed/predict_frames_per_second"] > 0
        assert run.metrics["test/mse"] != old.metrics["test/mse"]
        same = [k for k in old.metrics if k.startswith(("train/", "val/", "time/train"))]
        assert {k: run.metrics[k] for k in same} == {k: old.metrics[k] for k in same}
    unchanged = {name: run.metrics for name, run in _newest(folder, "own").items()}
    assert unchanged == {name: run.metrics for name, run in before.items()}


def test_a_suite_with_the_same_cells_counts_them_in(folder: Path) -> None:
    counted = _bench(folder, "run", "--suite", _suite(folder, "third"), report=True)
    assert counted.returncode == 0, counted.stdout + counted.stderr
    assert "2 done; nothing to run" in counted.stdout
    assert not _store(folder).cells("third")
    table = (folder / "results" / "third" / "report" / "report.md").read_text(encoding="utf-8")
    assert "Tiny" in table


def test_the_line_that_runs_a_cell_again_needs_no_suite_file(folder: Path) -> None:
    run = _newest(folder, "own")["Tiny/moving_mnist/0"]
    words = run.tags[records.COMMAND].split()
    (folder / "own.toml").write_text("what it was is settled already", encoding="utf-8")
    done = _bench(folder, *words[3:5], "--profile")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ten costliest operations" in done.stdout
    again = _newest(folder, "own")["Tiny/moving_mnist/0"]
    assert again.run_id != run.run_id
    assert again.metrics["test/mse"] == run.metrics["test/mse"]
    _suite(folder, "own")


def test_weights_that_are_gone_are_trained_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "holds", lambda *_: False)
    done = _bench(folder, "run", "--suite", _suite(folder, "other", test_clips="2"), "--dry-run")
    assert "rescore" not in done.stdout
    assert "2 run" in done.stdout


def test_weights_can_be_cleared_and_the_figures_stay(folder: Path) -> None:
    suite = _suite(folder, "own")
    assert _bench(folder, "clean", "weights", "--yes", "--suite", "own").returncode == 0
    for run in _newest(folder, "own").values():
        assert "test/mse" in run.metrics
        assert _store(folder).artifact(run.run_id, records.CHECKPOINT) is None
    assert "2 done; nothing to run" in _bench(folder, "run", "--suite", suite).stdout
