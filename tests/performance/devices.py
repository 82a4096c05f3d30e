"""How far two gloo processes end from one, for every model, and how fast each trains.

    python -m tests.performance.devices [MODEL ...]
    python -m tests.performance.devices --speed

Twenty steps in float64, or samples a second, with one thread a process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bench.suite import catalogue
from bench.train import step
from bench.train.task import task_of
from bench.train.team import ALONE, Team, joined
from datasets.contract import Spec
from tests.bench.train import together

STEPS, TIMED_STEPS, BATCH = 20, 20, 8
TIMED = ("convlstm", "predrnn", "sith")
SPEC = Spec((1, 64, 64), 10, 10)


def main() -> None:
    """Print the table; as the second of two processes, none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="those of the table (default: all)")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--meeting", type=Path, help="given to the second process")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)

    def run(team: Team) -> dict[str, dict[str, Tensor]]:
        return _timed(team) if given.speed else together.every(team, STEPS, given.models)

    if given.meeting is not None:
        with joined(1, 2, "cpu", given.meeting) as team:
            run(team)
        return
    alone = run(ALONE)
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        words = [sys.executable, "-m", "tests.performance.devices", *sys.argv[1:]]
        with (
            subprocess.Popen([*words, "--meeting", str(meeting)]),
            joined(0, 2, "cpu", meeting) as team,
        ):
            found = run(team)
    for name, one in alone.items():
        row = _rates(one, found[name]) if given.speed else _apart(name, one, found[name])
        sys.stdout.write(f"| {name} | {row} |\n")


def _apart(name: str, one: dict[str, Tensor], two: dict[str, Tensor]) -> str:
    """The largest difference of a weight, and of a buffer where one differs."""
    weights = dict(together.training(name, ALONE).model.module.named_parameters())
    apart = {key: float((one[key].double() - two[key].double()).abs().max()) for key in one}
    of_weights = max(value for key, value in apart.items() if key in weights)
    of_buffers = max([0.0, *(value for key, value in apart.items() if key not in weights)])
    return f"{of_weights:.0e} | {f'{of_buffers:.0e}' if of_buffers else '0'}"


def _rates(one: dict[str, Tensor], two: dict[str, Tensor]) -> str:
    return " | ".join(f"{float(each[key]):.3g}" for key in one for each in (one, two))


def _timed(team: Team) -> dict[str, dict[str, Tensor]]:
    """Samples a second by the clock, and CPU milliseconds a sample of all processes."""
    return {name: _rate(name, team) for name in TIMED}


def _rate(name: str, team: Team) -> dict[str, Tensor]:
    model_class = catalogue.all_models()[name]
    size, task = model_class.sizes["small"], task_of("prediction", SPEC)
    torch.manual_seed(0)
    model = task.build(model_class, size.options)
    recipe, fabric = replace(size.recipe, batch_size=BATCH), step.fabric_on("cpu", "32", team)
    one = step.Training(model, recipe, task, together.Noise(SPEC), 0, fabric, team)
    for number in range(2):
        one.step(number, 0.0)
    team.gathered(None)
    began, used = time.perf_counter(), time.process_time()
    for number in range(2, 2 + TIMED_STEPS):
        one.step(number, 0.0)
    one.finish()
    seconds = time.perf_counter() - began
    cpu = sum(team.gathered(time.process_time() - used))
    samples = TIMED_STEPS * BATCH
    return {"rate": torch.tensor(samples / seconds), "cpu": torch.tensor(1e3 * cpu / samples)}


if __name__ == "__main__":
    main()
