"""Measuring in this process, with small products and copies: nobody reads these times."""

import os
from collections.abc import Iterator, Sequence

import pytest

from bench import cli
from bench.run.events import Event, decode
from bench.run.launchers.launcher import Job, Started
from bench.run.launchers.local import LocalLauncher
from bench.run.stop import StopRequest


class LauncherHere(LocalLauncher):
    """Runs the same command line of each job in this process."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Event | Started]]:
        for job in jobs:
            yield job, Started()
            ours, theirs = os.pipe()
            try:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(StopRequest, "on_signals", lambda _: None)
                    patch.setattr(StopRequest, "on_end_of", lambda *_: None)
                    cli.main([*job.arguments, "--events", str(theirs)])
            finally:
                os.close(theirs)
            with os.fdopen(ours, "rb") as lines:
                for event in filter(None, map(decode, lines)):
                    yield job, event


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No child processes, and no long looks at the device."""
    monkeypatch.setattr("bench.speed.speed.LocalLauncher", LauncherHere)
    monkeypatch.setattr("bench.speed.device.SIDES", (64,))
    monkeypatch.setattr("bench.speed.device.COPIED_BYTES", {"cpu": 1 << 16})
    monkeypatch.setattr("bench.speed.device.REPEAT_SECONDS", 0.0)
