"""Kills change no figure: the short form of `python -m tests.performance.chaos`."""

import random
import shutil
from itertools import chain
from pathlib import Path

from tests.bench.conftest import run_here
from tests.performance.chaos import (
    CELL,
    EARLY,
    Ended,
    killed,
    random_kill,
    run,
    store_in,
    write_suite,
)

CELLS = 2


def test_kills_of_parent_and_children_change_no_figure(tmp_path: Path, empty_store: Path) -> None:
    suite, calm, rough = write_suite(tmp_path, seeds=[0]), tmp_path / "calm", tmp_path / "rough"
    shutil.copytree(empty_store, calm)
    _run_here(suite, calm)
    chance = random.Random(0)
    (first,) = plan = [random_kill(EARLY, ("self",), tmp_path / "kill-0", chance)]
    plan += [random_kill(CELL, ("self",), tmp_path / f"kill-{n}", chance) for n in range(1, 8)]
    plan += [random_kill(CELL, ("both",), tmp_path / "kill-8", chance)]
    run(suite, rough, [first])
    run(suite, rough, plan[1:])
    assert len([*chain.from_iterable(map(killed, plan))]) >= 5
    _run_here(suite, rough)
    ended = [Ended.read(store_in(results), CELLS) for results in (calm, rough)]
    ended[0].check_same(ended[1])


def _run_here(suite: Path, results: Path) -> None:
    done = run_here("run", "--suite", suite, "--results", results)
    assert done.returncode == 0, done.stdout + done.stderr
