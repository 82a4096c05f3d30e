"""HDF5 files that others made, opened so that a broken one is told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from datasets.video.source import SourceWrong


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file `path`, to be read.

    Raises:
        SourceWrong: it is none, or what is read of it while it is open cannot be read.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise SourceWrong(
            f"{path.name} is no HDF5 file, is cut short or cannot be read: get it anew"
        ) from error
