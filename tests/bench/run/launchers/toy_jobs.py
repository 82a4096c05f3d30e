"""Jobs whose process is a few lines of code instead of a cell, for launchers of any kind."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from bench.records import Status
from bench.run.events import Event, Finished, Progress, encode
from bench.run.launchers.launcher import Job, Started
from bench.run.launchers.remote import RemoteLauncher

TELL = f"""
import os, pathlib, sys, threading, time
events = int(sys.argv[-1])
def tell(line):
    os.write(events, line.encode() + b"\\n")
def until_asked():
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    stop.wait()
DONE = {encode(Finished(Status.DONE, run_id="r"))!r}
STOPPED = {encode(Finished(Status.INTERRUPTED, "stopped before its end", "r"))!r}
PROGRESS = {encode(Progress("train", 0.5, loss=0.1))!r}
"""
"""What stands before the code of a job; like a cell it stops when its input ends."""


def toy_job(code: str, folder: Path, name: str = "a", **limits: float) -> Job:
    """A job that runs `code`, its log in `folder`; `silence` and `total` seconds are its limits."""
    return Job(
        f"{name}/b/0",
        [],
        folder / f"{name}.log",
        limits.get("silence", 60),
        limits.get("total"),
        key=name,
        program=("-c", TELL + textwrap.dedent(code)),
    )


def told_by(
    launcher: RemoteLauncher, *jobs: Job, on_progress: Callable[[], object] = lambda: None
) -> dict[str, list[Event | Started]]:
    """The events of each job; `on_progress` is called once, when the first of them trains."""
    told: dict[str, list[Event | Started]] = {job.key: [] for job in jobs}
    was_called = False
    for job, event in launcher.run(jobs):
        told[job.key].append(event)
        if isinstance(event, Progress) and not was_called:
            was_called = True
            on_progress()
    return told


def end_of(events: list[Event | Started]) -> Finished:
    """The one end among the events of a job, which is the last of them."""
    (end,) = [event for event in events if isinstance(event, Finished)]
    assert events[-1] == end
    return end
