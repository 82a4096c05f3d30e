"""A budget in FLOPs: who can have one, and that what else the machine does changes no figure."""

import shutil
import time
from pathlib import Path

import pytest

from bench import records
from bench.console import SCREEN
from bench.errors import UserError
from bench.run import plan
from bench.run.worker import Worker
from bench.store.mlflow import RecordedCell, Store
from bench.suite.cell import Cell, settle
from bench.suite.suite import load_suite
from bench.train.step import Training
from tests.bench.conftest import Bench

READS = '''

class Reads(Tiny):
    """Looks at a value in training, which no count by shapes can follow."""

    def training_loss(self, batch):
        batch.clip.sum().item()
        return super().training_loss(batch)
'''
OF_TIME = ("time/", "speed/", "memory/", "system/", "conditions/")


@pytest.fixture
def flops_suite(user_suite: Path) -> Path:
    """The user's suite, in FLOPs on a CPU: eight steps of `Tiny`."""
    text = user_suite.read_text(encoding="utf-8").replace(
        '"8steps"', '"120s"\nbudget_on_cpu = "3e6flops"'
    )
    user_suite.write_text(text, encoding="utf-8")
    return user_suite


@pytest.fixture
def reads(user_models: Path) -> str:
    """A model whose FLOPs cannot be counted."""
    user_models.write_text(user_models.read_text(encoding="utf-8") + READS, encoding="utf-8")
    return f"{user_models}:Reads"


def test_a_model_that_cannot_be_counted_is_skipped_before_anything_runs_and_the_others_run(
    bench: Bench, flops_suite: Path, user_models: Path, reads: str, tmp_path: Path
) -> None:
    models = ["copy_last", f"{user_models}:Tiny", reads]
    done = bench(
        "run", "--suite", flops_suite, "--device", "cpu", "--models", *models, report=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Reads/moving_mnist/0 is blocked: its FLOPs cannot be counted" in done.stdout
    assert "Reads/moving_mnist/0: started" not in done.stdout
    runs = Store(f"sqlite:///{tmp_path}/results/mlflow.db").cells("own")
    assert {run.params["model"]: run.tags[records.STATUS] for run in runs} == {
        "copy_last": "done",
        "Tiny": "done",
        "Reads": "skipped",
    }


def test_a_suite_of_nothing_else_is_a_mistake(flops_suite: Path, reads: str) -> None:
    suite = load_suite(str(flops_suite)).with_overrides(models=[reads], device="cpu")
    with pytest.raises(UserError, match="give one in seconds, steps or samples"):
        plan.check(settle(suite))
    plan.check(settle(suite.with_overrides(budget="8steps")))


def test_a_busy_machine_changes_only_times(
    monkeypatch: pytest.MonkeyPatch, slow_suite: Path, empty_store: Path, tmp_path: Path
) -> None:
    suite = load_suite(str(slow_suite)).with_overrides(
        budget="3e6flops", device="cpu", evaluation={"test_clips": 4, "validation_clips": 2}
    )
    (cell,) = settle(suite)
    idle = _figures(cell, tmp_path / "idle", empty_store)
    step = Training.step

    def slow_step(self: Training, number: int, progress: float) -> object:
        time.sleep(0.01 * (number % 3))
        return step(self, number, progress)

    monkeypatch.setattr(Training, "step", slow_step)
    monkeypatch.setattr("bench.train.loop.STRETCH_SECONDS", 0.0)  # other stretches of steps, too
    assert _figures(cell, tmp_path / "busy", empty_store) == idle
    assert idle["train/steps"] > 1


def _figures(cell: Cell, results: Path, empty_store: Path) -> dict[str, float]:
    """All figures of `cell`, run in this process, but those of time and memory."""
    shutil.copytree(empty_store, results)
    store = Store(f"sqlite:///{results / 'mlflow.db'}")
    finished = Worker(cell, store, results, SCREEN).work(lambda _: None, lambda: False)
    assert (finished.status, finished.error) == ("done", "")
    run: RecordedCell
    (run,) = store.cells(cell.suite)
    return {name: v for name, v in run.metrics.items() if not name.startswith(OF_TIME)}


def test_work_is_worth_the_same_on_any_machine_and_seconds_are_not(flops_suite: Path) -> None:
    """A cell whose budget on this device is in FLOPs is the same cell on another CPU."""
    suite = load_suite(str(flops_suite))
    assert {cell.settled_on for cell in settle(suite)} == {""}
    assert "" not in {cell.settled_on for cell in settle(suite.with_overrides(budget="1s"))}
