"""The smoke suite, whole: what a user does and sees, on real data and a real store."""

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from bench import records
from bench.store.mlflow import RecordedCell, Store
from tests.bench.conftest import command, environment, run_here

MODELS = {"copy_last", "mean_frame", "convlstm", "predrnn", "maxvit"}


def _bench(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_here(*words, "--results", results)


@pytest.fixture(scope="module")
def smoke(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The results folder after `run --suite smoke`, and what it printed.

    It is a process, as a user's, with one of a cell; the other cells have run in this one before.
    """
    results = tmp_path_factory.mktemp("smoke") / "results"
    shutil.copytree(empty_store, results)
    words = ["run", "--suite", "smoke", "--device", "cpu"]
    others = ["--models", *sorted(MODELS - {"predrnn"})]
    done = run_here(*words, *others, "--results", results, report=False)
    assert done.returncode == 0, done.stdout + done.stderr
    line = command(*words, "--results", str(results))
    done = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return results, done


@pytest.fixture
def runs(smoke: tuple[Path, object]) -> dict[str, RecordedCell]:
    store = Store(f"sqlite:///{smoke[0]}/mlflow.db")
    return {run.params["model"]: run for run in store.cells("smoke")}


def test_every_cell_is_done_and_scored(runs: dict[str, RecordedCell]) -> None:
    assert set(runs) == MODELS
    for run in runs.values():
        assert run.tags[records.STATUS] == "done"
        assert {"test/mse", "test/mae", "test/psnr", "test/ssim"} <= set(run.metrics)
        assert "test/lpips" in run.metrics or records.NOT_MEASURED + "lpips" in run.tags
        assert 0 < run.metrics["test/mse"] < 1


def test_every_cell_says_what_it_cost(runs: dict[str, RecordedCell]) -> None:
    for name in ("convlstm", "predrnn", "maxvit"):
        metrics = runs[name].metrics
        assert (metrics["train/steps"], metrics["train/samples"]) == (4, 8)
        assert set(records.COST) <= set(metrics)
        assert metrics["time/train_seconds"] > 0
        assert runs[name].tags[records.ALLOCATOR]
        assert metrics["train/flops"] > metrics["train/samples"] * metrics["model/flops_per_sample"]
    assert runs["copy_last"].metrics["time/train_seconds"] == 0


def test_the_models_saw_the_same_test_clips(runs: dict[str, RecordedCell]) -> None:
    assert len({run.tags[records.DATA_DIGEST] for run in runs.values()}) == 1


def test_the_artifacts_are_what_the_figures_were_made_of(
    smoke: tuple[Path, object], runs: dict[str, RecordedCell]
) -> None:
    store = Store(f"sqlite:///{smoke[0]}/mlflow.db")
    run = runs["convlstm"]
    paths = {
        name: store.artifact(run.run_id, name)
        for name in (records.PER_FRAME_TABLE, records.SHOWCASE, records.CHECKPOINT)
    }
    table = pd.read_parquet(str(paths[records.PER_FRAME_TABLE]))
    assert len(table) == 8 * 10
    assert table["mse"].mean() == pytest.approx(run.metrics["test/mse"], rel=1e-6)
    by_frame = dict(store.curve(run.run_id, "horizon/mse"))
    assert by_frame == pytest.approx(table.groupby("frame")["mse"].mean().to_dict(), rel=1e-6)
    with np.load(str(paths[records.SHOWCASE])) as showcase:
        assert showcase["prediction"].shape == showcase["truth"].shape == (2, 10, 1, 64, 64)
    weights = load_file(str(paths[records.CHECKPOINT]))
    assert sum(w.numel() for w in weights.values()) >= run.metrics["model/parameters"]


def test_the_log_tells_what_happened(
    smoke: tuple[Path, object], runs: dict[str, RecordedCell]
) -> None:
    store = Store(f"sqlite:///{smoke[0]}/mlflow.db")
    log = store.artifact(runs["convlstm"].run_id, records.LOG)
    assert log is not None
    text = log.read_text(encoding="utf-8")
    assert "train 4/4 steps" in text
    assert text.endswith("convlstm-small/moving_mnist/0: done \n")


def test_the_curves_can_be_plotted_against_seconds(
    smoke: tuple[Path, object], runs: dict[str, RecordedCell]
) -> None:
    store = Store(f"sqlite:///{smoke[0]}/mlflow.db")
    run_id = runs["predrnn"].run_id
    seconds = dict(store.curve(run_id, records.TRAIN_SECONDS))
    for metric in (records.TRAIN_LOSS, "val/mse"):
        steps = [step for step, _ in store.curve(run_id, metric)]
        assert steps
        assert set(steps) <= set(seconds)
    assert [*seconds.values()] == sorted(seconds.values())


def test_the_output_leads_to_the_report_and_to_mlflow(
    smoke: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    results, done = smoke
    page = results / "smoke" / "report" / "report.html"
    assert str(page) in done.stdout
    assert "python -m bench ui" in done.stdout
    text = page.read_text(encoding="utf-8")
    assert all(model in text for model in MODELS)
    with (results / "smoke" / "report" / "table.csv").open(encoding="utf-8") as file:
        assert {row["model"] for row in csv.DictReader(file)} == MODELS


def test_the_report_hangs_on_the_parent_run(smoke: tuple[Path, object]) -> None:
    store = Store(f"sqlite:///{smoke[0]}/mlflow.db")
    parent = store.latest_invocation("smoke")
    assert parent is not None
    report = store.artifact(parent, "report")
    assert report is not None
    assert (report / "report.html").is_file()


def test_doing_it_again_skips_finished_cells(smoke: tuple[Path, object]) -> None:
    words = ["run", "--suite", "smoke", "--device", "cpu"]
    store = Store(f"sqlite:///{smoke[0]}/mlflow.db")
    before = {run.run_id for run in store.cells("smoke")}
    again = run_here(*words, "--results", smoke[0], report=False)
    assert again.returncode == 0
    assert "5 done; nothing to run" in again.stdout
    assert {run.run_id for run in store.cells("smoke")} == before


def test_two_runs_of_a_cell_give_identical_figures(
    smoke: tuple[Path, object], runs: dict[str, RecordedCell]
) -> None:
    words = ["run", "--suite", "smoke", "--device", "cpu"]
    words += ["--models", "predrnn", "--force", "predrnn*"]
    forced = run_here(*words, "--results", smoke[0], report=False)
    assert forced.returncode == 0, forced.stdout
    store = Store(f"sqlite:///{smoke[0]}/mlflow.db")
    newest = next(run for run in store.cells("smoke") if run.params["model"] == "predrnn")
    assert newest.run_id != runs["predrnn"].run_id
    same = [key for key in newest.metrics if key.startswith(("test/", "val/", "train/"))]
    assert {k: newest.metrics[k] for k in same} == {k: runs["predrnn"].metrics[k] for k in same}


def test_ls_cells_tells_their_status(smoke: tuple[Path, object]) -> None:
    listed = _bench(smoke[0], "ls", "cells", "--format", "json")
    rows = json.loads(listed.stdout)
    assert {row["status"] for row in rows} == {"done"}
    assert {row["cell"].split("/")[0].removesuffix("-small") for row in rows} == MODELS


def test_the_report_is_made_anew_from_mlflow_alone(
    smoke: tuple[Path, object], tmp_path: Path
) -> None:
    out = tmp_path / "elsewhere"
    done = _bench(smoke[0], "report", "--suite", "smoke", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert (out / "report.html").stat().st_size > 50_000
