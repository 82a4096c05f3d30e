"""Cells as actors of a real Ray: how each ends, and what a dead driver leaves."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.errors import UserError
from bench.records import Status
from bench.run.events import Finished, Note
from bench.run.launchers import remote
from bench.run.launchers.launcher import Started
from bench.run.launchers.ray import Ray
from bench.run.launchers.remote import RemoteLauncher
from bench.store.mlflow import Store
from bench.suite.launch import Launch
from tests.bench.conftest import ROOT, repeated, run_here
from tests.bench.run.launchers.loopback_ray import loopback_ray
from tests.bench.run.launchers.toy_jobs import TELL, end_of, told_by, toy_job

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'nextframe[ray]'")

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # Ray's
]

STOPS = "import signal; signal.signal(signal.SIGINT, lambda *_: None); tell(PROGRESS); "
STOPS += "until_asked(); tell(STOPPED)"


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two processors; it works while it waits, so it ends here."""
    with loopback_ray() as there:
        yield there.address


@pytest.fixture
def launcher(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteLauncher:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "ASK_SECONDS", 0.5)
    launch = Launch(launcher="ray", address=cluster, copies="$TMPDIR")
    return RemoteLauncher(Ray(launch), tmp_path / "jobs")


def test_cells_tell_what_they_would_here(launcher: RemoteLauncher, tmp_path: Path) -> None:
    code = {
        "good": "print(os.environ['NEXTFRAME_COPIES']); tell(PROGRESS); tell(DONE)",
        "bad": "raise SystemExit('error: nothing there')",
        "killed": "os.kill(os.getpid(), 9)",
    }
    told = told_by(launcher, *(toy_job(text, tmp_path, name) for name, text in code.items()))
    ends = {name: (end_of(events).status, end_of(events).error) for name, events in told.items()}
    assert ends == {
        "good": (Status.DONE, ""),
        "bad": (Status.FAILED, "exit code 1: error: nothing there"),
        "killed": (Status.INTERRUPTED, "killed from outside (SIGKILL)"),
    }
    assert (tmp_path / "good.log").read_text(encoding="utf-8") == "$TMPDIR\n"
    assert not [*(tmp_path / "jobs").glob("*.job*")]


def test_a_stop_reaches_the_cells_and_empties_the_queue(
    launcher: RemoteLauncher, tmp_path: Path
) -> None:
    jobs = [toy_job(STOPS, tmp_path, name) for name in "abcd"]  # the cluster has two processors
    told = told_by(launcher, *jobs, on_progress=launcher.stop)
    ends = [
        end_of(events) for events in told.values() if any(isinstance(e, Started) for e in events)
    ]
    assert ends
    assert {end.status for end in ends} == {Status.INTERRUPTED}
    assert "r" in {end.run_id for end in ends}  # by the word of a cell that saved
    assert not any(launcher.holds(job.key) for job in jobs)


def test_a_second_stop_kills_the_cells(launcher: RemoteLauncher, tmp_path: Path) -> None:
    def stop_twice() -> None:
        launcher.stop()
        launcher.stop()

    code = "pathlib.Path('pid').write_text(str(os.getpid())); tell(PROGRESS); time.sleep(300)"
    end = end_of(told_by(launcher, toy_job(code, tmp_path), on_progress=stop_twice)["a"])
    assert end == Finished(Status.INTERRUPTED, "its actor was killed, or its machine died")
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(Path("pid").read_text(encoding="utf-8"))).wait(60)


def test_an_actor_that_is_killed_was_interrupted(launcher: RemoteLauncher, tmp_path: Path) -> None:
    def kill() -> None:
        child = psutil.Process(int(Path("pid").read_text(encoding="utf-8")))
        parent = child.parent()
        assert parent is not None
        parent.kill()

    code = f"pathlib.Path('pid').write_text(str(os.getpid())); {STOPS}"
    end = end_of(told_by(launcher, toy_job(code, tmp_path), on_progress=kill)["a"])
    assert end.status is Status.INTERRUPTED


DRIVER = """
import sys
from pathlib import Path
from bench.run.launchers.launcher import Job
from bench.run.launchers.ray import Ray
from bench.run.launchers.remote import RemoteLauncher
from bench.suite.launch import Launch

folder, code, address = Path.cwd(), sys.argv[1], sys.argv[2]
launcher = RemoteLauncher(Ray(Launch(launcher="ray", address=address)), folder / "jobs")
jobs = [Job(k, [], folder / f"{k}.log", 60, None, k, ("-c", code)) for k in "abc"]
for _, event in launcher.run(jobs):
    print(event, flush=True)
"""


def test_a_later_run_attaches_to_what_a_killed_driver_left(
    cluster: str, launcher: RemoteLauncher, tmp_path: Path
) -> None:
    code = "open('ran', 'a').write('x'); tell(PROGRESS)\n"
    code += "while not pathlib.Path('go').exists(): time.sleep(0.1)\ntell(DONE)"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, TELL + code, cluster],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    for line in driver.stdout:
        if line.startswith("Progress"):
            break
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    assert all(launcher.holds(key) for key in "abc")  # the third waits for a processor
    assert not launcher.holds("d")
    jobs = [toy_job(code, tmp_path, name) for name in "abc"]
    told = told_by(launcher, *jobs, on_progress=Path("go").touch)
    assert any("attached to 3 jobs" in e.text for e in told["a"] if isinstance(e, Note))
    assert {end_of(events).status for events in told.values()} == {Status.DONE}
    assert Path("ran").read_text(encoding="utf-8") == "xxx"


def test_no_cluster_is_one_line() -> None:
    with pytest.raises(UserError, match=r"no Ray cluster answers at .*: start one"):
        Ray(Launch(launcher="ray", address="127.0.0.1:1"))


def test_two_cells_have_the_figures_that_they_have_here(
    tmp_path: Path, empty_store: Path, user_suite: Path
) -> None:
    """In an embedded cluster, which ends with the run; until then both cells run at once."""
    ray.shutdown()
    text = user_suite.read_text(encoding="utf-8").replace('"copy_last", ', "")
    user_suite.write_text(text.replace("[evaluation]", "seeds = [0, 1]\n[evaluation]"), "utf-8")
    figures = []
    for name, words in {"here": [], "ray": ["--launch", "ray"]}.items():
        results = shutil.copytree(empty_store, tmp_path / name)
        options = ["--launch-options", "address=local"] if words else []
        line = ["run", "--suite", user_suite, "--results", results, *words, *options]
        done = run_here(*line, report=False)
        ray.shutdown()
        assert done.returncode == 0, done.stdout + done.stderr
        store = Store(f"sqlite:///{results}/mlflow.db")
        figures.append({run.name: repeated(store, run) for run in store.cells("own")})
    assert figures[0] == figures[1]
    assert len(figures[0]) == 3  # two seeds, and copy_last


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["address=127.0.0.1:1"], "writes from several machines, which sqlite"),
        (["address=local", "partition=gpu"], "Ray has no partition"),
        (["address=local", "nodes=2"], "Ray has no nodes"),
        (["address=local", "executor=debug"], "Ray has no executor"),
    ],
)
def test_what_ray_cannot_do_is_one_line(
    tmp_path: Path, user_suite: Path, options: list[str], message: str
) -> None:
    line = ["run", "--suite", user_suite, "--results", tmp_path / "results", "--launch", "ray"]
    done = run_here(*line, "--launch-options", *options)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
