"""A user's own clips, of any supported form, read for a model."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from datasets.video.cache import DamagedSource
from datasets.video.clips import clips_at, counted
from datasets.video.decode import read_frames
from datasets.video.names import printable
from datasets.video.source import Damaged, FrameFormat, Image, Reading, Source, SourceWrong


@dataclass(frozen=True, slots=True)
class OwnClip:
    """A clip of `frames` frames, and those of them that a model is shown, uint8 [T,C,H,W]."""

    name: str
    frames: int
    shown: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Window:
    """Which frames of a clip a model is shown: `count`, each `step` on from the one before.

    They end with the clip, and are fewer where that is shorter. Or they lie in its `middle`, and
    the last one is repeated where it is shorter.
    """

    count: int
    step: int
    middle: bool

    @property
    def span(self) -> int:
        """How many frames of the clip they reach over."""
        return (self.count - 1) * self.step + 1

    def of(self, images: Sequence[Image]) -> NDArray[np.uint8]:
        """Those of `images`; where they end with the clip its last `span` are enough."""
        if not self.middle:
            return np.stack(images[::-1][: self.span : self.step][::-1])
        first = max(0, len(images) - self.span) // 2
        places = (first + self.step * number for number in range(self.count))
        return np.stack([images[min(place, len(images) - 1)] for place in places])


class OwnClips:
    """The clips in `sources`, one after the other.

    Attributes:
        damaged: those that cannot be read.
        remarks: what is odd about how many of the others, such as "a variable frame rate".
    """

    def __init__(
        self, sources: Sequence[Source], frame_format: FrameFormat, window: Window
    ) -> None:
        self._sources, self._format, self._window = sources, frame_format, window
        self.damaged: list[DamagedSource] = []
        self.remarks = Counter[str]()

    def __len__(self) -> int:
        """How many there are, damaged ones among them."""
        return sum(max(1, len(source.ranges)) for source in self._sources)

    def __iter__(self) -> Iterator[OwnClip]:
        for source in self._sources:
            try:
                yield from self._read(source)
            except Damaged as damage:
                self.damaged.append(DamagedSource(source.name, str(damage)))

    def batches(self, size: int) -> Iterator[list[OwnClip]]:
        """The clips, up to `size` at once, those of a batch with as many frames shown."""
        batch: list[OwnClip] = []
        for clip in self:
            if len(batch) == size or (batch and batch[0].shown.shape != clip.shown.shape):
                yield batch
                batch = []
            batch.append(clip)
        if batch:
            yield batch

    def _read(self, source: Source) -> Iterator[OwnClip]:
        reading = Reading(read_frames(source, self._format))
        images = iter(reading)
        if not source.ranges:
            yield self._clip(source.name, images)
        for name, (first, end) in zip(source.clip_names, source.ranges, strict=False):
            yield self._clip(name, islice(images, end - first))
        deque(images, maxlen=0)  # what is wrong at the end of the source
        self.remarks.update(reading.remarks)

    def _clip(self, name: str, images: Iterator[Image]) -> OwnClip:
        kept = deque[Image](maxlen=None if self._window.middle else self._window.span)
        frames = 0
        for frames, image in enumerate(images, 1):  # noqa: B007
            kept.append(image)
        if not kept:
            raise Damaged(f"ends before {name}")
        return OwnClip(name, frames, self._window.of(list(kept)))


def find(place: Path) -> list[Source]:
    """The clips at `place`, as `clips_at` has them; says what else is there.

    Raises:
        UserError: there are none, or they cannot be told apart or put in order; a folder cannot be
            read, or is there twice through a link.
    """
    try:
        if not place.exists():
            raise UserError(f"there is no {printable(place)}")
        found = clips_at(place)
    except SourceWrong as error:
        raise UserError(str(error)) from error
    except OSError as error:
        where = printable(error.filename or place)
        raise UserError(f"{where} cannot be read: {error.strerror}") from error
    left_out = ", ".join(counted(found.left_out))
    if not found.sources:
        raise UserError(
            f"{printable(place)} holds no clips: no videos, arrays, stacks or folders of images"
            + (f", but {left_out}" if left_out else "")
        )
    if left_out:
        sys.stderr.write(f"left out: {left_out}\n")
    sys.stderr.writelines(f"note: {text}\n" for text in counted(found.odd))
    return found.sources
