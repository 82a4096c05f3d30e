"""Runs cells on this machine: one child process per cell, one cell per device at a time."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from bench.records import Status
from bench.run.events import Event, Finished, Note, decode
from bench.run.launchers.launcher import Job, Started
from bench.suite.fingerprint import REPOSITORY
from bench.train import hardware

POLL_SECONDS = 0.2
GRACE_SECONDS = 30.0  # between asking a child to stop and killing it
LAST_LINES = 30  # of a child's output, shown where it dies without an event


@dataclass
class LocalLauncher:
    """Starts jobs as devices come free. `stop()` asks the running ones to end, twice kills them."""

    device: hardware.Device
    _events: queue.Queue[tuple[Job, Event | Started]] = field(default_factory=queue.Queue)
    _stops: int = 0

    def stop(self) -> None:
        """Start no more jobs and ask those that run to stop; the second time, kill them."""
        self._stops += 1

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for."""
        return self._stops > 0

    @property
    def stopped_twice(self) -> bool:
        """Whether a second stop was asked for: children are killed."""
        return self._stops > 1

    @property
    def slots(self) -> list[dict[str, str]]:
        """The environment of each concurrent cell: one per GPU, else one."""
        if self.device != "cuda":
            return [{}]
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = visible if visible != [""] else map(str, range(torch.cuda.device_count()))
        return [{"CUDA_VISIBLE_DEVICES": name} for name in names]

    @property
    def workers(self) -> int:
        """As many as there are slots."""
        return len(self.slots)

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Event | Started]]:
        """The events of the jobs as they come; the last of each job is a `Finished`."""
        waiting, free = deque(jobs), deque(self.slots)
        running: dict[str, dict[str, str]] = {}
        while running or (waiting and not self.stopped):
            while waiting and free and not self.stopped:
                job = waiting.popleft()
                slot = running[job.name] = free.popleft()
                threading.Thread(target=self._run_one, args=(job, slot), daemon=True).start()
            try:
                job, event = self._events.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(event, Finished):
                free.append(running.pop(job.name))
            yield job, event

    def _run_one(self, job: Job, slot: dict[str, str]) -> None:
        self._events.put((job, Started()))
        try:
            finished = _Child(job, slot, self).outcome()
        except Exception as error:  # a thread cannot raise to its starter
            finished = Finished(Status.FAILED, f"{type(error).__name__}: {error}")
        self._events.put((job, finished))

    def publish(self, job: Job, event: Event) -> None:
        """Pass on an event of a running job."""
        self._events.put((job, event))


class _Child:
    """A cell's process, watched until it ends."""

    def __init__(self, job: Job, environment: dict[str, str], launcher: LocalLauncher) -> None:
        self._job, self._launcher = job, launcher
        self._oom_kills = hardware.kernel_oom_kills()
        self._printed: deque[str] = deque(maxlen=LAST_LINES)
        self._finished: Finished | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "bench", *job.arguments],
            env=_environment() | environment,
            stdin=subprocess.PIPE,  # its end tells the child that its parent is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
        self._began = self._heard = time.monotonic()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  (it was asked for above)
        for line in self._process.stdout:
            self._heard = time.monotonic()
            event = decode(line)
            if isinstance(event, Finished):
                self._finished = event
            elif event is not None:
                self._launcher.publish(self._job, event)
            elif line.strip():
                self._printed.append(line.rstrip())

    def outcome(self) -> Finished:
        """How the process ended, once it has."""
        overdue = ""
        while self._process.poll() is None and not overdue:
            if self._launcher.stopped:
                self._end(signal.SIGINT)
            overdue = self._overdue()
            time.sleep(POLL_SECONDS)
        if overdue:
            self._end(signal.SIGTERM)
        self._reader.join(timeout=5)
        self._close()
        if overdue:
            return Finished(Status.TIMEOUT, overdue)
        return self._finished or self._guess(self._process.returncode)

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _overdue(self) -> str:
        now, job = time.monotonic(), self._job
        if now - self._heard > job.silence_seconds:
            return f"no sign of life for {job.silence_seconds:.0f} s"
        if job.total_seconds is not None and now - self._began > job.total_seconds:
            return f"took longer than {job.total_seconds:.0f} s"
        return ""

    def _end(self, number: signal.Signals) -> None:
        """Ask the process to end; kill it where it does not, or after a second stop."""
        self._process.send_signal(number)
        ends = time.monotonic() + GRACE_SECONDS
        while self._process.poll() is None:
            if time.monotonic() > ends or self._launcher.stopped_twice:
                self._process.kill()
                self._process.wait()
            time.sleep(POLL_SECONDS / 4)

    def _guess(self, code: int) -> Finished:
        """The likely outcome of a process that sent no `Finished`."""
        for line in self._printed:
            self._launcher.publish(self._job, Note(line))
        if code == -signal.SIGKILL:
            if hardware.kernel_oom_kills() > self._oom_kills:
                return Finished(Status.OUT_OF_MEMORY, "killed by the kernel: out of memory")
            return Finished(Status.INTERRUPTED, "killed from outside (SIGKILL)")
        if code in (-signal.SIGINT, -signal.SIGTERM):
            return Finished(Status.INTERRUPTED, f"stopped by {signal.Signals(-code).name}")
        if code < 0:
            return Finished(Status.FAILED, f"crashed with {signal.Signals(-code).name}")
        last = self._printed[-1] if self._printed else "without a word"
        return Finished(Status.FAILED, f"exit code {code}: {last}")


def _environment() -> dict[str, str]:
    """This process's environment, with the packages importable from any folder."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
