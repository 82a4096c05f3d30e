"""Cells as jobs of a real SLURM on loopback: how each ends, and what a dead driver leaves."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.errors import UserError
from bench.records import Status
from bench.run.events import Finished, Note, Progress
from bench.run.launchers import remote
from bench.run.launchers.launcher import Started
from bench.run.launchers.remote import JobFiles, RemoteLauncher, Supervisor
from bench.run.launchers.slurm import Slurm
from bench.suite.launch import Launch
from tests.bench.conftest import ROOT
from tests.bench.run.launchers.loopback_slurm import LoopbackSlurm
from tests.bench.run.launchers.toy_jobs import TELL, end_of, told_by, toy_job

TRAINS = "import signal; signal.signal(signal.SIGTERM, lambda *_: None); tell(PROGRESS); "
STOPS = f"{TRAINS}until_asked(); tell(STOPPED)"
RESUMES = """
import signal
signal.signal(signal.SIGTERM, lambda *_: None)
state = pathlib.Path("state")
if state.exists():
    tell(DONE)
else:
    tell(PROGRESS)
    until_asked()
    state.write_text("saved")
    tell(STOPPED)
"""
"""A cell that saves when it is asked to stop, and is done the second time."""


@pytest.fixture(autouse=True)
def _asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "ASK_SECONDS", 0.5)


@pytest.fixture
def launcher(
    slurm: LoopbackSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RemoteLauncher:
    monkeypatch.chdir(tmp_path)
    return _launcher(tmp_path, copies="$TMPDIR")


def _launcher(folder: Path, **options: object) -> RemoteLauncher:
    launch = Launch(launcher="slurm", **options)
    return RemoteLauncher(Slurm(launch, folder / "jobs" / "submitit"), folder / "jobs")


def _job_id(folder: Path, key: str = "a") -> str:
    return (folder / "jobs" / f"{key}.job").read_text(encoding="utf-8")


def test_cells_run_in_an_array_and_tell_what_they_would_here(
    launcher: RemoteLauncher, tmp_path: Path
) -> None:
    code = {
        "good": "print(os.environ['NEXTFRAME_COPIES']); tell(PROGRESS); tell(DONE)",
        "bad": "raise SystemExit('error: nothing there')",
        "killed": "os.kill(os.getpid(), 9)",
        "hung": "tell(PROGRESS); until_asked()",
    }
    jobs = [
        toy_job(text, tmp_path, name, **({"silence": 1.0} if name == "hung" else {}))
        for name, text in code.items()
    ]
    told = told_by(launcher, *jobs)
    ends = {name: (end_of(events).status, end_of(events).error) for name, events in told.items()}
    assert ends == {
        "good": (Status.DONE, ""),
        "bad": (Status.FAILED, "exit code 1: error: nothing there"),
        "killed": (Status.INTERRUPTED, "killed from outside (SIGKILL)"),
        "hung": (Status.TIMEOUT, "no sign of life for 1 s"),
    }
    assert any(isinstance(event, Progress) for event in told["good"])
    assert (tmp_path / "good.log").read_text(encoding="utf-8") == "$TMPDIR\n"
    assert not [*(tmp_path / "jobs").glob("*.job*")]


def test_a_stop_reaches_the_cells_and_empties_the_queue(
    slurm: LoopbackSlurm, launcher: RemoteLauncher, tmp_path: Path
) -> None:
    jobs = [toy_job(STOPS, tmp_path, name) for name in "abcde"]  # one more than the node has cores
    told = told_by(launcher, *jobs, on_progress=launcher.stop)
    ends = [
        end_of(events) for events in told.values() if any(isinstance(e, Started) for e in events)
    ]
    assert ends
    assert {end.status for end in ends} == {Status.INTERRUPTED}
    assert "r" in {end.run_id for end in ends}  # by the word of a cell that saved
    assert launcher.stopped
    assert slurm.said("squeue", "-h") == ""


def test_a_job_that_is_cancelled_outside_was_interrupted(
    slurm: LoopbackSlurm, launcher: RemoteLauncher, tmp_path: Path
) -> None:
    def cancel() -> None:
        slurm.said("scancel", _job_id(tmp_path))

    end = end_of(told_by(launcher, toy_job(STOPS, tmp_path), on_progress=cancel)["a"])
    assert (end.status, end.run_id) == (Status.INTERRUPTED, "r")


@pytest.mark.parametrize(
    "requeue",
    ["scontrol requeue {}", "scancel --signal=TERM {}", "scontrol update JobId={} TimeLimit=1"],
    ids=["requeue", "preempted", "its time is up"],
)
def test_a_job_that_makes_room_goes_on_from_its_checkpoint(
    slurm: LoopbackSlurm, launcher: RemoteLauncher, tmp_path: Path, requeue: str
) -> None:
    def make_room() -> None:
        slurm.said(*requeue.format(_job_id(tmp_path)).split())
        slurm.run_again_now(_job_id(tmp_path))

    told = told_by(launcher, toy_job(RESUMES, tmp_path), on_progress=make_room)
    assert end_of(told["a"]).status is Status.DONE
    starts = [e.text for e in told["a"] if isinstance(e, Note) and "runs on" in e.text]
    assert len(starts) == 2
    assert len(set(starts)) == 1  # one job, twice


def test_a_job_on_two_nodes_ends_and_goes_on_whole(
    slurm: LoopbackSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its second task waits for an order that this cell never gives, also after the requeue."""
    monkeypatch.chdir(tmp_path)
    launcher = _launcher(tmp_path, nodes=2, partition="both")
    job = replace(toy_job(RESUMES, tmp_path), devices=2)

    def requeue() -> None:
        assert slurm.said("squeue", "-h", "-o", "%D %C") == "2 2"  # nodes, processors
        slurm.said("scontrol", "requeue", _job_id(tmp_path))
        slurm.run_again_now(_job_id(tmp_path))

    assert end_of(told_by(launcher, job, on_progress=requeue)["a"]).status is Status.DONE
    until = time.monotonic() + 60
    while slurm.said("squeue", "-h"):
        assert time.monotonic() < until
        time.sleep(0.2)


def test_a_job_goes_on_without_slurmd_and_is_found_again(
    slurm: LoopbackSlurm, launcher: RemoteLauncher, tmp_path: Path
) -> None:
    code = "tell(PROGRESS)\nwhile not pathlib.Path('go').exists(): time.sleep(0.1)\ntell(DONE)"

    def kill() -> None:
        slurm.kill("slurmd")
        slurm.start_nodes()
        Path("go").touch()

    assert (
        end_of(told_by(launcher, toy_job(code, tmp_path), on_progress=kill)["a"]).status
        is Status.DONE
    )


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended
        return []


def test_a_job_whose_node_dies_runs_again(
    slurm: LoopbackSlurm, launcher: RemoteLauncher, tmp_path: Path
) -> None:
    code = """
    state = pathlib.Path("state")
    if state.exists():
        tell(DONE)
    else:
        state.touch()
        tell(PROGRESS)
        until_asked()
    """

    def die() -> None:
        slurm.kill("slurmd")
        ours = [one for one in psutil.process_iter() if str(tmp_path) in " ".join(_words(one))]
        steps = [up for one in ours for up in one.parents() if up.name() == "slurmstepd"]
        for process in {*steps, *ours}:
            process.kill()
        slurm.give_up_nodes()
        slurm.start_nodes()
        slurm.run_again_now(_job_id(tmp_path))

    assert (
        end_of(told_by(launcher, toy_job(code, tmp_path), on_progress=die)["a"]).status
        is Status.DONE
    )


DRIVER = """
import sys
from pathlib import Path
from bench.run.launchers.launcher import Job
from bench.run.launchers.remote import JobFiles, RemoteLauncher, Supervisor
from bench.run.launchers.slurm import Slurm
from bench.suite.launch import Launch

folder, code = Path.cwd(), sys.argv[1]
engine = Slurm(Launch(launcher="slurm"), folder / "jobs/submitit")
launcher = RemoteLauncher(engine, folder / "jobs")
jobs = [Job("a", [], folder / f"{k}.log", 60, None, k, ("-c", code)) for k in "ab"]
for _, event in launcher.run(jobs):
    print(event, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "closed"])
def test_a_later_run_attaches_to_what_a_dead_driver_left(
    slurm: LoopbackSlurm, launcher: RemoteLauncher, tmp_path: Path, number: signal.Signals
) -> None:
    code = "open('ran', 'a').write('x'); tell(PROGRESS)\n"
    code += "while not pathlib.Path('go').exists(): time.sleep(0.1)\ntell(DONE)"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, TELL + code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    for line in driver.stdout:
        if line.startswith("Progress"):
            break
    driver.send_signal(number)
    assert launcher.holds("a")
    assert not launcher.holds("c")
    told = told_by(
        launcher, *[toy_job(code, tmp_path, name) for name in "ab"], on_progress=Path("go").touch
    )
    driver.kill()
    driver.wait()
    driver.stdout.close()
    assert {end_of(events).status for events in told.values()} == {Status.DONE}
    assert Path("ran").read_text(encoding="utf-8") == "xx"


def test_a_job_that_nobody_wrote_down_runs_nothing(
    slurm: LoopbackSlurm, launcher: RemoteLauncher, tmp_path: Path
) -> None:
    """A driver that is killed as it submits leaves one: the next has submitted another."""
    files = JobFiles(tmp_path / "jobs", "a")
    files.folder.mkdir()
    files.job.write_text("another", encoding="utf-8")
    job = toy_job("open('ran', 'w')", tmp_path)
    (job_id,) = launcher.engine.submit([Supervisor(job, files, tmp_path)])
    while launcher.engine.states([job_id])[job_id].is_there:
        time.sleep(0.2)
    assert not Path("ran").exists()


def test_a_run_that_leaves_ends_without_its_jobs(
    slurm: LoopbackSlurm, launcher: RemoteLauncher, tmp_path: Path
) -> None:
    told = told_by(launcher, toy_job(STOPS, tmp_path), on_progress=launcher.leave)
    assert not any(isinstance(event, Finished) for event in told["a"])
    assert (launcher.stopped, launcher.holds("a")) == (True, True)
    later = _launcher(tmp_path)
    end = end_of(told_by(later, toy_job(STOPS, tmp_path), on_progress=later.stop)["a"])
    assert end.status is Status.INTERRUPTED


def test_what_slurm_refuses_is_one_line(slurm: LoopbackSlurm, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown partition 'mian': did you mean 'main'"):
        _launcher(tmp_path, partition="mian")
    told = told_by(_launcher(tmp_path, memory="999T"), toy_job("tell(DONE)", tmp_path))
    end = end_of(told["a"])
    assert end.status is Status.FAILED
    assert "SLURM does not take the job" in end.error


def test_of_cells_that_slurm_does_not_all_take_none_is_queued(
    slurm: LoopbackSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    launcher = _launcher(tmp_path, nodes=2, partition="both")
    take = Slurm._submit

    def take_of_one_node(engine: Slurm, cells: list[Supervisor], **options: Any) -> list[Any]:
        if "nodes" in options:
            raise UserError("SLURM does not take the job")
        return take(engine, cells, **options)

    monkeypatch.setattr(Slurm, "_submit", take_of_one_node)
    one, many = (toy_job(STOPS, tmp_path, name) for name in "ab")
    told = told_by(launcher, one, replace(many, devices=2))
    assert [end_of(told[key]).status for key in "ab"] == [Status.FAILED] * 2
    assert slurm.said("squeue", "-h") == ""


@pytest.mark.parametrize(
    ("time", "cell_seconds", "minutes"),
    [("8h", 60.0, 480), (None, 600.0, 15), (None, 9e9, 60), (None, None, 30)],
)
def test_the_time_of_a_job_is_that_of_its_cell_within_the_partition(
    slurm: LoopbackSlurm,
    tmp_path: Path,
    time: str | None,
    cell_seconds: float | None,
    minutes: int,
) -> None:
    engine = Slurm(Launch(launcher="slurm", time=time), tmp_path)
    assert engine.minutes(cell_seconds) == minutes
