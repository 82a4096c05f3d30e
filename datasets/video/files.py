"""Finding the files of a data set in a folder, however they are nested there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

from datasets.video.source import SourceWrong


def files_under(folder: Path, pattern: str) -> Iterator[Path]:
    """The files of such a name anywhere under `folder`, in no order.

    Raises:
        OSError, SourceWrong: as `folders_under`.
    """
    for _, files in folders_under(folder):
        yield from (path for path in files if fnmatchcase(path.name, pattern))


def folders_under(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """`folder` and all below it, links followed, each with its files; hidden ones are left out.

    Raises:
        OSError: one of them cannot be read.
        SourceWrong: one is there twice, through a link.
    """
    seen = set[Path]()
    for at, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        here = Path(at)
        if here.resolve() in seen:
            raise SourceWrong(f"{here} links to a folder whose clips are here already: remove it")
        seen.add(here.resolve())
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield here, [here / name for name in files if not name.startswith(".")]


def _raise(error: OSError) -> NoReturn:
    raise error
