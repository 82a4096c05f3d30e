"""Digests of what files hold, each kept for as long as its file is not touched."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from pathlib import Path

from bench import caches
from bench.errors import UserError
from bench.suite import fingerprint
from datasets.sources.regular import open_regular

SETTLED_SECONDS = 2.0
"""After which another change of a file surely has another time."""


def content_digest(path: Path) -> str:
    """The digest of all that the file holds, 32 hexadecimal digits, wherever it lies.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            kept = _place(path)
            with contextlib.suppress(OSError, UnicodeDecodeError):
                found = kept.read_text(encoding="utf-8")
                if re.fullmatch("[0-9a-f]{32}", found):
                    return found
            found = hashlib.file_digest(file, "sha256").hexdigest()[:32]  # type: ignore[arg-type]
        if kept == _place(path) and time.time() - path.stat().st_mtime > SETTLED_SECONDS:
            caches.keep(kept, found.encode())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    return found


def _place(path: Path) -> Path:
    """Where the digest of the file, as it is now, is kept."""
    at = path.resolve()
    is_now = at.stat()
    key = [str(at), is_now.st_ino, is_now.st_size, is_now.st_mtime_ns, is_now.st_ctime_ns]
    return caches.folder("files") / fingerprint.digest(key)
