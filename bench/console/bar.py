"""The progress of a long job: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bench.units import duration, figure

LINE_SECONDS = 10.0


class Bar:
    """The progress of a job over files; a context manager."""

    def __init__(
        self,
        what: str,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name the job.

        Args:
            what: is done, in few words.
            stream: where to show it (default: standard output).
            clock: seconds since some moment.
        """
        self._what, self._clock = what, clock
        self._stream = stream or sys.stdout
        self._live: Progress | None = None
        if self._stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
            self._live = _progress(Console(file=self._stream, force_terminal=True))
            self._bar = self._live.add_task(what, total=None, words="")
        self._first: tuple[float, int, int] | None = None
        self._last_line = clock()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, done: int, total: int, frames: int, damaged: int) -> None:
        """Say that `done` of `total` things are done, `damaged` ones among them, with `frames`."""
        now = self._clock()
        # What was there at the first call was not done now: it says nothing of the speed.
        began, done_before, frames_before = self._first = self._first or (now, done, frames)
        words = [f"{damaged} damaged"] if damaged else []
        if now > began and done > done_before:
            seconds_left = (now - began) * (total - done) / (done - done_before)
            words.insert(0, f"{figure((frames - frames_before) / (now - began))} frames/s")
            words += [f"{duration(math.ceil(seconds_left))} left"] if done < total else []
        if self._live is not None:
            self._live.update(self._bar, completed=done, total=total, words=", ".join(words))
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._stream.write(f"{self._what}: {', '.join((f'{done}/{total}', *words))}\n")
            self._stream.flush()


def _progress(console: Console) -> Progress:
    """The bar, which leaves nothing behind."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(complete_style="cyan", finished_style="green"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        console=console,
        transient=True,
    )
