"""A suite whose cells run as jobs: the same figures, whatever becomes of the driver."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bench import records
from bench.run.leftovers import Leftovers
from bench.run.record import folder_tag
from bench.store.mlflow import RecordedCell, Store
from tests.bench.conftest import Bench, run_here, start, wait_for_a_checkpoint
from tests.bench.run.launchers.loopback_slurm import LoopbackSlurm
from tests.performance.chaos import Ended, store_in, write_suite

CELLS = 2


@pytest.mark.timeout(900)
def test_jobs_of_slurm_record_what_a_run_here_does_though_the_driver_is_killed(
    slurm: LoopbackSlurm, server: str, tmp_path: Path, empty_store: Path
) -> None:
    suite, here, there = write_suite(tmp_path, seeds=[0]), tmp_path / "here", tmp_path / "there"
    shutil.copytree(empty_store, here)
    done = run_here("run", "--suite", suite, "--results", here, report=False)
    assert done.returncode == 0, done.stdout + done.stderr
    words = ("--launch", "slurm", "--tracking-uri", server)
    began = time.time()
    driver = start(suite, there, *words)
    wait_for_a_checkpoint(there, driver, newer=began)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate(timeout=60)
    done = run_here("run", "--suite", suite, "--results", there, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "attached to" in done.stdout
    Ended.read(store_in(here), CELLS).check_same(Ended.read(server, CELLS))
    assert len(Store(server).cells("chaos")) == CELLS  # none twice


def _trained(uri: str) -> tuple[RecordedCell, dict[str, np.ndarray]]:  # type: ignore[type-arg]
    """The trained cell of a store, and its weights."""
    store = Store(uri)
    (run,) = (one for one in store.cells("own") if one.params["model"] == "Tiny")
    weights = store.artifact(run.run_id, records.CHECKPOINT)
    assert weights is not None
    return run, load_file(weights)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("options", "ran_on"),
    [(["cpus=2"], None), (["nodes=2", "partition=both"], "2 nodes")],
    ids=["one node", "two nodes"],
)
def test_a_job_of_two_devices_has_the_weights_that_one_process_has_here(
    slurm: LoopbackSlurm,
    server: str,
    tmp_path: Path,
    empty_store: Path,
    user_suite: Path,
    options: list[str],
    ran_on: str | None,
) -> None:
    here, there = shutil.copytree(empty_store, tmp_path / "here"), tmp_path / "there"
    words = ["run", "--suite", user_suite, "--results"]
    assert run_here(*words, here, report=False).returncode == 0
    words += [there, "--devices", 2, "--tracking-uri", server, "--launch", "slurm"]
    done = run_here(*words, "--launch-options", *options, report=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (one, weights), (two, others) = _trained(store_in(here)), _trained(server)
    assert (two.params["devices"], two.tags.get(records.RAN_ON)) == ("2", ran_on)
    for name, values in weights.items():
        np.testing.assert_allclose(others[name], values, rtol=0, atol=1e-6)
    for key in ("test/mse", "test/ssim", "val/mse", "train/loss", "train/samples"):
        assert two.metrics[key] == pytest.approx(one.metrics[key], rel=1e-4), key


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit's Popen
def test_executors_of_one_machine_run_a_suite(bench: Bench, user_suite: Path) -> None:
    pytest.importorskip("submitit", reason="needs submitit: pip install 'nextframe[slurm]'")
    words = ("run", "--suite", user_suite, "--launch", "slurm", "--launch-options")
    done = bench(*words, "executor=local", "parallel=2", report=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "submitted to submitit" in done.stdout
    assert bench(*words, "executor=local", report=False).returncode == 0  # all is done


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--launch", "slurm"], "writes from several machines, which sqlite:///"),
        (["--launch-options", "time=soon"], "launch.time: 'soon' is no time: write 90m, 8h or 2d"),
        (
            ["--launch-options", "memory=16GB"],
            "launch.memory: '16GB' is no amount of memory: write",
        ),
        (["--launch-options", "address=h:1"], "cells run here: add --launch ray\n"),
        (
            ["--launch-options", "copies=scratch"],
            "launch.copies: 'scratch' is no folder of each machine: begin with / or a $VARIABLE",
        ),
        (["--launch-options", "time=1.2.3h"], "launch.time: '1.2.3h' is no time: write 90m, 8h or"),
        (["--launch-options", "partitoin=gpu"], "did you mean 'partition'?"),
        (["--launch-options", "gpu"], "'gpu' is no option: write KEY=VALUE"),
        (["--launch-options", "cpus=0"], "launch.cpus:"),
        (["--launch-options", "cpus=1", "nodes=2"], "nodes is of jobs, and cells run here: add"),
        (
            ["--launch", "slurm", "--launch-options", "nodes=2"],
            "--devices 1 cannot be spread equally over 2 nodes: choose --devices 2 or a multiple",
        ),
    ],
)
def test_a_mistake_is_one_line(
    bench: Bench, user_suite: Path, words: list[str], error: str
) -> None:
    done = bench("run", "--suite", user_suite, *words)
    assert done.returncode == 2
    assert error in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_an_executor_of_one_machine_has_no_further_nodes(bench: Bench, user_suite: Path) -> None:
    pytest.importorskip("submitit", reason="needs submitit: pip install 'nextframe[slurm]'")
    words = ("--launch", "slurm", "--devices=2", "--launch-options", "nodes=2", "executor=local")
    done = bench("run", "--suite", user_suite, *words)
    assert done.returncode == 2
    assert "executor=local has this machine alone: leave out nodes" in done.stderr


def test_without_slurm_there_is_one_line(
    bench: Bench, user_suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="needs submitit: pip install 'nextframe[slurm]'")
    monkeypatch.setenv("PATH", "")
    words = ("--launch", "slurm", "--tracking-uri", "http://127.0.0.1:9")
    done = bench("run", "--suite", user_suite, *words)
    assert (done.returncode, "there is no sbatch here" in done.stderr) == (2, True), done.stderr


def test_options_come_from_the_suite_and_change_no_cell(user_suite: Path) -> None:
    from bench.cli.options import Overrides
    from bench.suite.settle import settle
    from bench.suite.suite import load_suite

    before = load_suite(str(user_suite))
    table = '\n[launch]\npartition = "gpu"\ntime = "8h"\nsbatch = {qos = "long"}\n'
    user_suite.write_text(user_suite.read_text(encoding="utf-8") + table, encoding="utf-8")
    options = ("time=2d", "cpus=4", "sbatch.constraint=v100")
    suite = Overrides(launch="slurm", launch_options=options).apply(load_suite(str(user_suite)))
    assert suite.launch.model_dump(exclude_defaults=True) == {
        "launcher": "slurm",
        "partition": "gpu",
        "time": "2d",
        "cpus": 4,
        "sbatch": {"qos": "long", "constraint": "v100"},
    }
    assert [cell.scored for cell in settle(suite)] == [cell.scored for cell in settle(before)]


def test_a_cell_whose_job_waits_is_not_dead(tmp_path: Path, empty_store: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(empty_store, results)
    store = Store(store_in(results))
    tags = {records.KIND: "cell", records.FOLDER: folder_tag(results), records.STATUS: "running"}
    for key in ("waits", "dead"):
        store.begin("own", key, tags | {records.TRAINED: key})
    Leftovers(results, "own", print, {"waits"}.__contains__).close(store)
    assert [run.name for run in store.open_runs("own")] == ["waits"]
