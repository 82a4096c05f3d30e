"""A user's own models and suite, small enough to run whole cells, here or in child processes."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from bench import cli
from bench.__main__ import main
from bench.run import worker
from bench.run.events import Event
from bench.run.launchers.launcher import Job, Started
from bench.run.launchers.local import LocalLauncher
from bench.store.mlflow import RecordedCell, Store
from tests.made_once import made_once

ROOT = Path(__file__).parents[2]

SLOW_STEPS = 120  # of 20 ms, or of 200 where one is to be stopped amid them on a busy machine

USER_MODELS = '''
import os, time
import torch
from torch import nn
from models.contract import Predictor, Recipe, Size

RECIPE = Recipe(source="test", learning_rate=1e-2, batch_size=2)

class Tiny(Predictor):
    """The last frame, filtered, over and over."""

    sizes = {"only": Size(RECIPE)}

    def __init__(self, frame_shape):
        super().__init__(frame_shape)
        self.filter = nn.Conv2d(frame_shape[0], frame_shape[0], 3, padding=1)

    def forward(self, context, horizon):
        return self.filter(context[:, -1])[:, None].expand(-1, horizon, -1, -1, -1)

class Slow(Tiny):
    """Long enough in training to be killed in it; dropout shows whether randomness resumes."""

    def training_loss(self, batch):
        print(".", end="", flush=True)
        os.write(1, b"no end of a line")
        time.sleep(float(os.environ.get("SLOW_STEP_SECONDS", "0.02")))
        batch.clip = nn.functional.dropout(batch.clip, 0.1)
        return super().training_loss(batch)

class Raises(Tiny):
    def forward(self, context, horizon):
        raise LookupError("no such key in the model")

class Diverges(Tiny):
    def training_loss(self, batch):
        return super().training_loss(batch) / 0.0

class RunsOut(Tiny):
    def training_loss(self, batch):
        return torch.empty(1 << 50).sum()

class Crashes(Tiny):
    def training_loss(self, batch):
        os.abort()

'''

SUITE = """
models = ["copy_last", "{models}:Tiny"]
datasets = ["moving_mnist"]
budget = "8steps"

[evaluation]
test_clips = 4
validation_clips = 2
evaluations = 4
showcase_clips = 1
"""


@pytest.fixture
def user_models(tmp_path: Path) -> Path:
    """A file of models outside the house."""
    path = tmp_path / "mine.py"
    path.write_text(USER_MODELS, encoding="utf-8")
    return path


@pytest.fixture
def user_suite(tmp_path: Path, user_models: Path) -> Path:
    """A suite file outside the house, of one user's model and a baseline."""
    path = tmp_path / "own.toml"
    path.write_text(SUITE.format(models=user_models), encoding="utf-8")
    return path


@pytest.fixture
def slow_suite(tmp_path: Path, user_suite: Path) -> Path:
    """A suite file of one model that trains for seconds, to be killed meanwhile."""
    text = user_suite.read_text(encoding="utf-8").replace('"copy_last", ', "")
    text = text.replace(":Tiny", ":Slow").replace("8steps", f"{SLOW_STEPS}steps")
    path = tmp_path / "slow.toml"
    path.write_text(text.replace("evaluations = 4", "evaluations = 12"), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with an empty MLflow store, to be copied: creating one takes seconds."""
    return made_once(
        tmp_path_factory, "store", lambda folder: Store(f"sqlite:///{folder / 'mlflow.db'}")
    )


Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bench(tmp_path: Path, empty_store: Path) -> Bench:
    """Runs `bench ARGUMENTS` as `run_here` does; results lie under `tmp_path`."""
    shutil.copytree(empty_store, tmp_path / "results")

    def run(*arguments: object, **how: bool) -> subprocess.CompletedProcess[str]:
        words = [*map(str, arguments)]
        if words[0] in ("run", "rescore", "clean", "cell", "report", "ls", "speed", "tune"):
            words += ["--results", str(tmp_path / "results")]
        return run_here(*words, **how)

    return run


def run_here(
    *words: object, children: bool = False, report: bool = True, checked: bool = False
) -> subprocess.CompletedProcess[str]:
    """How `python -m bench WORDS` ends, in this process: a new one imports for seconds.

    So do its cells, unless `children` are asked for. A run whose `report` nobody reads draws none,
    and the user's own files are not `checked` first: many are to go wrong in a cell.
    """
    out, error, threads = io.StringIO(), io.StringIO(), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(sys, "argv", ["bench", *map(str, words)])
        if not children:
            patch.setattr("bench.run.invocation.LocalLauncher", LauncherHere)
        if not checked:
            patch.setattr("bench.run.own_files.require_sound", lambda *_: None)
        if not report:
            patch.setattr("bench.report.build", empty_report)
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
            pytest.raises(SystemExit) as end,
        ):
            main()
    torch.set_num_threads(threads)  # of which `--launch-options cpus=2` makes two
    code = end.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, out.getvalue(), error.getvalue())


def empty_report(store: object, suite: str, folder: Path, **_: object) -> Path:
    """A folder without a page, in the place of one."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "report.html"


class LauncherHere(LocalLauncher):
    """Runs the same command line of each cell, one after the other, in this process."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Event | Started]]:
        for job in jobs:
            events: list[Event] = []

            def run_alone(one: worker.Worker, _: bool, events: list[Event] = events) -> int:
                events.append(one.work(events.append, lambda: False))
                return 0

            yield job, Started()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(worker, "run_alone", run_alone)
                cli.main([*job.arguments])
            for event in events:
                yield job, event


def repeated(store: Store, run: RecordedCell) -> dict[tuple[str, int], float]:
    """The recorded values of a run that another of the same cell has, too, each recorded once."""
    own = ("system/", "time/", "speed/", "memory/", "conditions/")
    points = store.history(run.run_id, ("system/",))
    doubled = [key for key, n in Counter((p.key, p.step) for p in points).items() if n > 1]
    assert not doubled
    return {(p.key, p.step): p.value for p in points if not p.key.startswith(own)}


def command(*arguments: str) -> list[str]:
    """The words of a child process that runs the program."""
    return [sys.executable, "-m", "bench", *arguments]


def environment() -> dict[str, str]:
    """The environment of a child process; one thread, for tests run side by side."""
    ours = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | ours


def start(suite: Path, results: Path, *more: str) -> subprocess.Popen[str]:
    """A child process that runs `suite`, its `Slow` models at a tenth of their speed."""
    return subprocess.Popen(
        command("run", "--suite", str(suite), "--results", str(results), *more),
        env=environment() | {"SLOW_STEP_SECONDS": "0.2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_a_checkpoint(results: Path, process: subprocess.Popen[str], newer: float) -> None:
    """Return once `process` has written a checkpoint after the time `newer`."""
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        states = [path.stat().st_mtime for path in results.glob("checkpoints/*/state.pt")]
        if any(changed > newer for changed in states):
            return
        time.sleep(0.05)
    pytest.fail("no checkpoint was written: " + (process.communicate()[0] or ""))
