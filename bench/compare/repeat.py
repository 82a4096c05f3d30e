"""Runs a cell again, as `bench cell` does, in a folder and a store of its own."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.compare.recorded import Recorded
from bench.records import Status
from bench.run import plan
from bench.run.events import Finished, Note, Progress
from bench.run.invocation import passing_signals_to
from bench.run.launchers.launcher import Job, Started
from bench.run.launchers.local import LocalLauncher
from bench.store.address import DATABASE, uri_of
from bench.store.mlflow import Store

if TYPE_CHECKING:
    from bench.run.display import Screen
    from bench.suite.cell import Cell


class Stopped(Exception):
    """The user stopped it."""


def repeat(
    cell: Cell, folder: Path, screen: Screen, command: str, until: float = 1.0
) -> tuple[Finished, Recorded | None]:
    """How the `cell`, run in a process of its own, ended, and what it recorded.

    One that stopped because it had trained far enough counts as done.

    Args:
        cell: what to run.
        folder: for its store and checkpoint; nothing else is written to.
        screen: how to speak to the user.
        command: the line that does the same again.
        until: the fraction of the budget from which on it may stop.

    Raises:
        Stopped: the user stopped it.
    """
    launcher = LocalLauncher(cell.device, cell.devices)
    words = ["cell", str(cell.write(folder)), "--results", str(folder)]
    words += ["--tracking-uri", uri_of(folder / DATABASE)]
    job = Job.of(cell, words, folder / "verify.log")
    finished, is_enough = None, False
    with screen.display(sys.stdout) as display, passing_signals_to(launcher.stop):
        display.plan([plan.planned(cell)], plan.settings([cell]))
        for _, event in launcher.run([job]):
            if isinstance(event, Started):
                display.cell_started(cell.name)
            elif isinstance(event, Progress | Note):
                display.event(cell.name, event)
                if until < 1 and not is_enough and _trained_to(event) >= until:
                    is_enough = True
                    launcher.stop()
            else:
                finished = event
                if not is_enough:
                    display.cell_finished(cell.name, event, command)
    if finished is None or (launcher.stopped and not is_enough):
        raise Stopped
    if is_enough and finished.status is Status.INTERRUPTED:
        finished = replace(finished, status=Status.DONE)
    store = Store(uri_of(folder / DATABASE), screen.announce)
    run = store.run(finished.run_id) if finished.run_id else None
    return finished, Recorded(store, run) if run else None


def _trained_to(event: Progress | Note) -> float:
    """The fraction of the budget that is spent, where `event` says so."""
    if isinstance(event, Progress) and event.phase == "train":
        return event.fraction
    return 0.0
