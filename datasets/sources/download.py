"""Fetches data sets by torchvision's downloaders, which check what they get."""

from __future__ import annotations

import contextlib
import io
import socket
import tempfile
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

from datasets.sources.folders import data_folder
from datasets.sources.torchvision_import import import_torchvision


def download(dataset: str, *names: str) -> None:
    """Download `names` into the data folder by torchvision's class `dataset`, if it works.

    torchvision checks the checksums. A file appears whole or not at all; it does not where there is
    no network, or the data folder cannot be written to.
    """
    factory = getattr(import_torchvision().datasets, dataset)
    with contextlib.suppress(OSError, RuntimeError, HTTPException, StopIteration):
        data_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_folder(), prefix=".download-") as scratch:
            with _quiet(), _short_timeout():
                factory(scratch, download=True)
            for name in names:
                target = data_folder() / name
                target.parent.mkdir(exist_ok=True)
                next(Path(scratch).rglob(target.name)).replace(target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow the progress bars and complaints that torchvision prints."""
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


@contextlib.contextmanager
def _short_timeout(timeout_seconds: float = 5.0) -> Iterator[None]:
    """Give up on a silent connection soon: a firewall that drops packets must not hang a run."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout_seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
