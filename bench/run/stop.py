"""How a process is asked to stop: by a signal, or by the end of its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import TextIO


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a process to stop: SIGHUP not where it is ignored, as under nohup."""
    hang_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hang_up]


class StopRequest:
    """True once this process was asked to stop: by a signal, or by the end of its parent."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def __call__(self) -> bool:
        """Whether it has been asked."""
        return self._asked.is_set()

    def on_signals(self) -> None:
        """Take SIGINT, SIGTERM and SIGHUP as the request; a second one ends the process at once."""
        for number in stop_signals():
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set():
            os._exit(128 + number)
        self._asked.set()

    def on_end_of(self, stream: TextIO) -> None:
        """Take the end of `stream` as the request: a parent that dies closes its end of it."""

        def wait() -> None:
            with contextlib.suppress(OSError, ValueError):
                while stream.read(1):
                    pass
            self._asked.set()

        threading.Thread(target=wait, daemon=True, name="parent watch").start()
