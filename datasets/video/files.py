"""Finding the files of a data set in a folder, however they are nested there."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path


def files_under(folder: Path, pattern: str) -> Iterator[Path]:
    """The files of such a name anywhere under `folder`, in no order; hidden ones are left out.

    Links to folders are followed, which `Path.rglob` does not do before Python 3.13.
    """
    names = glob.iglob(f"**/{pattern}", root_dir=folder, recursive=True)  # noqa: PTH207
    return (folder / name for name in names)
