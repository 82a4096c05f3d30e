"""Kills runs at chosen moments of every phase, and compares what they end with.

    python -m tests.performance.chaos [--kills 500] [--seed 0] [--side-by-side 2] [--keep DIR]

A round is one results folder: `bench run` is started again and again, its processes are killed
(SIGKILL to the parent, a cell's process, or both), and at last it is left alone. Half of the kills
fall on a write (a file opened, renamed or removed, a database or process opened) counted from the
start of a phase, half on a random moment from there. After each start the folder must open; at the
end every figure, curve, table and weight must equal those of an undisturbed run, no run may be left
RUNNING, and each cell has been done once.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import psutil
from mlflow import MlflowClient
from safetensors.numpy import load_file

from bench import records
from bench.store.mlflow import Store

ROOT = Path(__file__).parents[2]
SUITE = "chaos"
MODEL = '''
import time
import torch
from torch import nn
from models.contract import Predictor, Recipe, Size

class Small(Predictor):
    """The last frame, filtered; dropout shows whether randomness resumes."""

    sizes = {"only": Size(Recipe(source="test", learning_rate=1e-2, batch_size=2))}

    def __init__(self, frame_shape):
        super().__init__(frame_shape)
        self.filter = nn.Conv2d(frame_shape[0], frame_shape[0], 3, padding=1)

    def forward(self, context, horizon):
        return self.filter(context[:, -1])[:, None].expand(-1, horizon, -1, -1, -1)

    def training_loss(self, batch):
        time.sleep(0.02)
        batch.clip = nn.functional.dropout(batch.clip, 0.1)
        return super().training_loss(batch)
'''
TOML = """
models = ["copy_last", "{model}:Small"]
datasets = ["moving_mnist"]
seeds = {seeds}
budget = "60steps"
device = "cpu"

[evaluation]
test_clips = 4
validation_clips = 2
evaluations = 6
showcase_clips = 1
"""
CELLS = 4  # of the suite with two seeds
LONGEST_SECONDS = 300.0
"""For one start of the program."""

NOT_REPEATED = ("time/", "speed/", "memory/", "system/", "conditions/")
"""Prefixes of the figures that no two runs share."""

Process = Literal["parent", "child"]
Victim = Literal["self", "other", "both"]
Places = tuple[tuple[Process, str, int, float], ...]

EARLY: Places = (
    ("parent", "other", 5000, 6.0),
    ("parent", "opening the store", 600, 2.5),
    ("parent", "planning", 40, 1.0),
)
CELL: Places = (
    ("child", "opening the store", 5, 0.0),
    ("child", "beginning a run", 40, 0.2),
    ("child", "set-up", 157, 0.05),
    ("child", "warm-up", 2, 0.1),
    ("child", "training", 20, 1.7),
    ("child", "saving", 18, 0.05),
    ("child", "validation", 5, 0.03),
    ("child", "test", 214, 1.4),
    ("child", "recording", 11, 0.04),
    ("child", "ending a run", 50, 0.2),
)
LATE: Places = (("parent", "watching", 8, 25.0), ("parent", "report", 125, 1.7))
"""Processes and phases, each with about how many writes and seconds it has.

What is no named phase, "other", is the imports of a parent, and the little between phases.
"""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: by which process, of whom, and when."""

    process: Process
    """The one that kills."""
    victim: Victim
    phase: str
    """Of the process that kills."""
    moment: Literal["write", "time"]
    at: float
    """Writes, or seconds, after the first moment of the phase."""
    diary: str
    """The file that the kill is written down in."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a results folder holds of the suite, without what no two runs share."""

    figures: dict[str, dict[str, float]]
    curves: dict[str, dict[str, list[tuple[int, float]]]]
    tables: dict[str, pd.DataFrame]
    weights: dict[str, dict[str, np.ndarray]]  # type: ignore[type-arg]

    @classmethod
    def read(cls, uri: str, cells: int, suite: str = SUITE) -> Ended:
        """What the store at `uri` holds of the `suite`, which has that many `cells`.

        Raises:
            AssertionError: a run is open, or a cell was done not just once.
        """
        store = Store(uri)
        runs = store.cells(suite)
        left_open = [run.name for run in runs if run.tags[records.STATUS] == "running"]
        left_open += _open_runs(uri, suite)
        assert not left_open, f"left RUNNING: {left_open}"
        done = collections.Counter(run.name for run in runs if run.is_done)
        assert sorted(done.values()) == [1] * cells, f"done: {done}"
        ended = cls({}, {}, {}, {})
        for run in (run for run in runs if run.is_done):
            repeated = [key for key in run.metrics if not key.startswith(NOT_REPEATED)]
            ended.figures[run.name] = {key: run.metrics[key] for key in repeated}
            points = store.history(run.run_id, NOT_REPEATED)
            ended.curves[run.name] = {
                key: sorted((p.step, p.value) for p in points if p.key == key) for key in repeated
            }
            table = store.artifact(run.run_id, records.PER_FRAME_TABLE)
            weights = store.artifact(run.run_id, records.CHECKPOINT)
            assert table is not None, f"{run.name} lacks its table"
            assert weights is not None, f"{run.name} lacks its weights"
            ended.tables[run.name] = pd.read_parquet(table)
            ended.weights[run.name] = load_file(weights)
        return ended

    def check_same(self, other: Ended) -> None:
        """Raise an AssertionError where `other` is not exactly the same."""
        np.testing.assert_equal(other.figures, self.figures)
        np.testing.assert_equal(other.curves, self.curves)
        for name, table in self.tables.items():
            pd.testing.assert_frame_equal(table, other.tables[name], check_exact=True)
        for name, weights in self.weights.items():
            assert weights.keys() == other.weights[name].keys()
            for key, value in weights.items():
                assert np.array_equal(value, other.weights[name][key]), f"{name}: {key}"


def store_in(results: Path) -> str:
    """The URI of the store in the results folder."""
    return f"sqlite:///{results}/mlflow.db"


def _open_runs(uri: str, suite: str) -> list[str]:
    """The names of the runs of any kind that MLflow takes for running."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(suite)
    assert experiment, "no experiment"
    found = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
    return [run.info.run_name or run.info.run_id for run in found]


def write_suite(folder: Path, seeds: Sequence[int] = (0, 1)) -> Path:
    """The suite file and its model, written into `folder`; two cells a seed."""
    model, suite = folder / "small.py", folder / f"{SUITE}.toml"
    model.write_text(MODEL, encoding="utf-8")
    suite.write_text(TOML.format(model=model, seeds=[*seeds]), encoding="utf-8")
    return suite


def run(suite: Path, results: Path, kills: Sequence[Kill] = ()) -> None:
    """Run the suite once, with the `kills`, and wait for its last process.

    Raises:
        AssertionError: it hangs, or ends in a traceback or wrongly where nothing killed it.
    """
    paths = [str(ROOT)]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    environment |= {"OMP_NUM_THREADS": "1"}
    if kills:
        paths.insert(0, str(Path(__file__).parent / "saboteur"))
        environment["NEXTFRAME_KILLS"] = json.dumps([asdict(kill) for kill in kills])
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    words = ["bench", "run", "--suite", str(suite), "--results", str(results)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = process.wait(LONGEST_SECONDS)
        _wait_for_children(results)
        output.seek(0)
        printed = output.read()
    if not any(map(killed, kills)):
        assert code == 0, f"exit code {code}: {printed[-3000:]}"
    assert "Traceback" not in printed, printed[-3000:]


def killed(kill: Kill) -> list[str]:
    """What is written down of the kill: nothing where it has not happened."""
    path = Path(kill.diary)
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _wait_for_children(results: Path) -> None:
    """Wait until no process of the program works in `results`."""
    ends = time.monotonic() + LONGEST_SECONDS
    while left := [*_working_in(results)]:
        assert time.monotonic() < ends, f"still there: {left}"
        time.sleep(0.1)


def _working_in(results: Path) -> Iterator[list[str]]:
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if "bench" in words and str(results) in words:
            yield words


def random_kill(
    places: Places, victims: Sequence[Victim], diary: Path, chance: random.Random
) -> Kill:
    """A kill at a random moment of one of the `places`, written down in the file `diary`."""
    process, phase, writes, seconds = chance.choice(places)
    victim = chance.choice(victims)
    if chance.random() < 0.5:
        return Kill(process, victim, phase, "write", chance.randrange(writes), str(diary))
    return Kill(process, victim, phase, "time", chance.uniform(0, seconds), str(diary))


def starts(chance: random.Random, folder: Path) -> Iterator[list[Kill]]:
    """The kills of each start of a round, at random moments."""
    number = itertools.count()

    def kill(places: Places, *victims: Victim) -> Kill:
        return random_kill(places, victims, folder / f"kill-{next(number)}", chance)

    yield [kill(EARLY, "self")]
    yield [kill(EARLY, "self")]
    for others in (24, 24, 12):
        cells = [kill(CELL, "self") for _ in range(others)]
        last = kill(CELL, "other", "both") if chance.random() < 0.5 else kill(LATE, "self", "both")
        yield [*cells, last]
    yield [kill(LATE, "self", "both")]


def one_round(suite: Path, folder: Path, plan: Iterable[Sequence[Kill]], calm: Ended) -> list[str]:
    """Start the suite with each of these kills and then without; what was killed, a line each.

    Raises:
        AssertionError: something is not as without them.
    """
    results = folder / "results"
    found = []
    for kills in plan:
        run(suite, results, kills)
        found += [line for kill in kills for line in killed(kill)]
        if (results / "mlflow.db").exists():
            Store(store_in(results)).cells(SUITE)
    run(suite, results)
    Ended.read(store_in(results), CELLS).check_same(calm)
    return found


def main() -> None:
    """Kill as often as asked, and print what was killed in which phase."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side-by-side", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the rounds that went wrong")
    wanted = parser.parse_args()
    began = time.monotonic()
    found: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as base:
        suite = write_suite(Path(base))
        run(suite, Path(base) / "calm")
        calm = Ended.read(store_in(Path(base) / "calm"), CELLS)

        def attempt(number: int) -> None:
            if sum(found.values()) >= wanted.kills:
                return
            chance = random.Random(f"{wanted.seed}/{number}")
            folder = Path(base) / f"round-{number}"
            folder.mkdir()
            plan = [*starts(chance, folder)]
            try:
                found.update(one_round(suite, folder, plan, calm))
            except Exception as error:
                wrong.append(f"round {number}: {type(error).__name__}: {error}\n  {plan}")
                print(wrong[-1][:4000], flush=True)  # noqa: T201
                if wanted.keep:
                    shutil.copytree(folder, wanted.keep / folder.name, dirs_exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            print(f"round {number}: {sum(found.values())} kills", flush=True)  # noqa: T201

        rounds = range(wanted.kills)
        with ThreadPoolExecutor(wanted.side_by_side) as pool:
            list(pool.map(attempt, rounds))
    total, minutes = sum(found.values()), (time.monotonic() - began) / 60
    for line, count in sorted(found.items()):
        print(f"{count:5d} {line}")  # noqa: T201
    print(f"{total} kills in {minutes:.0f} minutes, {len(wrong)} rounds went wrong")  # noqa: T201
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
