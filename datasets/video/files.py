"""Finding and reading the files of a data set in a folder, however they are nested there."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

from datasets.sources.regular import read_regular
from datasets.video.names import printable
from datasets.video.source import SourceWrong

SHOWN = 80
"""How much of a wrong line is quoted, in characters."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def files_under(folder: Path, pattern: str) -> Iterator[Path]:
    """The files of such a name anywhere under `folder`, in no order.

    Raises:
        OSError, SourceWrong: as `folders_under`.
        SourceWrong: one is a pipe, a socket or a device.
    """
    for _, files in folders_under(folder):
        for path in files:
            if fnmatchcase(path.name, pattern):
                refuse_special(path)
                yield path


def unique_under(folder: Path, pattern: str) -> list[Path]:
    """The files of such names anywhere under `folder`, in the order of their paths.

    Raises:
        OSError, SourceWrong: as `files_under`.
        SourceWrong: two have one name.
    """
    paths: dict[str, Path] = {}
    for path in sorted(files_under(folder, pattern)):
        if path.name in paths:
            raise SourceWrong(f"{paths[path.name]} and {path} have one name: remove one of them")
        paths[path.name] = path
    return list(paths.values())


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
            raise SourceWrong(
                f"{printable(here)} links to a folder whose clips are here already: remove it"
            )
        seen.add(here.resolve())
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield here, [here / name for name in files if not name.startswith(".")]


def special(path: Path) -> str | None:
    """What `path` is, "a named pipe" say, where to open it might never end; None for files.

    A path that leads nowhere is no such thing: to open it fails at once.
    """
    try:
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except OSError:
        return None


def refuse_special(path: Path) -> None:
    """Raise SourceWrong where `path` is a pipe, a socket or a device."""
    kind = special(path)
    if kind is not None:
        raise SourceWrong(f"{printable(path)} is {kind}, not a file: remove it")


def text_of(path: Path) -> str:
    """The text in `path`: UTF-8, or UTF-16 with its mark; other bytes come as `os.fsdecode` does.

    Raises:
        OSError: it cannot be read.
        SourceWrong: it is no file, or no text.
    """
    refuse_special(path)
    content = read_regular(path)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", "replace")
    else:
        text = content.decode("utf-8-sig", "surrogateescape")
    if "\0" in text:
        raise SourceWrong(f"{printable(path)} is no text: save it as UTF-8")
    return text


def _raise(error: OSError) -> NoReturn:
    raise error
