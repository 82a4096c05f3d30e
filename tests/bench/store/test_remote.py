"""A remote tracking server does as well as a local store, for cells and for the report."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.records import CHECKPOINT, Status
from bench.store.errors import UnknownRun
from bench.store.mlflow import Store
from tests.bench.conftest import Bench, start, wait_for_a_checkpoint
from tests.bench.servers import Server


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[str]:
    """The address of a server of `bench ui --serve`, which keeps artifacts itself."""
    folder = shutil.copytree(empty_store, tmp_path / "server")
    with Server(folder).running() as address:
        yield address


def test_a_suite_goes_on_after_a_kill_and_is_reported_from_the_server(
    server: str, bench: Bench, slow_suite: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    beside = ("--models", "copy_last", "--tracking-uri", server)
    assert bench("run", "--suite", slow_suite, *beside, report=False).returncode == 0
    began = time.time()
    process = start(slow_suite, results, "--tracking-uri", server)
    wait_for_a_checkpoint(results, process, newer=began)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    done = bench("run", "--suite", slow_suite, "--tracking-uri", server)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on from step" in done.stdout
    assert "View run" not in done.stdout  # MLflow's own chatter
    assert sorted(run.params["model"] for run in Store(server).cells("slow")) == [
        "Slow",
        "copy_last",
    ]
    assert list((tmp_path / "server" / "artifacts").rglob("report.html"))
    kept = Store(f"sqlite:///{tmp_path}/server/mlflow.db").cells("slow")  # without the server
    (run,) = (run for run in kept if run.params["model"] == "Slow")
    beside = Store(f"sqlite:///{tmp_path}/server/mlflow.db").artifact(run.run_id, CHECKPOINT)
    assert beside is not None
    assert beside.is_relative_to(tmp_path / "server" / "artifacts")
    assert not Store(server).resume("0" * 32)
    with pytest.raises(UnknownRun):
        Store(server).end("0" * 32, Status.DONE)
    out = tmp_path / "elsewhere"
    again = bench("report", "--suite", "slow", "--tracking-uri", server, "--out", out)
    assert again.returncode == 0, again.stderr
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Slow" in page
    assert f'href="{server}/#/experiments/' in page
    assert list((out / "plots").glob("*frames*.png"))
