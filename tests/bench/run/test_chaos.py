"""Kills change no figure: the short form of `python -m tests.performance.chaos`."""

import shutil
from itertools import chain
from pathlib import Path

from tests.bench.conftest import run_here
from tests.performance.chaos import Ended, Kill, Process, Victim, killed, run, store_in, write_suite

CELLS = 2
# The first cell is copied for three kills and the last of these ends it; so the rest meet training.
KILLS: tuple[tuple[Process, Victim, str, int], ...] = (
    ("child", "self", "opening the store", 1),
    ("child", "self", "set-up", 3),
    ("child", "self", "ending a run", 9),
    ("child", "self", "beginning a run", 9),
    ("child", "self", "warm-up", 0),
    ("child", "self", "saving", 4),
    ("child", "self", "test", 5),
    ("child", "self", "recording", 3),
    ("child", "both", "saving", 2),
)


def test_kills_of_parent_and_children_change_no_figure(tmp_path: Path, empty_store: Path) -> None:
    suite, calm, rough = write_suite(tmp_path, seeds=[0]), tmp_path / "calm", tmp_path / "rough"
    shutil.copytree(empty_store, calm)
    _run_here(suite, calm)
    first = Kill("parent", "self", "planning", "write", 5, str(tmp_path / "kill"))
    kills = [
        Kill(process, victim, phase, "write", at, str(tmp_path / f"kill-{number}"))
        for number, (process, victim, phase, at) in enumerate(KILLS)
    ]
    run(suite, rough, [first])
    run(suite, rough, kills)
    assert len([*chain.from_iterable(map(killed, [first, *kills]))]) >= 8
    _run_here(suite, rough)
    ended = [Ended.read(store_in(results), CELLS) for results in (calm, rough)]
    ended[0].check_same(ended[1])


def _run_here(suite: Path, results: Path) -> None:
    done = run_here("run", "--suite", suite, "--results", results, report=False)
    assert done.returncode == 0, done.stdout + done.stderr
