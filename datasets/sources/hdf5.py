"""Opening HDF5 files of published data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from datasets.video.source import SourceWrong


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file `path`; whatever in it turns out to be broken, then or later, is SourceWrong."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise SourceWrong(
            f"{path.name} is no HDF5 file, is cut short or cannot be read: get it anew"
        ) from error
