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

from bench.records import Status
from bench.run import gpus
from bench.run.events import Event, Finished, Lines, Note, decode
from bench.run.gpus import Slot
from bench.run.launchers.launcher import Job, Started
from bench.suite.fingerprint import REPOSITORY
from bench.train import hardware

POLL_SECONDS = 0.2
GRACE_SECONDS = 30.0  # between asking a child to stop and killing it
LAST_LINES = 30  # of a child's output, shown where it dies without an event
LAST_BYTES = 1 << 16
READ_BYTES = 1 << 16
READS_AT_ONCE = 256  # a child that never stops telling must not keep us from ending it


@dataclass
class LocalLauncher:
    """Starts jobs as devices come free. `stop()` asks the running ones to end, twice kills them."""

    device: hardware.Device
    devices: int = 1
    """Of each cell."""
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
    def slots(self) -> list[Slot]:
        """A place for each concurrent cell: as many as the GPUs have room for, else one."""
        return gpus.slots(self.devices) if self.device == "cuda" else [Slot()]

    @property
    def workers(self) -> int:
        """How many cells run at once."""
        return len(hardware.visible_gpus()) // self.devices if self.device == "cuda" else 1

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Event | Started]]:
        """The events of the jobs as they come; the last of each job is a `Finished`.

        A GPU that another run uses is waited for, as the others are used.
        """
        waiting, free = deque(jobs), self.slots
        running: dict[str, Slot] = {}
        told: set[str] = set()
        try:
            while running or (waiting and not self.stopped):
                for slot in [*free]:
                    if not waiting or self.stopped:
                        break
                    if slot.take():
                        job = waiting.popleft()
                        running[job.name] = slot
                        free.remove(slot)
                        self._start(job, slot)
                    elif slot.name not in told:
                        told.add(slot.name)
                        text = f"GPU {slot.name} is used by another run: waiting until it is free"
                        yield waiting[0], Note(text)
                try:
                    job, event = self._events.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if isinstance(event, Finished):
                    slot = running.pop(job.name)
                    slot.give_back()
                    free.append(slot)
                yield job, event
        finally:
            for slot in running.values():
                slot.give_back()

    def _start(self, job: Job, slot: Slot) -> None:
        threading.Thread(target=self._run_one, args=(job, slot), daemon=True).start()

    def _run_one(self, job: Job, slot: Slot) -> None:
        self._events.put((job, Started()))
        try:
            finished = _Child(job, slot.environment, self).outcome()
        except Exception as error:  # a thread cannot raise to its starter
            finished = Finished(Status.FAILED, f"{type(error).__name__}: {error}")
        self._events.put((job, finished))

    def publish(self, job: Job, event: Event) -> None:
        """Pass on an event of a running job."""
        self._events.put((job, event))


class _Child:
    """A cell's process and its group, watched until both have ended.

    Its events come through a pipe of their own; what it prints goes to the log without us, so that
    neither our end nor a grandchild that keeps printing is in anybody's way.
    """

    def __init__(self, job: Job, environment: dict[str, str], launcher: LocalLauncher) -> None:
        self._job, self._launcher = job, launcher
        self._oom_kills = hardware.kernel_oom_kills()
        self._finished: Finished | None = None
        self._lines = Lines()
        self._asked_at: float | None = None
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._log = opened.enter_context(job.log.open("ab+"))
            self._printed_from = self._printed_to = self._log.seek(0, os.SEEK_END)
            self._events, theirs = os.pipe()
            opened.callback(os.close, self._events)
            try:
                self._process = self._start(environment, theirs)
            finally:
                os.close(theirs)
            opened.pop_all()
        os.set_blocking(self._events, False)
        self._began = self._heard = time.monotonic()

    def _start(self, environment: dict[str, str], events: int) -> subprocess.Popen[bytes]:
        words = ["-m", "bench", *self._job.arguments, "--events", str(events)]
        return subprocess.Popen(
            [sys.executable, "-X", "faulthandler", *words],
            env=child_environment() | environment,
            stdin=subprocess.PIPE,  # its end tells the child that its parent is gone
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=[events],
            start_new_session=True,  # Ctrl-C is ours to pass on
        )

    def outcome(self) -> Finished:
        """How the process ended, once it has."""
        overdue = ""
        try:
            while self._process.poll() is None:
                self._read()
                overdue = overdue or self._overdue()
                if self._finished is not None:
                    self._let_end()
                elif overdue:
                    self._ask_to_end(signal.SIGTERM)
                elif self._launcher.stopped:
                    self._ask_to_end(signal.SIGINT)
                time.sleep(POLL_SECONDS)
            self._kill()  # what it left behind
            self._read()
            is_done = self._finished is not None and self._finished.status is Status.DONE
            if overdue and not is_done:
                return Finished(Status.TIMEOUT, overdue)
            return self._finished or self._guess(self._process.returncode)
        finally:
            self._close()

    def _close(self) -> None:
        if self._process.poll() is None:  # only where something failed here
            self._kill()
            self._process.wait()
        os.close(self._events)
        self._log.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _read(self) -> None:
        """Pass on the events that have come."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(READS_AT_ONCE):
                if not (data := os.read(self._events, READ_BYTES)):
                    break
                self._heard = time.monotonic()
                for line in self._lines.add(data):
                    if event := decode(line):
                        self._take(event)
        size = os.fstat(self._log.fileno()).st_size
        if size != self._printed_to:
            self._printed_to, self._heard = size, time.monotonic()

    def _take(self, event: Event) -> None:
        if isinstance(event, Finished):
            self._finished = event
        else:
            self._finished = None  # only the last event can be the end
            self._launcher.publish(self._job, event)

    def _overdue(self) -> str:
        now, job = time.monotonic(), self._job
        if self._finished is not None:
            return ""
        if now - self._heard > job.silence_seconds:
            return f"no sign of life for {job.silence_seconds:.0f} s"
        if job.total_seconds is not None and now - self._began > job.total_seconds:
            return f"took longer than {job.total_seconds:.0f} s"
        return ""

    def _ask_to_end(self, number: signal.Signals) -> None:
        """Ask the process to end, once; kill it where it does not, or after a second stop."""
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            self._process.send_signal(number)
        if now - self._asked_at > GRACE_SECONDS or self._launcher.stopped_twice:
            self._kill()

    def _let_end(self) -> None:
        """Give a process that is through a while; a thread may keep it from its end."""
        if time.monotonic() - self._heard > GRACE_SECONDS or self._launcher.stopped_twice:
            self._kill()

    def _kill(self) -> None:
        """Kill the process and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(self._process.pid, signal.SIGKILL)

    def _guess(self, code: int) -> Finished:
        """The likely outcome of a process that sent no `Finished`."""
        printed = self._last_lines()
        for line in printed:
            self._launcher.publish(self._job, Note(line))
        if code == -signal.SIGKILL:
            if hardware.kernel_oom_kills() > self._oom_kills:
                return Finished(Status.OUT_OF_MEMORY, "killed by the kernel: out of memory")
            return Finished(Status.INTERRUPTED, "killed from outside (SIGKILL)")
        number = -code if code < 0 else code - 128  # 128 + n: it ended at once when asked again
        if number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            return Finished(Status.INTERRUPTED, f"stopped by {signal.Signals(number).name}")
        if code < 0:
            return Finished(Status.FAILED, f"crashed with {signal.Signals(number).name}")
        last = printed[-1] if printed else "without a word"
        return Finished(Status.FAILED, f"exit code {code}: {last}")

    def _last_lines(self) -> list[str]:
        """The last lines that it printed; those of its display are known already."""
        self._log.seek(max(self._printed_from, self._printed_to - LAST_BYTES))
        lines = self._log.read(LAST_BYTES).decode("utf-8", "replace").splitlines()
        told = f"{self._job.name}: "
        return [line.rstrip() for line in lines if line.strip() and not line.startswith(told)][
            -LAST_LINES:
        ]


def child_environment() -> dict[str, str]:
    """This process's environment, with the packages importable from any folder."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
