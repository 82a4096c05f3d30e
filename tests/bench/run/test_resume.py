"""Ctrl-C keeps the state of a cell and changes no figure; `test_chaos.py` has the kills."""

import shutil
import signal
from pathlib import Path

import pytest
from filelock import FileLock

from bench import cli, records
from bench.errors import UserError
from bench.store.mlflow import RecordedCell, Store
from tests.bench.conftest import SLOW_STEPS, run_here, start, wait_for_a_checkpoint


def _run(suite: Path, results: Path) -> RecordedCell:
    done = run_here("run", "--suite", suite, "--results", results, report=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = _cells(results)
    return run


def _cells(results: Path) -> list[RecordedCell]:
    """Those that are trained; copy_last stands beside them."""
    cells = Store(f"sqlite:///{results}/mlflow.db").cells("slow")
    return [cell for cell in cells if cell.params["model"] == "Slow"]


def _quality(run: RecordedCell) -> dict[str, float]:
    return {k: v for k, v in run.metrics.items() if k.startswith(("test/", "val/", "train/"))}


def test_ctrl_c_changes_no_figure(slow_suite: Path, empty_store: Path, tmp_path: Path) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    shutil.copytree(empty_store, calm)
    shutil.copytree(empty_store, rough)
    undisturbed = _run(slow_suite, calm)
    beside = ("--models", "copy_last", "--results", rough)
    assert run_here("run", "--suite", slow_suite, *beside, report=False).returncode == 0
    process = start(slow_suite, rough)
    wait_for_a_checkpoint(rough, process, newer=0.0)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "stopping: what runs is being saved" in output
    assert output.rstrip().endswith("stopped, a cell is not done: the same line goes on")
    assert "1 failed" not in output
    assert [cell.tags[records.STATUS] for cell in _cells(rough)] == ["interrupted"]
    run = _run(slow_suite, rough)
    assert _quality(run) == _quality(undisturbed)
    assert len(_cells(rough)) == 1
    assert Store(f"sqlite:///{rough}/mlflow.db").open_runs("slow") == []
    assert run.metrics["train/steps"] == SLOW_STEPS
    _the_curve_is_whole(rough, run, calm, undisturbed)


def _the_curve_is_whole(
    rough: Path, run: RecordedCell, calm: Path, undisturbed: RecordedCell
) -> None:
    curves = [
        Store(f"sqlite:///{results}/mlflow.db").curve(cell.run_id, records.TRAIN_LOSS)
        for results, cell in ((rough, run), (calm, undisturbed))
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) >= SLOW_STEPS / 2


def test_a_second_run_of_a_suite_is_refused_while_the_first_lasts(
    slow_suite: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "results" / "slow" / "run.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock), pytest.raises(UserError, match="already running"):
        cli.main(["run", "--suite", str(slow_suite), "--results", str(tmp_path / "results")])
