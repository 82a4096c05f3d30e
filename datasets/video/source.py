"""What a cache is made of: the source files of a data set and how they are read."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float16]
"""One frame as it is cached, [C,H,W]; float16 lies in [0,1]."""

PIXEL_ASPECT = "pixel_aspect"
"""Where a picture's `info` has how wide its pixels are for their height, if they are not square."""

FrameDtype = Literal["uint8", "uint16", "float16"]

Fit = Literal["stretch", "crop"]

LARGEST_SIDE = 8192
"""Of frames that are cached, in pixels."""

HIGHEST_RATE = 1000
"""Frames a second that may be asked for."""

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
    Manifests without a `dtype` are from before there was another than uint8. With
    `frames_per_second` frames of videos are picked by their times, else each is taken once.

    Raises:
        ValueError: where a side is no whole number from 1 to `LARGEST_SIDE`, or the rate no number
            above 0 and at most `HIGHEST_RATE`.
    """

    channels: int
    height: int
    width: int
    fit: Fit = "stretch"
    dtype: FrameDtype = "uint8"
    frames_per_second: float | None = None

    def __post_init__(self) -> None:
        for side in (self.height, self.width):
            if type(side) is not int or not 1 <= side <= LARGEST_SIDE:
                raise ValueError(
                    f"frames are 1 to {LARGEST_SIDE:,} whole pixels high and wide, not {side!r}"
                )
        rate = self.frames_per_second
        if rate is not None and not (type(rate) in (int, float) and 0 < rate <= HIGHEST_RATE):
            raise ValueError(
                f"frames_per_second is above 0 and at most {HIGHEST_RATE:,}, not {rate!r}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C,H,W)."""
        return self.channels, self.height, self.width

    def as_json(self) -> dict[str, Any]:
        """Its fields as manifests have them, without a rate where there is none."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def height_and_width(size: FrameSize) -> tuple[int, int]:
    """The sides of frames of `size`, in pixels.

    Raises:
        ValueError: where these are no two whole numbers from 1 to `LARGEST_SIDE`.
    """
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in sides):
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

Raises `Damaged` or `SourceWrong`, also midway. A generator may return remarks, a tuple of what is
odd about the source, such as "a variable frame rate"; who opens the cache finds them counted. Or it
returns `Covariates`, which are kept with the frames."""

Covariates = NDArray[np.float32]
"""The numbers beside each frame of a source, [frames,K]."""

Item = TypeVar("Item")


class Reading(Generic[Item]):
    """Iterates over `items`; afterwards `remarks` are what the generator of these returned."""

    def __init__(self, items: Generator[Item, None, tuple[str, ...]]) -> None:
        self._items = items
        self.remarks: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Item]:
        self.remarks = yield from self._items


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
        facts: the form of `Sources.facts`, a pydantic model say, to which manifests are held.
        tags: the form of every source's tags.
    """

    name: str
    folder: str
    format: FrameFormat
    find: Callable[[Path], Sources]
    read: Read
    get: str
    homes: tuple[str, ...] = ()
    facts: Any = dict[str, Any]
    tags: Any = dict[str, str]

    @property
    def command(self) -> str:
        """The line that makes the cache."""
        return f"python -m bench data prepare {shlex.quote(self.name)} --source FOLDER"
