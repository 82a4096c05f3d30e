"""A cell on two devices: two processes, gloo between them, one record."""

import contextlib
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench import records
from bench.console import SCREEN
from bench.errors import UserError
from bench.records import Status
from bench.run.checkpoint import Checkpoint
from bench.run.events import Event, Finished, Note, Progress
from bench.run.tasks import VARIABLE, listening
from bench.run.worker import Worker
from bench.store.mlflow import Store
from bench.suite.cell import Cell
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from tests.bench.conftest import Bench, environment

MODELS = """

import torch.distributed as dist

def in_second():
    return dist.is_initialized() and dist.get_rank() == 1

class Killed(Tiny):
    def training_loss(self, batch):
        if in_second():
            os.kill(os.getpid(), 9)
        return super().training_loss(batch)

class RunsOutInSecond(Tiny):
    def training_loss(self, batch):
        return torch.empty(1 << 50).sum() if in_second() else super().training_loss(batch)
"""


@pytest.fixture
def results(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copytree(empty_store, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def settled(user_suite: Path, user_models: Path) -> Callable[..., Cell]:
    """Settles the cell of a user's model on two devices."""
    with user_models.open("a", encoding="utf-8") as file:
        file.write(MODELS)

    def cell(model: str, **overrides: object) -> Cell:
        asked: dict[str, object] = {"device": "cpu", "devices": 2, **overrides}
        models = [f"{user_models}:{model}"]
        return settle(load_suite(str(user_suite)).with_overrides(models=models, **asked))[0]

    return cell


def _store(results: Path) -> Store:
    return Store(f"sqlite:///{results}/mlflow.db")


def _ranks() -> list[psutil.Process]:
    """The processes that this one has started for a cell on several devices."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # one of another test that has ended
            if any("run.rank" in word for word in child.cmdline()):
                found.append(child)
    return found


def _work(
    cell: Cell,
    results: Path,
    told: Callable[[Event], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    devices: int | None = None,
) -> Finished:
    one = Worker(cell, _store(results), results, SCREEN, devices=devices)
    try:
        return one.work(told, stop)
    finally:
        assert _ranks() == []


def test_a_cell_on_two_devices_is_stopped_and_gone_on_with_on_one(
    settled: Callable[..., Cell], results: Path
) -> None:
    cell = settled("Tiny", budget="40steps")
    told: list[Event] = []

    def stop() -> bool:
        """As Ctrl-C, which comes to all processes, once there are four steps."""
        begun = any(isinstance(e, Progress) and e.spent.startswith("4") for e in told)
        for rank in _ranks() if begun else ():
            rank.send_signal(signal.SIGINT)
        return begun

    end = _work(cell, results, told.append, stop)
    assert (end.status, end.error) == (Status.INTERRUPTED, "stopped before its end")
    assert Checkpoint(results, cell.trained).has_state

    told.clear()
    end = _work(cell, results, told.append, devices=1)
    assert (end.status, end.error) == (Status.DONE, "")
    assert any(isinstance(e, Note) and "going on from step" in e.text for e in told)
    assert (end.metrics["train/steps"], end.metrics["train/samples"]) == (40, 80)
    run = _store(results).run(end.run_id)
    assert run is not None
    assert run.params["devices"] == "2"
    assert run.tags[records.DEVICE].startswith("2 x ")
    assert run.tags[records.RAN_ON] == "1 devices"


def test_two_devices_record_what_one_does(
    bench: Bench, user_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NTASKS": "2", "PROCID": "1", "JOB_ID": "1", "JOB_NAME": "x"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)  # the tasks of a job are no ranks of ours
    for devices in (1, 2):
        ran = bench("run", "--suite", user_suite, "--devices", devices, report=False)
        assert ran.returncode == 0, ran.stdout
    cells = _store(tmp_path / "results").cells("own")
    two, one, baseline = sorted(cells, key=lambda run: run.started, reverse=True)
    assert [run.params.get("devices") for run in (one, two)] == [None, "2"]
    for key in ("test/mse", "test/ssim", "val/mse", "train/loss", "train/samples", "train/flops"):
        assert two.metrics[key] == pytest.approx(one.metrics[key], rel=1e-4), key
    assert baseline.params["model"] == "copy_last"  # which runs once: there is nothing to share


@pytest.mark.parametrize(
    ("model", "status", "said"),
    [
        ("Killed", Status.FAILED, "rank 1 was killed by SIGKILL"),
        ("RunsOutInSecond", Status.OUT_OF_MEMORY, "rank 1: "),
    ],
)
def test_a_rank_that_dies_ends_the_cell_with_its_name(
    settled: Callable[..., Cell], results: Path, model: str, status: Status, said: str
) -> None:
    end = _work(settled(model), results)
    assert (end.status, said in end.error) == (status, True), end
    run = _store(results).run(end.run_id)
    assert run is not None
    assert run.tags[records.ERROR] == end.error


TASK = """
import sys
from pathlib import Path
from bench.run.tasks import become_rank
become_rank(Path(sys.argv[1]), "7.0", "127.0.0.1", 1, 0)
"""


def test_a_rank_on_another_node_that_dies_ends_the_cell_with_its_name(
    settled: Callable[..., Cell], results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a task of a job of SLURM is one, whose node is this machine here."""
    meeting = tmp_path / "meeting"
    words = [sys.executable, "-c", TASK, str(meeting)]
    with (
        listening(meeting, "7.0", count=2, nodes=2) as tasks,
        subprocess.Popen(words, env=environment()),
    ):
        monkeypatch.setenv(VARIABLE, tasks.model_dump_json())
        end = _work(settled("Killed"), results)
    said = f"rank 1 on {platform.node()} has ended without a word"
    assert (end.status, end.error) == (Status.FAILED, said)
    run = _store(results).run(end.run_id)
    assert run is not None
    assert run.tags[records.RAN_ON] == "2 nodes"


def test_a_batch_that_two_devices_cannot_share_ends_in_one_line(
    bench: Bench, user_suite: Path
) -> None:
    ran: subprocess.CompletedProcess[str] = bench("run", "--suite", user_suite, "--devices", 4)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "Tiny: a batch of 2 clips cannot be divided equally over 4 devices" in ran.stderr


def test_the_number_of_devices_is_part_of_the_key_where_it_is_not_one(
    settled: Callable[..., Cell],
) -> None:
    one, two = settled("Tiny", devices=1), settled("Tiny")
    assert one.trained != two.trained
    assert one.trained == one.changed(devices=1).trained
    assert "devices" not in one.params
    with pytest.raises(UserError, match="devices"):
        settled("Tiny", devices=0)
