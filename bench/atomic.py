"""Files that are replaced in one step, so that no reader and no kill meets half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path, durable: bool = False, shared: bool = False) -> Iterator[Path]:
    """Where the block writes what then takes the place of `path`.

    Where the block fails, `path` stays as it was and nothing is left beside it. A `durable` file is
    forced to the disk first, so that a power cut leaves the old one or the new one. A `shared` one
    may be written by several processes at once, also of other machines: the last one counts.
    """
    new = path.with_name(f".{path.name}" + (f".{uuid4().hex}" if shared else ""))
    try:
        yield new
        if durable:
            with new.open("rb") as file:
                os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace the file `path`, whose folder is made, by `text` in UTF-8, forced to the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=True) as new:
        new.write_text(text, encoding="utf-8")


def set_aside(path: Path) -> Path:
    """The place where an unreadable file now is, out of the way but not lost."""
    aside = path.with_name(f"{path.name}.unreadable")
    path.replace(aside)
    return aside
