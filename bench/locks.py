"""Locks between processes: files that at most one process holds at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import UserError


class Busy(UserError):
    """Another process holds the lock."""


@contextmanager
def held(path: Path, refusal: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path`, whose folder is made, for as long as the block lasts.

    Raises:
        Busy: another process holds it for all of `wait_seconds`; the message is `refusal`.
        UserError: the file cannot be made.
    """
    until = time.monotonic() + wait_seconds
    try:
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # who held it has ended, and removed the folder
                acquired = FileLock(path).acquire(timeout=max(0.0, until - time.monotonic()))
                break
    except Timeout as error:
        raise Busy(refusal) from error
    except OSError as error:
        why = f"{error.strerror or error}: use another --results"
        raise UserError(f"{path.parent} cannot be written to: {why}") from error
    with acquired:
        yield


def is_held(path: Path) -> bool:
    """Whether some process holds the lock file `path`."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):  # what cannot be taken may be in use
        return True
