"""A server that is away for a while costs nothing: points and results are sent when it is back."""

import shutil
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.run import patience
from bench.run.attempt import Attempt
from bench.store.mlflow import RecordedCell, Store
from tests.bench.conftest import run_here
from tests.bench.servers import Server, postgresql

NOT_REPEATED = ("system/", "time/", "speed/", "memory/", "conditions/")


def _points(store: Store, run: RecordedCell) -> dict[tuple[str, int], float]:
    """Every recorded value of what no two runs differ in, each recorded once."""
    points = [point for point in store.history(run.run_id, ()) if "system/" not in point.key]
    doubled = [key for key, n in Counter((p.key, p.step) for p in points).items() if n > 1]
    assert not doubled
    return {(p.key, p.step): p.value for p in points if not p.key.startswith(NOT_REPEATED)}


@pytest.mark.timeout(900)  # two starts of a server
def test_a_server_on_postgresql_that_is_killed_in_a_run_costs_nothing(
    tmp_path: Path, empty_store: Path, user_suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies as the first cell trains, which ends without it; it is back once the second waits."""
    text = user_suite.read_text(encoding="utf-8").replace('"copy_last", ', "")
    user_suite.write_text(text.replace("[evaluation]", "seeds = [0, 1]\n[evaluation]"), "utf-8")
    calm = shutil.copytree(empty_store, tmp_path / "calm")
    assert run_here("run", "--suite", user_suite, "--results", calm, report=False).returncode == 0
    results, happened = tmp_path / "results", list[str]()
    save = Attempt.stretch_done
    with postgresql() as database:
        server = Server(tmp_path / "server", database)
        server.results.mkdir()
        with server.running() as address:

            def kill(attempt: Attempt) -> None:
                if not happened:
                    happened.append("killed")
                    server.kill()
                save(attempt)

            def wait(seconds: float) -> None:
                happened.append("waited for")
                assert [*results.glob("checkpoints/*/record.json")]  # the first cell ended
                server.start()

            monkeypatch.setattr(Attempt, "stretch_done", kill)
            times = SimpleNamespace(monotonic=time.monotonic, sleep=wait)
            monkeypatch.setattr(patience, "time", times)
            words = ["run", "--suite", user_suite, "--results", results, "--tracking-uri", address]
            done = run_here(*words)
            assert done.returncode == 0, done.stdout + done.stderr
            assert happened == ["killed", "waited for"]
            assert "waiting for it, 15 min at most" in done.stdout
            assert not [*results.glob("checkpoints/*")]
            undisturbed, store = Store(f"sqlite:///{calm}/mlflow.db"), Store(address)
            for name, run in _cells(undisturbed).items():
                ours = _cells(store)[name]
                assert ours.is_done
                assert _points(store, ours) == _points(undisturbed, run)
            assert store.open_runs("own") == []
            page = results / "own" / "report" / "report.html"
            assert "Tiny" in page.read_text(encoding="utf-8")


def _cells(store: Store) -> dict[str, RecordedCell]:
    cells = store.cells("own")
    assert len(cells) == 2
    return {run.name: run for run in cells}
