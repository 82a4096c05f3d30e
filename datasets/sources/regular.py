"""Opening files that others put there: regular files only, so that nothing waits for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 1 << 30
"""Of a file that is read whole."""


def open_regular(path: Path) -> BinaryIO:
    """The file `path` to be read; a pipe, device, socket or folder in its place is refused at once.

    Raises:
        OSError: it is no regular file, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path) -> bytes:
    """The content of the file `path`.

    Raises:
        OSError: as `open_regular`, or it is larger than `MOST_BYTES`.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise OSError(errno.EFBIG, "it is far too large", str(path))
        return file.read()


_BINARY: int = getattr(os, "O_BINARY", 0)
