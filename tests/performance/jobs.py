"""Many short jobs of a real cluster on loopback, while drivers and a compute daemon are killed.

    python -m tests.performance.jobs [--launcher slurm | ray] [--jobs 200]

The driver is killed twice, and once slurmd, or the raylet of one of Ray's two machines. Says
whether each job ran, and ran once, and how long all of them took.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.records import Status
from bench.run.events import Finished, Progress, encode
from tests.bench.run.launchers.loopback_ray import loopback_ray
from tests.bench.run.launchers.loopback_slurm import loopback_slurm
from tests.performance.chaos import ROOT

DOWN_SECONDS = 8  # that the daemon is away
CELL = f"""
import os, sys
def write(file):
    open(file, "a").write(sys.argv[1] + "\\n")
def tell(line):
    os.write(int(sys.argv[-1]), line.encode() + b"\\n")
write("began")
tell({encode(Progress("train", 0.5))!r})
write("ran")
tell({encode(Finished(Status.DONE, run_id="r"))!r})
"""
DRIVER = f"""
import sys
from pathlib import Path
from bench.run.events import Finished
from bench.run.launchers.launcher import Job
from bench.run.launchers.remote import RemoteLauncher
from bench.suite.launch import Launch

folder = Path.cwd()
if sys.argv[2] == "slurm":
    from bench.run.launchers.slurm import Slurm
    engine = Slurm(Launch(launcher="slurm"), folder / "jobs" / "submitit")
else:
    from bench.run.launchers.ray import Ray
    engine = Ray(Launch(launcher="ray"))
launcher = RemoteLauncher(engine, folder / "jobs")
ran = set(Path("ran").read_text().split()) if Path("ran").exists() else set()
done = {{key for key in ran if not launcher.holds(key)}}  # as MLflow knows of cells
jobs = [
    Job(key, [key], folder / "log", 60, None, key, ("-c", {CELL!r}))
    for key in map(str, range(int(sys.argv[1])))
    if key not in done
]
for job, event in launcher.run(jobs):
    if isinstance(event, Finished):
        print(job.key, event.status.value, event.error, flush=True)
"""


def main() -> None:
    """Run them, and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launcher", choices=[*CLUSTERS], default="slurm")
    parser.add_argument("--jobs", type=int, default=200)
    given = parser.parse_args()
    with CLUSTERS[given.launcher]() as (kill, start), tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        began = time.monotonic()
        _drive(given.launcher, given.jobs, killed_after=given.jobs // 5)
        kill()
        threading.Timer(DOWN_SECONDS, start).start()
        _drive(given.launcher, given.jobs, killed_after=given.jobs // 5)
        for _ in range(2):  # a job that the daemon took with it has failed, and runs again
            _drive(given.launcher, given.jobs)
        seconds = time.monotonic() - began
        times = {name: _counted(name) for name in ("began", "ran")}
        os.chdir(ROOT)
    twice = {name: sum(n > 1 for n in counts.values()) for name, counts in times.items()}
    sys.stdout.write(
        f"{len(times['ran'])} of {given.jobs} ran, {twice['ran']} more than once"
        f" ({twice['began']} began again), in {seconds:.0f} s;"
        f" load average {os.getloadavg()[1]:.1f}\n"
    )


def _counted(file: str) -> collections.Counter[str]:
    return collections.Counter(Path(file).read_text(encoding="utf-8").split())


Daemon = tuple[Callable[[], None], Callable[[], None]]
"""What kills it, and what starts it again."""


@contextlib.contextmanager
def _slurm() -> Iterator[Daemon]:
    with loopback_slurm() as slurm:
        yield lambda: slurm.kill("slurmd"), slurm.start_nodes


@contextlib.contextmanager
def _ray() -> Iterator[Daemon]:
    with loopback_ray() as ray:
        os.environ["RAY_ADDRESS"] = ray.address
        ray.add_machine()
        yield ray.kill_machine, ray.add_machine


CLUSTERS = {"slurm": _slurm, "ray": _ray}


def _drive(launcher: str, jobs: int, killed_after: int = 0) -> None:
    """Run a driver, which is killed after the end of that many jobs."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(jobs), launcher],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with driver:
        for number, line in enumerate(driver.stdout or (), start=1):
            if " done " not in line:
                sys.stdout.write(line)
            if number == killed_after:
                driver.kill()


if __name__ == "__main__":
    main()
