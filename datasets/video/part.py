"""Decodes one source into its own file, in a child process. Imports nothing that is slow."""

from __future__ import annotations

import hashlib
import multiprocessing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from datasets.sources import own_file
from datasets.sources.regular import open_regular
from datasets.video.beside import to_text
from datasets.video.files import special
from datasets.video.names import printable
from datasets.video.source import Damaged, FrameFormat, Read, Source, SourceWrong


@dataclass(frozen=True, slots=True)
class Decoded:
    """The outcome of one source.

    Attributes:
        frames: how many it has, 0 where it is damaged.
        bytes: the size of its files.
        sha256: of its files' bytes, one after the other.
        reason: why it cannot be read; "" where it can.
        remarks: what is odd about it.
        covariates: the numbers beside its frames, as text; "" for none.
    """

    frames: int = 0
    bytes: int = 0
    sha256: str = ""
    reason: str = ""
    remarks: tuple[str, ...] = ()
    covariates: str = ""


def decode_to(part: Path, source: Source, frame_format: FrameFormat, read: Read) -> Decoded:
    """The outcome of `source`, after its frames are written to the file `part`.

    Raises:
        OSError: `part` cannot be written.
    """
    for path in source.paths:
        kind = special(path)
        if kind is not None:
            return Decoded(reason=f"is {kind}, not a file")
    frames, told = 0, None
    with part.open("wb") as file:
        images = read(source, frame_format)
        while True:
            try:
                image = next(images)
            except StopIteration as end:
                told = end.value
                break
            except (Damaged, SourceWrong) as damage:
                return Decoded(reason=printable(str(damage)))
            except Exception as error:  # one file's oddity must not cost all others
                return Decoded(reason=printable(f"{type(error).__name__}: {error}".splitlines()[0]))
            if image.dtype != frame_format.dtype or image.shape != frame_format.shape:
                return Decoded(reason=f"was read as {image.dtype} {image.shape}")
            if image.dtype == np.float16 and not ((image >= 0) & (image <= 1)).all():
                return Decoded(reason=f"has a value outside [0,1] in frame {frames + 1}")
            file.write(np.ascontiguousarray(image).data)
            frames += 1
            _exit_if_orphaned()
    try:
        size, sha256 = digest(source.paths)
        if isinstance(told, np.ndarray):
            return Decoded(frames, size, sha256, covariates=to_text(told, frames))
        return Decoded(frames, size, sha256, remarks=tuple(told or ()))
    except Damaged as damage:
        return Decoded(reason=str(damage))
    except OSError as error:
        return Decoded(reason=f"cannot be read: {error.strerror}")


def make_importable(module: str, file: Path) -> None:
    """Load the module of a user's own file, which no search would find, in this process too."""
    try:
        import_module(module)
    except ModuleNotFoundError:
        own_file.load(module, file)


def digest(paths: tuple[Path, ...]) -> tuple[int, str]:
    """The size and the sha256 of files, as if they were one.

    Raises:
        OSError: one cannot be read.
    """
    size, sha256 = 0, hashlib.sha256()
    for path in paths:
        with open_regular(path) as file:
            while block := file.read(1 << 20):
                size += len(block)
                sha256.update(block)
    return size, sha256.hexdigest()


def _exit_if_orphaned() -> None:
    """Exit if the parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit
