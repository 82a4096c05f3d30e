"""What is said beside the display: lines that stay, and one that is gone once its wait is over."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

ERASE = "\x1b[K"  # from the cursor to the end of its line

_awaited: list[str] = []  # the last is at the terminal now


def announce(text: str) -> None:
    """Tells the user of something beside the display."""
    if _awaited:
        sys.stderr.write(ERASE)
    sys.stderr.write(f"{text}\n")
    _show()


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Says at a terminal, during the block, what takes so long; nothing where lines cannot change.

    The cursor stays at its beginning, and `what` is short: other output of the block goes through
    `announce`, or would stand on it.
    """
    if not redraws(sys.stderr):
        yield
        return
    _awaited.append(what)
    _show()
    try:
        yield
    finally:
        _awaited.pop()
        sys.stderr.write(ERASE)
        _show()


def redraws(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that can change what it shows."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def _show() -> None:
    if _awaited:
        sys.stderr.write(f"{_awaited[-1]} ...{ERASE}\r")
    sys.stderr.flush()
