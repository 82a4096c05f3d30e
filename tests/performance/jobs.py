"""Many short jobs of a real SLURM of one node, while drivers and slurmd are killed.

    python -m tests.performance.jobs [--jobs 200]

Says whether each job ran, and ran once, and how long all of them took.
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench.records import Status
from bench.run.events import Finished, Progress, encode
from tests.bench.run.launchers.one_node_slurm import one_node_slurm
from tests.performance.chaos import ROOT

DOWN_SECONDS = 8  # that slurmd is away
CELL = f"""
import os, sys
open("ran", "a").write(sys.argv[1] + "\\n")
for line in ({encode(Progress("train", 0.5))!r}, {encode(Finished(Status.DONE, run_id="r"))!r}):
    os.write(int(sys.argv[-1]), line.encode() + b"\\n")
"""
DRIVER = f"""
import sys
from pathlib import Path
from bench.run.events import Finished
from bench.run.launchers.launcher import Job
from bench.run.launchers.remote import RemoteLauncher
from bench.run.launchers.slurm import Slurm
from bench.suite.launch import Launch

folder = Path.cwd()
engine = Slurm(Launch(launcher="slurm"), folder / "jobs" / "submitit")
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
    parser.add_argument("--jobs", type=int, default=200)
    jobs = parser.parse_args().jobs
    with one_node_slurm() as slurm, tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        began = time.monotonic()
        _drive(jobs, killed_after=jobs // 5)
        slurm.kill("slurmd")
        threading.Timer(DOWN_SECONDS, slurm.start_node).start()
        _drive(jobs, killed_after=jobs // 5)
        for _ in range(2):  # a job whose start slurmd did not survive has failed, and runs again
            _drive(jobs)
        ran = collections.Counter(Path("ran").read_text(encoding="utf-8").split())
        seconds = time.monotonic() - began
        os.chdir(ROOT)
    twice = sum(count > 1 for count in ran.values())
    sys.stdout.write(f"{len(ran)} of {jobs} ran, {twice} more than once, in {seconds:.0f} s\n")


def _drive(jobs: int, killed_after: int = 0) -> None:
    """Run a driver, which is killed after the end of that many jobs."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(jobs)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with driver:
        for number, _ in enumerate(driver.stdout or (), start=1):
            if number == killed_after:
                driver.kill()


if __name__ == "__main__":
    main()
