"""A cell's process and all that it starts, watched until they have ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from bench import PACKAGE
from bench.records import Status
from bench.run.events import Event, Finished, Lines, Note, decode
from bench.run.launchers.launcher import Job

POLL_SECONDS = 0.2
GRACE_SECONDS = 30.0  # between asking a child to stop and killing it
LAST_LINES = 30  # of a child's output, shown where it dies without an event
LAST_BYTES = 1 << 16
READ_BYTES = 1 << 16
READS_AT_ONCE = 256  # a child that never stops telling must not keep us from ending it
DEAF = ("sh", "-c", 'trap "" USR2; exec "$@"', "sh")
"""Runs a command that SIGUSR2 does not end: a cluster's warning, which is for its parent."""


class Parent(Protocol):
    """What a child is watched for."""

    @property
    def stopped(self) -> bool:
        """Whether it is to be asked to stop."""

    @property
    def stopped_twice(self) -> bool:
        """Whether it is to be killed."""

    def publish(self, job: Job, event: Event) -> None:
        """Pass on what it tells."""


class Child:
    """A cell's process and its group, watched until both have ended.

    Its events come through a pipe of their own; what it prints goes to the log without us, so that
    neither our end nor a grandchild that keeps printing is in anybody's way.
    """

    def __init__(
        self,
        job: Job,
        more: dict[str, str],
        parent: Parent,
        by_signals: bool = True,
        descriptors: Sequence[int] = (),
    ) -> None:
        """Start it.

        Args:
            job: what it does.
            more: variables beside those of this process.
            parent: told of its events, and asked whether to stop it.
            by_signals: how it is asked: by a signal, or else by the end of its input alone, where a
                cluster signals all processes of a job itself and a second one would end it at once.
            descriptors: that it is to have, too.
        """
        self._job, self._parent, self._by_signals = job, parent, by_signals
        self._oom_kills = kernel_oom_kills()
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
                self._process = self._start(more, [theirs, *descriptors])
            finally:
                os.close(theirs)
            opened.pop_all()
        os.set_blocking(self._events, False)
        self._began = self._heard = time.monotonic()

    def _start(self, more: dict[str, str], descriptors: list[int]) -> subprocess.Popen[bytes]:
        words = [*self._job.program, *self._job.arguments, "--events", str(descriptors[0])]
        return subprocess.Popen(
            [*([] if self._by_signals else DEAF), sys.executable, "-X", "faulthandler", *words],
            env=environment() | more,
            stdin=subprocess.PIPE,  # its end tells the child that its parent is gone
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
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
                elif self._parent.stopped:
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
            self._parent.publish(self._job, event)

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
            if self._by_signals:
                self._process.send_signal(number)
            elif self._process.stdin is not None:
                self._process.stdin.close()
        if now - self._asked_at > GRACE_SECONDS or self._parent.stopped_twice:
            self._kill()

    def _let_end(self) -> None:
        """Give a process that is through a while; a thread may keep it from its end."""
        if time.monotonic() - self._heard > GRACE_SECONDS or self._parent.stopped_twice:
            self._kill()

    def _kill(self) -> None:
        """Kill the process and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(self._process.pid, signal.SIGKILL)

    def _guess(self, code: int) -> Finished:
        """The likely outcome of a process that sent no `Finished`."""
        printed = self._last_lines()
        for line in printed:
            self._parent.publish(self._job, Note(line))
        if code == -signal.SIGKILL:
            if kernel_oom_kills() > self._oom_kills:
                return Finished(Status.OUT_OF_MEMORY, "killed by the kernel: out of memory")
            late = f"not over {GRACE_SECONDS:g} s after it was asked to end, and killed"
            asked = self._asked_at is not None
            return Finished(Status.INTERRUPTED, late if asked else "killed from outside (SIGKILL)")
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


def environment() -> dict[str, str]:
    """This process's environment, with the package importable from any folder."""
    place = Path(str(import_module(PACKAGE).__file__)).resolve().parents[1]
    paths = [str(place), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def kernel_oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory since boot; 0 where unknown."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
