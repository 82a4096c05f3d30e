"""Copies of caches on a disk of the machine that reads them, where the shared one is slow."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

from filelock import FileLock

from datasets.video.manifest import FRAMES

VARIABLE = "NEXTFRAME_COPIES"
"""Names the folder for them; it may hold other variables, such as `$TMPDIR`."""


def nearby(folder: Path, digest: str) -> Path:
    """The folder to read the frames of the cache in `folder` from.

    Where `$NEXTFRAME_COPIES` names a folder, it is that of a copy in there, made if there is none:
    once a machine, whole before it has its name, and named by the cache's `digest`, so that a cache
    that is made anew has another. Without that variable, without digest, or where no copy can be
    made, which is told in a line, it is `folder`.
    """
    asked = os.path.expandvars(os.environ.get(VARIABLE, ""))
    if not asked or not digest:
        return folder
    copy = Path(asked, f"{folder.name}-{digest}")
    try:
        if "$" in asked:
            raise OSError(errno.EINVAL, "a variable in it is not set")
        copy.mkdir(parents=True, exist_ok=True)
        with FileLock(copy / "lock"):
            if not (copy / FRAMES).exists():
                _copy(folder / FRAMES, copy)
    except OSError as error:
        why = error.strerror or error
        sys.stderr.write(f"note: no copy in {asked} ({why}): frames are read from {folder}\n")
        return folder
    return copy


def _copy(frames: Path, folder: Path) -> None:
    """Copy `frames` into `folder`, where they have their name once they are whole."""
    if shutil.disk_usage(folder).free < frames.stat().st_size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    part = folder / f"{FRAMES}.part"
    try:
        shutil.copyfile(frames, part)
        part.replace(folder / FRAMES)
    finally:
        part.unlink(missing_ok=True)
