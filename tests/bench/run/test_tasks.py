"""Tasks of a job that become ranks: who is let in, and what ends them."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.records import Status
from bench.run.events import Finished
from bench.run.launchers.remote import RemoteLauncher, Supervisor
from bench.run.tasks import LISTENS_SECONDS, VARIABLE, Tasks, listening
from tests.bench.conftest import environment
from tests.bench.run.launchers.toy_jobs import end_of, told_by, toy_job

TASK = """
import sys
from pathlib import Path
from bench.run import tasks
tasks.LISTENS_SECONDS = float(sys.argv[2])
tasks.RANK = '''
import os, sys
sys.exit(sys.stdin.readline() != "" or os.environ["CUDA_VISIBLE_DEVICES"] != "5")
'''
tasks.become_rank(Path(sys.argv[1]), "7.0", "127.0.0.1", 1, 2)
"""
"""A task whose rank ends well where it has its node's third GPU, and no order until its end."""


@contextlib.contextmanager
def _task(meeting: Path, patience: float = LISTENS_SECONDS) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", TASK, str(meeting), str(patience)]
    variables = environment() | {"CUDA_VISIBLE_DEVICES": "3,4,5,6"}
    with subprocess.Popen(words, env=variables, stderr=subprocess.PIPE, text=True) as task:
        yield task


def test_a_task_that_the_cell_needs_for_nothing_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = tmp_path / "a.tasks"
    with _task(meeting) as task:
        with listening(meeting, "7.0", count=2, nodes=2) as tasks:
            assert meeting.stat().st_mode & 0o77 == 0  # it holds a secret
            monkeypatch.setenv(VARIABLE, tasks.model_dump_json())
            assert Tasks.of_this_cell() == tasks
            strangers = [socket.create_connection(("127.0.0.1", tasks.port)) for _ in range(3)]
            strangers[0].sendall(b"secret 1 here\n")
            strangers[1].sendall(f"{tasks.secret} one here\n".encode())
            strangers[2].close()
            (caller,) = tasks.callers()
            assert strangers[0].recv(1) == strangers[1].recv(1) == b""
            for stranger in strangers:
                stranger.close()
            assert caller.rank == 1
            caller.end()
            caller.close()
        assert task.wait(60) == 0, task.stderr


@pytest.mark.parametrize("attempt", ["6.0", None], ids=["of an earlier start", "missing"])
def test_a_task_whose_first_one_does_not_listen_says_so(
    tmp_path: Path, attempt: str | None
) -> None:
    meeting = tmp_path / "a.tasks"
    if attempt:
        with listening(meeting, attempt, count=2, nodes=2):
            pass
    with _task(meeting, patience=0.1) as task:
        _, said = task.communicate(timeout=60)
        assert task.returncode == 1
        assert "the first task of the job does not listen" in said.splitlines()[-1]


def test_a_task_that_comes_when_all_is_over_ends(tmp_path: Path) -> None:
    meeting = tmp_path / "a.tasks"
    with listening(meeting, "7.0", count=2, nodes=2):
        pass
    with _task(meeting) as task:
        assert task.wait(60) == 0


def test_a_task_that_comes_when_the_driver_has_seen_the_end_ends(tmp_path: Path) -> None:
    class AtOnce:
        """An engine where the first task of a job is over before the others are there."""

        name, most_at_once = "none", None

        def submit(self, supervisors: Sequence[Supervisor]) -> list[str]:
            (one,) = supervisors
            with listening(one.files.tasks, "7.0", count=2, nodes=2):
                one.publish(one.job, Finished(Status.DONE, run_id="r"))
            return ["7"]

        def states(self, job_ids: Sequence[str]) -> dict[str, object]:
            return {}

        def cancel(self, job_ids: Sequence[str], at_once: bool) -> None:
            raise AssertionError

    launcher = RemoteLauncher(AtOnce(), tmp_path)  # type: ignore[arg-type]
    assert end_of(told_by(launcher, toy_job("", tmp_path))["a"]).status is Status.DONE
    with _task(tmp_path / "a.tasks") as task:
        assert task.wait(60) == 0
