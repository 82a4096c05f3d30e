"""Ctrl-C beside child processes: only their parent hears it, and only where it loses none of them.

A KeyboardInterrupt may come between any two instructions: after the start of a process and before
the note of it, or while a lock is held that its end needs. And one that comes just before the
parent begins to wait would be heard when the wait is over. Therefore it is asked for.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """During the block Ctrl-C waits for a call of what is yielded, or for the end of the block.

    Not where it is ignored or ends the process at once, nor in a thread that it never interrupts.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came = False

    def hear(*_: object) -> None:
        nonlocal came
        came = True

    def raise_it() -> None:
        nonlocal came
        if came:
            came = False
            handler(signal.SIGINT, None)

    signal.signal(signal.SIGINT, hear)
    try:
        yield raise_it
    finally:
        signal.signal(signal.SIGINT, handler)
        raise_it()


class _Process(SpawnProcess):
    """A process that Ctrl-C does not reach, not even before its own code could ignore it."""

    def start(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # a child inherits it
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Unheard(SpawnContext):
    """Starts processes that Ctrl-C does not reach: their parent ends them."""

    Process = _Process
