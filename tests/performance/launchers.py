"""The suite `smoke` through every launcher: whether all record the same, and what each adds.

    python -m tests.performance.launchers [--only-empty]

On SLURM and Ray on loopback, cells one at a time, recorded on a server of MLflow's that each run
has to itself. Figures, curves, tables and weights must be those of `local` bit for bit. What a
launcher adds are the seconds that cells take there which do nothing at all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.run.events import Finished
from bench.run.launchers.launcher import Launcher
from bench.run.launchers.local import LocalLauncher
from bench.run.launchers.ray import Ray
from bench.run.launchers.remote import RemoteLauncher
from bench.run.launchers.slurm import Slurm
from bench.store.mlflow import Store
from bench.suite.launch import Launch, LauncherName
from tests.bench.conftest import command, environment
from tests.bench.run.launchers.loopback_ray import loopback_ray
from tests.bench.run.launchers.loopback_slurm import loopback_slurm
from tests.bench.run.launchers.toy_jobs import toy_job
from tests.bench.servers import Server
from tests.performance.chaos import Ended, store_in

SUITE, CELLS, EMPTY_CELLS = "smoke", 5, 10
LAUNCHERS: tuple[LauncherName, ...] = ("local", "slurm", "ray")


def main() -> None:
    """Print a row of the table for each launcher."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only-empty", action="store_true", help="leave the suite out")
    only_empty = parser.parse_args().only_empty
    with loopback_slurm(), loopback_ray() as ray, tempfile.TemporaryDirectory() as folder:
        os.environ["RAY_ADDRESS"] = ray.address
        empty, usual = Path(folder, "empty"), None
        empty.mkdir()
        Store(store_in(empty))
        for launcher in LAUNCHERS:
            results = shutil.copytree(empty, Path(folder, launcher))
            suite = ""
            if not only_empty:
                ended, seconds = _run(launcher, results)
                usual = usual or ended
                usual.check_same(ended)
                suite = f"{seconds:.0f} | "
            least, median = _empty(launcher, results)
            load = os.getloadavg()[1]
            row = f"| {launcher} | {suite}{least:.1f} | {median:.1f} | {load:.0f} |\n"
            sys.stdout.write(row)
            sys.stdout.flush()


def _empty(name: LauncherName, folder: Path) -> tuple[float, float]:
    """The least and the median seconds of a cell that does nothing."""
    os.chdir(folder)
    launch = Launch(launcher=name, parallel=1)
    if name == "local":
        launcher: Launcher = LocalLauncher("cpu", 1, launch)
    else:
        engine = Slurm(launch, folder / "submitit") if name == "slurm" else Ray(launch)
        launcher = RemoteLauncher(engine, folder / "jobs")
    took = []
    for number in range(EMPTY_CELLS):
        began = time.monotonic()
        for _, event in launcher.run([toy_job("tell(DONE)", folder, f"{number}")]):
            if isinstance(event, Finished):
                took.append(time.monotonic() - began)
    return min(took), statistics.median(took)


def _run(launcher: str, results: Path) -> tuple[Ended, float]:
    """What a run of the suite records, and how long it takes."""
    words = ["run", "--suite", SUITE, "--device", "cpu", "--results", str(results / "results")]
    words += ["--launch", launcher, "--launch-options", "parallel=1"]
    with Server(results).running() as uri:
        began = time.monotonic()
        done = subprocess.run(
            command(*words, "--tracking-uri", uri),
            env=environment(),
            capture_output=True,
            text=True,
        )
        seconds = time.monotonic() - began
        assert done.returncode == 0, done.stdout + done.stderr
        return Ended.read(uri, CELLS, SUITE), seconds


if __name__ == "__main__":
    main()
