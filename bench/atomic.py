"""Files that are replaced in one step, so that no reader and no kill meets half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Where the block writes what then takes the place of `path`.

    Where the block fails, `path` stays as it was and nothing is left beside it. A `durable` file is
    forced to the disk first, so that a power cut leaves the old one or the new one.
    """
    new = path.with_name(f".{path.name}")
    try:
        yield new
        if durable:
            with new.open("rb") as file:
                os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
