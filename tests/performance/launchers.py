"""The suite `smoke` through every launcher: whether all record the same, and how long they take.

    python -m tests.performance.launchers [--rounds 1]

Cells run one at a time, on SLURM and Ray on loopback, and are recorded on a server of MLflow's that
each run has to itself. Figures, curves, tables and weights must be those of `local` bit for bit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.store.mlflow import Store
from tests.bench.conftest import command, environment
from tests.bench.run.launchers.loopback_ray import loopback_ray
from tests.bench.run.launchers.loopback_slurm import loopback_slurm
from tests.bench.servers import Server
from tests.performance.chaos import Ended, store_in

SUITE, CELLS = "smoke", 5
LAUNCHERS = ("local", "slurm", "ray")


def main() -> None:
    """Print a row of the table for each launcher."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="of all launchers in turn")
    rounds = parser.parse_args().rounds
    with loopback_slurm(), loopback_ray() as ray, tempfile.TemporaryDirectory() as folder:
        os.environ["RAY_ADDRESS"] = ray.address
        empty = Path(folder, "empty")
        empty.mkdir()
        Store(store_in(empty))
        _run("local", shutil.copytree(empty, Path(folder, "warm")))  # caches that runs share
        for number in range(rounds):
            usual, usual_seconds = None, 0.0
            for launcher in LAUNCHERS:
                results = shutil.copytree(empty, Path(folder, f"{launcher}-{number}"))
                ended, seconds = _run(launcher, results)
                if usual is None:
                    usual, usual_seconds = ended, seconds
                usual.check_same(ended)
                more = (seconds - usual_seconds) / CELLS
                load = os.getloadavg()[1]
                sys.stdout.write(f"| {launcher} | {seconds:.0f} | {more:+.1f} | {load:.0f} |\n")
                sys.stdout.flush()


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
