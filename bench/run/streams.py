"""Output that outlives its reader: a closed terminal, a dead parent or a full disk ends no run."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


class _Lasting(io.FileIO):
    """A file whose writes are lost, not raised, where nobody takes them."""

    def write(self, data: Any) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return len(data) if written is None else written


def lasting(file: Path | int, encoding: str = "utf-8") -> TextIO:
    """The file at a path, added to, or of a descriptor, written line by line; no write fails."""
    is_path = isinstance(file, Path)
    raw = _Lasting(str(file) if is_path else file, "a" if is_path else "w", closefd=is_path)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="replace", line_buffering=True
    )


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """During the block no write to standard output or error fails."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_as_lasting, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _as_lasting(stream: TextIO) -> TextIO:
    try:
        stream.flush()
        number = stream.fileno()
    except (OSError, ValueError):  # it is no file, as in a test, or closed
        return stream
    return lasting(number, stream.encoding)


@contextlib.contextmanager
def copied_to(log: TextIO) -> Iterator[None]:
    """What the block prints goes to `log`, too."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Tee(before[0], log), _Tee(before[1], log)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Tee:
    """A text stream that writes to two."""

    def __init__(self, first: TextIO, second: TextIO) -> None:
        self._first, self._second = first, second

    def write(self, text: str) -> int:
        self._second.write(text)
        return self._first.write(text)

    def flush(self) -> None:
        self._first.flush()
        self._second.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._first, name)
