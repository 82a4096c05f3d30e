"""How long `run` takes for many cells beside what they compute: planning them, and their jobs.

    python -m tests.performance.many_cells [--cells 1000]

CPU seconds of this process and its children. Plans are made where nothing is recorded, and where
all cells are done by an older version of the harness; jobs are held back in the queue of a SLURM on
loopback, where a second launcher attaches to them, and are cancelled.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench import records
from bench.run import plan
from bench.run.launchers.launcher import Job
from bench.run.launchers.remote import RemoteLauncher
from bench.run.launchers.slurm import Slurm
from bench.run.recorded import Recorded
from bench.store.mlflow import RecordedCell
from bench.suite.cell import Cell
from bench.suite.launch import Launch
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from tests.bench.run.launchers.loopback_slurm import loopback_slurm

MODELS = ("copy_last", "convlstm", "predrnn", "simvp", "phydnet")
TOML = """
models = {models}
datasets = ["moving_mnist"]
seeds = {seeds}
budget = "100steps"
size = "small"
device = "cpu"

[evaluation]
test_clips = 8
validation_clips = 4
"""


def main() -> None:
    """Print a row of the table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    count = parser.parse_args().cells
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        suite = results / "many.toml"
        seeds = [*range(-(-count // (len(MODELS) - 1)))]
        suite.write_text(TOML.format(models=[*MODELS], seeds=seeds), encoding="utf-8")
        with _timed("settling"):
            cells = settle(load_suite(str(suite)))[:count]
            plan.check(cells)
        with _timed("planning, nothing recorded"):
            states = plan.plan(cells, results, Recorded(None, "many"))
        assert {one.state for one in states} == {"run"}
        for what, wanted in (("done", "done"), ("done by another version", "run")):
            recorded = Recorded(None, "many")
            recorded.ours = [_recorded(cell, what) for cell in cells]
            with _timed(f"planning, all {what}"):
                states = plan.plan(cells, results, recorded)
            assert {one.state for one in states} == {wanted}
        with loopback_slurm():
            _attach(cells, results)


def _recorded(cell: Cell, what: str) -> RecordedCell:
    """The run of `cell` as MLflow would tell it."""
    tags = {**cell.tags, records.STATUS: "done", records.WEIGHTS_BYTES: "1"}
    if what != "done":
        tags |= {records.CELL: "another", records.TRAINED: "another"}
    metrics = {"test/mse": 0.1, records.TRAIN_SECONDS: 1.0, "train/samples": 800.0}
    metrics["time/wall_seconds"] = 30.0
    params = {key: str(value) for key, value in cell.params.items()}
    now = datetime.now(UTC)
    return RecordedCell(cell.scored, cell.name, "", now, params, tags, metrics)


def _attach(cells: list[Cell], results: Path) -> None:
    launch = Launch(launcher="slurm", sbatch={"hold": True})

    def launcher() -> RemoteLauncher:
        return RemoteLauncher(Slurm(launch, results / "submitit"), results / "jobs")

    jobs = [Job.of(cell, ["cell"], results / "log") for cell in cells]
    with _timed("submitting to SLURM"):
        first = launcher()
        next(first.run(jobs))
    with _timed("attaching to their jobs"):
        second = launcher()
        assert all(second.holds(job.key) for job in jobs)
        events = second.run(jobs)
        next(events)
    second.stop()
    with _timed("cancelling them"):
        for _ in events:
            pass


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    before = os.times()
    yield
    after = os.times()
    own = after.user + after.system - before.user - before.system
    children = sum(after[2:4]) - sum(before[2:4])
    wall = after.elapsed - before.elapsed
    load = os.getloadavg()[0]
    sys.stdout.write(f"| {what} | {own + children:.1f} | {wall:.1f} | {load:.0f} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
