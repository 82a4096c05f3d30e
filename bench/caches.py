"""The folder of what is computed once and kept between processes; a home may be shared."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bench import atomic


def folder(kind: str) -> Path:
    """The folder of the kept things of one `kind`; where there is no home, below this folder."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(caches, "nextframe", kind)


def keep(file: Path, content: bytes) -> None:
    """Keep `content` in `file`, whole or not at all; what cannot be written is computed anew."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(file, shared=True) as new:
            new.write_bytes(content)


def size_bytes(folder: Path) -> int:
    """Of all files in `folder`; of one that goes meanwhile, nothing."""
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size if path.is_file() else 0
    return size
