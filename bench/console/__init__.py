"""The terminal side of a run: the plan, the bars, one line per finished cell, the final table."""

from __future__ import annotations

import io
from typing import TextIO

from bench.console.waiting import announce, redraws, waiting
from bench.run.display import Display, Screen

__all__ = ["SCREEN", "announce", "display_for", "waiting"]

UNLIMITED_WIDTH = 10_000  # a file has no edge at which a table must be cut


def display_for(stream: TextIO) -> Display:
    """Bars where `stream` is a terminal that can redraw its lines, else plain lines."""
    from rich.console import Console  # for a run alone: lists tell of something, too

    from bench.console.live import LiveDisplay
    from bench.console.plain import PlainDisplay

    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # an arrow must not end a run in an ASCII locale
    if redraws(stream):
        return LiveDisplay(Console(file=stream, force_terminal=True, highlight=False))
    return PlainDisplay(
        Console(file=stream, force_terminal=False, highlight=False, width=UNLIMITED_WIDTH)
    )


SCREEN = Screen(display_for, announce, waiting)
"""The user's terminal."""
