"""What a cache is made of: the source files of a data set and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float16]
"""One frame as it is cached, [C,H,W]; float16 lies in [0,1]."""

FrameDtype = Literal["uint8", "uint16", "float16"]

Fit = Literal["stretch", "crop"]

FrameSize = int | tuple[int, int]
"""The side of square frames in pixels, or (height, width)."""


class SourceWrong(Exception):
    """A source folder lacks or spoils something; the message says what, and what to do."""


class Damaged(Exception):
    """A source cannot be read; the message is the reason, in one line."""


def reason_of(error: BaseException) -> str:
    """Why, in one line and without the path."""
    text = str(getattr(error, "strerror", None) or error)
    return (text.splitlines() or [type(error).__name__])[0][:200]


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """What every frame becomes: grey (1 channel) or colour (3), `height` x `width` pixels.

    Frames of another shape are stretched, or scaled until they cover it and cropped in the middle.
    Manifests without a `dtype` are from before there was another than uint8.

    Raises:
        ValueError: where a side is no whole number from 1 on.
    """

    channels: int
    height: int
    width: int
    fit: Fit = "stretch"
    dtype: FrameDtype = "uint8"

    def __post_init__(self) -> None:
        for side in (self.height, self.width):
            if type(side) is not int or side < 1:
                raise ValueError(f"frames are whole pixels high and wide, not {side!r}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C,H,W)."""
        return self.channels, self.height, self.width


def height_and_width(size: FrameSize) -> tuple[int, int]:
    """The sides of frames of `size`, in pixels.

    Raises:
        ValueError: where these are no two whole numbers from 1 on.
    """
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"size is (height, width) in pixels, or one for both, not {size!r}")
    return sides


@dataclass(frozen=True, slots=True)
class Source:
    """One video, array, stack or folder of images: one clip, or one for each of `ranges`.

    Attributes:
        name: printable, and unique among the sources, such as `Archery/v_Archery_g01_c01`.
        paths: one file, or the images of a clip in their order.
        tags: what splits and labels are made of, such as class, group, person.
        ranges: the frames of each clip as (first, one beyond the last); none means all in one.
            They end where the source does.
    """

    name: str
    paths: tuple[Path, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    ranges: tuple[tuple[int, int], ...] = ()

    @property
    def clip_names(self) -> list[str]:
        """What its clips are called: as it is itself, or `NAME#1`, `NAME#2`, ... by its ranges."""
        numbered = [f"{self.name}#{number}" for number, _ in enumerate(self.ranges, 1)]
        return numbered or [self.name]


@dataclass(frozen=True, slots=True)
class Sources:
    """All that a source folder holds of a data set.

    Attributes:
        videos: what to decode, in the order of the cache.
        facts: what else the data set needs when it is opened, for the manifest (JSON-able).
        lists: the text files that were read for these, whose digests the manifest keeps.
    """

    videos: Sequence[Source]
    facts: Mapping[str, Any] = field(default_factory=dict)
    lists: Sequence[Path] = ()


Read = Callable[[Source, FrameFormat], Iterator[Image]]
"""The frames of a source, in order. Runs in another process, so it is a function of a module.

Raises `Damaged`, also midway."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How one data set becomes one cache.

    Attributes:
        name: the data set as users write it, with the options that matter here, such as
            `ucf101(size=128)`.
        folder: the cache's name, such as `ucf101-128x128`.
        format: what every frame becomes.
        find: what a source folder holds. Raises `SourceWrong`.
        read: decodes one source.
        get: what to get and where from, in one line.
        homes: folder names under which the data folder may hold the source.
    """

    name: str
    folder: str
    format: FrameFormat
    find: Callable[[Path], Sources]
    read: Read
    get: str
    homes: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The line that makes the cache."""
        quoted = f"'{self.name}'" if "(" in self.name else self.name
        return f"python -m bench data prepare {quoted} --source FOLDER"
