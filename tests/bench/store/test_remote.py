"""A remote tracking server does as well as a local store, for cells and for the report."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.records import Status
from bench.store.errors import UnknownRun
from bench.store.mlflow import Store
from tests.bench.conftest import Bench, environment, start, wait_for_a_checkpoint


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[str]:
    """The address of an MLflow server that keeps artifacts itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes((empty_store / "mlflow.db").read_bytes())
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    ours = environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(command, env=ours, **quiet)  # type: ignore[call-overload]
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:  # noqa: S310
                if answer.status == 200:
                    return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.3)
    pytest.fail("the MLflow server did not start")


def test_a_suite_goes_on_after_a_kill_and_is_reported_from_the_server(
    server: str, bench: Bench, slow_suite: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    began = time.time()
    process = start(slow_suite, results, "--tracking-uri", server)
    wait_for_a_checkpoint(results, process, newer=began)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    done = bench("run", "--suite", slow_suite, "--tracking-uri", server)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on from step" in done.stdout
    assert "View run" not in done.stdout  # MLflow's own chatter
    assert len(Store(server).cells("slow")) == 1
    assert list((tmp_path / "server" / "artifacts").rglob("report.html"))
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
