"""Seconds in which the process was stopped: it neither ran nor asked to."""

from __future__ import annotations

import resource
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from types import TracebackType

TICK_SECONDS = 0.05
SHORTEST_SECONDS = 0.25
"""Of a stop. A tick may be late by less for other reasons, such as a page read from a disk."""
LATEST_SECONDS = 1.0  # that anyone waits for a tick
_SCHEDULE = Path("/proc/thread-self/schedstat")


class Stopped:
    """Counts, inside `with`, the seconds in which the process was stopped as a whole.

    That is by SIGSTOP or SIGTSTP, a debugger, a freezer of containers, or a pause of its virtual
    machine; a suspended machine stops the clock itself. A thread of ours ticks. Where it is late,
    it waited for a processor, which Linux counts; or for Python's lock, for which it wakes up at
    each switch interval, which is counted, too; or it was stopped.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="ticks", daemon=True)

    @property
    def seconds(self) -> float:
        """Seconds until now. Where a tick is late, waits for it: it tells why."""
        patience = time.monotonic() + LATEST_SECONDS
        while self._is_late and time.monotonic() < patience:
            time.sleep(TICK_SECONDS)
        return self._seconds

    @property
    def _is_late(self) -> bool:
        return self._thread.is_alive() and time.monotonic() > self._due + SHORTEST_SECONDS

    @property
    def is_known(self) -> bool:
        """Whether this system tells a process that was stopped from one that waits."""
        return _IS_KNOWN

    def __enter__(self) -> Stopped:
        self._due = time.monotonic() + TICK_SECONDS
        if _IS_KNOWN:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._end.set()
        if _IS_KNOWN:
            self._thread.join()

    def _tick(self) -> None:
        with suppress(OSError), _SCHEDULE.open("rb", buffering=0) as schedule:
            before = _Thread.now(schedule)
            while not self._end.wait(TICK_SECONDS):
                now = _Thread.now(schedule)
                late = now.unexplained_since(before) - TICK_SECONDS
                if late > SHORTEST_SECONDS:
                    self._seconds += late
                before, self._due = now, now.at + TICK_SECONDS


@dataclass(frozen=True, slots=True)
class _Thread:
    """What the system has counted of the calling thread: seconds, and sleeps it went into."""

    at: float
    busy: float
    """Running, or waiting for a processor."""
    sleeps: int

    @classmethod
    def now(cls, schedule: RawIOBase) -> _Thread:
        schedule.seek(0)
        ran, queued, *_ = (schedule.read() or b"").split()
        sleeps = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        return cls(time.monotonic(), (int(ran) + int(queued)) / 1e9, sleeps)

    def unexplained_since(self, before: _Thread) -> float:
        """Seconds in which it was neither busy nor asking for Python's lock."""
        asking = 2 * sys.getswitchinterval() * (self.sleeps - before.sleeps)
        return self.at - before.at - (self.busy - before.busy) - asking


def _counts() -> bool:
    """Whether the system counts what is needed: a kernel that does not may say 0 of everything."""
    try:
        counted = Path("/proc/self/schedstat").read_text("ascii").split()
    except OSError:
        return False
    return any(map(int, counted)) and _SCHEDULE.exists() and hasattr(resource, "RUSAGE_THREAD")


_IS_KNOWN = _counts()
