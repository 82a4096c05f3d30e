"""`verify` and `diff` of real cells, as a user types them."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest

from bench import records
from bench.compare.diff import compare
from bench.compare.recorded import Recorded
from bench.store.mlflow import RecordedCell, Store
from tests.bench.conftest import SUITE, USER_MODELS, LauncherHere, run_here

STEPS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Results of a small suite under a budget in steps, and of one in seconds."""
    folder = tmp_path_factory.mktemp("compare")
    shutil.copytree(empty_store, folder / "results")
    (folder / "mine.py").write_text(USER_MODELS, encoding="utf-8")
    text = SUITE.format(models=folder / "mine.py").replace('"copy_last", ', "")
    text = text.replace("test_clips = 4", "test_clips = 10")  # of fewer there is no interval
    timed = text.replace(f"{STEPS}steps", "0.2s").replace("evaluations = 4", "evaluations = 1")
    for name, content, seeds in (("counted", text, "01"), ("timed", timed, "7")):
        (folder / f"{name}.toml").write_text(content, encoding="utf-8")
        done = _bench(folder, "run", "--suite", folder / f"{name}.toml", "--seeds", *seeds)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _bench(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return run_here(*words, "--results", folder / "results", report=False)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> None:
    """Repetitions run in this process, in a store that is made already."""

    class Workplace(TemporaryDirectory[str]):
        def __enter__(self) -> str:
            shutil.copytree(empty_store, self.name, dirs_exist_ok=True)
            return super().__enter__()

    monkeypatch.setattr("bench.compare.verify.TemporaryDirectory", Workplace)
    monkeypatch.setattr("bench.compare.repeat.LocalLauncher", LauncherHere)


def _runs(folder: Path) -> dict[str, RecordedCell]:
    store = Store(f"sqlite:///{folder}/results/mlflow.db")
    return {run.name: run for suite in ("counted", "timed") for run in store.cells(suite)}


def test_a_repeated_cell_is_bit_identical_and_its_store_as_before(folder: Path) -> None:
    before = _runs(folder)
    done = _bench(folder, "verify", "Tiny/moving_mnist/0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit-identical" in done.stdout
    assert "code         as recorded" in done.stdout
    assert _runs(folder) == before


@pytest.fixture
def altered(folder: Path, tmp_path: Path) -> tuple[Path, RecordedCell, Store]:
    """A copy of the results whose scores of sequence 1 are others, and PyTorch another."""
    shutil.copytree(folder / "results", tmp_path / "results")
    store = Store(f"sqlite:///{tmp_path}/results/mlflow.db")
    run = next(run for run in store.cells("counted") if run.params["seed"] == "0")
    table = store.artifact(run.run_id, records.PER_FRAME_TABLE)
    assert table is not None
    scores = pd.read_parquet(table)
    scores.loc[scores["sequence"] == 1, "mse"] += 1.0
    scores.to_parquet(table, index=False)
    store.tag(run.run_id, {records.TRAINED: "another", "bench.torch": "2.0.0"})
    return tmp_path, run, store


def test_a_result_that_does_not_come_again_differs_and_says_where_and_why(
    altered: tuple[Path, RecordedCell, Store],
) -> None:
    place, run, store = altered
    environment = store.artifact(run.run_id, records.ENVIRONMENT)
    assert environment is not None
    then = json.loads(environment.read_bytes())
    then["threads"]["torch"] = 64
    environment.write_text(json.dumps(then), encoding="utf-8")
    done = _bench(place, "verify", run.run_id)
    assert done.returncode == 1, done.stdout + done.stderr
    printed = " ".join(done.stdout.split())
    for said in ("differs", "mse of sequence 1, frame 1", "torch 2.0.0 then", "threads.torch 64"):
        assert said in printed


def test_a_cell_whose_time_was_counted_is_repeated_for_the_steps_it_took(folder: Path) -> None:
    steps = int(_runs(folder)["Tiny/moving_mnist/7"].metrics["train/steps"])
    done = _bench(folder, "verify", "Tiny/moving_mnist/7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"repeated as the {steps} steps" in " ".join(done.stdout.split())


def test_the_loss_of_the_first_steps_alone_can_be_verified(folder: Path) -> None:
    done = _bench(folder, "verify", "Tiny/moving_mnist/1", "--steps", 3)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"first 3 of {STEPS} steps" in done.stdout


def test_a_repetition_that_fails_is_no_identical_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise LookupError("no such kernel")

    monkeypatch.setattr("bench.train.step.Training.step", fails)
    for more in ([], ["--steps", "3"]):
        done = _bench(folder, "verify", "Tiny/moving_mnist/1", *more)
        assert done.returncode == 1
        assert "no such kernel" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Tinny/moving_mnist/0"], "did you mean 'Tiny/moving_mnist/"),
        (["Tiny/moving_mnist/0", "--steps", "0"], "--steps is from 1"),
        (["Tiny/moving_mnist/0", "--steps", str(STEPS)], f"to {STEPS - 1}"),
        (["Tiny/moving_mnist/7", "--steps", "2"], "--steps needs a budget in steps"),
    ],
)
def test_a_mistake_is_said_in_a_line(folder: Path, words: list[str], said: str) -> None:
    done = _bench(folder, "verify", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_of_an_older_version_without_its_cell_is_refused(
    altered: tuple[Path, RecordedCell, Store],
) -> None:
    place, run, store = altered
    settled = store.artifact(run.run_id, records.SETTLED)
    assert settled is not None
    settled.unlink()
    done = _bench(place, "verify", run.run_id)
    assert done.returncode == 2
    assert records.SETTLED in done.stderr


def test_diff_of_two_seeds_tells_the_seed_and_the_scores_with_intervals(folder: Path) -> None:
    names = ("Tiny/moving_mnist/0", "Tiny/moving_mnist/1")
    found = json.loads(_bench(folder, "diff", *names, "--format", "json").stdout)
    differing = {title: rows for title, rows in found["sections"].items() if rows}
    assert differing == {"settings": [{"name": "seed", "first": "0", "second": "1"}]}
    (mse,) = (score for score in found["scores"] if score["name"] == "test/mse")
    paired = mse["difference"]
    assert paired["low"] <= paired["value"] <= paired["high"]
    relative = 100 * (mse["second"] / mse["first"] - 1)
    assert paired["value"] == pytest.approx(relative, abs=0.01)
    table = _bench(folder, "diff", *names).stdout
    assert "seed" in table
    assert "budget" not in table


def test_diff_of_runs_that_are_alike_is_one_line(folder: Path) -> None:
    done = _bench(folder, "diff", "Tiny/moving_mnist/0", "Tiny/moving_mnist/0")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1


def test_diff_tells_what_one_run_lacks(altered: tuple[Path, RecordedCell, Store]) -> None:
    place, run, store = altered
    for name in (records.ENVIRONMENT, records.PER_FRAME_TABLE):
        path = store.artifact(run.run_id, name)
        assert path is not None
        path.unlink()
    done = _bench(place, "diff", run.run_id, "Tiny/moving_mnist/1", "--format", "json")
    found = json.loads(done.stdout)
    assert found["sections"]["environment"][0]["first"] == "not recorded"
    assert all(score["difference"] is None for score in found["scores"])


def test_diff_gives_ssim_in_points_and_a_ratio_no_interval(folder: Path) -> None:
    """SSIM may be 0 or less, and a skill is the ratio of two means over all sequences."""
    names = ("Tiny/moving_mnist/0", "Tiny/moving_mnist/1")
    found = json.loads(_bench(folder, "diff", *names, "--format", "json").stdout)
    scores = {score["name"]: score for score in found["scores"]}
    ssim, psnr = scores["test/ssim"], scores["test/psnr"]
    points = 100 * (ssim["second"] - ssim["first"])
    assert ssim["unit"] == "points"
    assert ssim["difference"]["value"] == pytest.approx(points, abs=1e-3)
    assert psnr["unit"] == "dB"
    decibels = psnr["second"] - psnr["first"]
    assert psnr["difference"]["value"] == pytest.approx(decibels, abs=1e-3)
    assert scores["test/skill"]["difference"] is None


def test_runs_that_validate_differently_are_not_alike(
    altered: tuple[Path, RecordedCell, Store],
) -> None:
    """As two repetitions of a trial, which has no test."""
    _, run, store = altered
    other = replace(run, metrics=run.metrics | {"val/best_mse": 9.0})
    found = compare(Recorded(store, run), Recorded(store, other))
    assert not found.is_empty
    assert [score.name for score in found.scores] == ["val/best_mse"]
