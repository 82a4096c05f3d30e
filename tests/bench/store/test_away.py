"""A server that is away for a while costs nothing: points and results are sent when it is back."""

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.run import patience
from bench.run.attempt import Attempt
from bench.store.mlflow import RecordedCell, Store
from tests.bench.conftest import repeated, run_here
from tests.bench.servers import Server, postgresql


@pytest.mark.timeout(900)  # two starts of a server
def test_a_server_on_postgresql_that_is_killed_in_a_run_costs_nothing(
    tmp_path: Path, empty_store: Path, user_suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies as the first seed trains, which ends without it; it is back once the second waits."""
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
                assert repeated(store, ours) == repeated(undisturbed, run)
            assert store.open_runs("own") == []
            page = results / "own" / "report" / "report.html"
            assert "Tiny" in page.read_text(encoding="utf-8")


def _cells(store: Store) -> dict[str, RecordedCell]:
    cells = store.cells("own")
    assert len(cells) == 3  # copy_last stands beside both seeds
    return {run.name: run for run in cells}
