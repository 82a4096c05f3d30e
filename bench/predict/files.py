"""The forms in which predictions are written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench import atomic, pictures

Style = Literal["png", "npy", "mp4", "gif"]
Frames = NDArray[np.uint8]
LONGEST_NAME = 240  # bytes of a name; a file system takes 255, and our endings need some


@dataclass(frozen=True, slots=True)
class Continuation:
    """The predicted continuation of a clip.

    Attributes:
        clip: its name.
        context: the frames that the model was given, [T,C,H,W].
        frames: those it predicts, [horizon,C,H,W].
        numbers: their places in the clip, whose first frame is 1.
    """

    clip: str
    context: Frames
    frames: Frames
    numbers: range


class PredictionFiles(ABC):
    """The files of one form in the folder `out`, which comes with the first of them.

    Each file appears complete or not at all.

    Raises:
        OSError: from each method, where a file cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.out = out

    @abstractmethod
    def write(self, made: Continuation) -> None:
        """Write the frames that were predicted for a clip."""

    def close(self) -> None:  # noqa: B027  (most forms need none)
        """Write what can only be written at the end."""


class Pngs(PredictionFiles):
    """A picture a frame, `CLIP/frame_0012.png`."""

    def write(self, made: Continuation) -> None:
        """Write a folder of pictures, without those that an earlier call left."""
        folder = self.out / place_of(made.clip)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("frame_*.png"):
            old.unlink()
        for number, frame in zip(made.numbers, _channels_last(made.frames), strict=True):
            picture = frame[..., 0] if frame.shape[-1] == 1 else frame
            with atomic.replacing(folder / f"frame_{number:04d}.png") as path:
                Image.fromarray(picture).save(path)


class Array(PredictionFiles):
    """`predictions.npy`, uint8 [N,horizon,H,W,C], and `names.json`, the clips in its order."""

    def __init__(self, out: Path) -> None:
        super().__init__(out)
        self._names: list[str] = []
        self._shape: tuple[int, ...] = ()

    def write(self, made: Continuation) -> None:
        """Append the frames; how many there will be is known at the end."""
        frames = np.ascontiguousarray(_channels_last(made.frames))
        if not self._names:
            self.out.mkdir(parents=True, exist_ok=True)
            self._raw = tempfile.TemporaryFile(dir=self.out)  # noqa: SIM115  (until `close`)
        self._raw.write(frames.data)
        self._names.append(made.clip)
        self._shape = frames.shape

    def close(self) -> None:
        """Write the array and the names."""
        head = {"descr": "|u1", "fortran_order": False, "shape": (len(self._names), *self._shape)}
        with (
            self._raw as raw,
            atomic.replacing(self.out / "predictions.npy") as path,
            path.open("wb") as file,
        ):
            raw.seek(0)
            np.lib.format.write_array_header_1_0(file, head)
            shutil.copyfileobj(raw, file, 1 << 20)
        names = json.dumps(self._names, indent=1, ensure_ascii=False)
        with atomic.replacing(self.out / "names.json") as path:
            # what UTF-8 does not hold becomes \udcff, which JSON reads back as the same name
            path.write_text(f"{names}\n", encoding="utf-8", errors="backslashreplace")


class Animations(PredictionFiles):
    """One file a clip: what the model was given, then its prediction within another border."""

    def __init__(self, out: Path, suffix: Literal["mp4", "gif"]) -> None:
        super().__init__(out)
        self._suffix = suffix

    def write(self, made: Continuation) -> None:
        """Write the animation."""
        final = self.out / f"{place_of(made.clip)}.{self._suffix}"
        final.parent.mkdir(parents=True, exist_ok=True)
        frames = pictures.shown(np.concatenate([made.context, made.frames]))
        write = pictures.write_mp4 if self._suffix == "mp4" else pictures.write_gif
        with atomic.replacing(final) as path:
            write(path, pictures.bordered(frames, given=len(made.context)))


def place_of(clip: str) -> str:
    """The path of a clip's files below `out`: its name, of which a very long part is cut.

    What is cut is told apart by a digest, so that no two clips share a place.
    """
    return "/".join(map(_cut, clip.split("/")))


def _cut(part: str) -> str:
    name = os.fsencode(part)
    if len(name) <= LONGEST_NAME:
        return part
    digest = hashlib.sha256(name).hexdigest()[:16]
    return f"{name[: LONGEST_NAME - 20].decode(errors='ignore')}…{digest}"


def files(style: Style, out: Path) -> PredictionFiles:
    """The writer of predictions in the form `style` into the folder `out`."""
    if style == "png":
        return Pngs(out)
    return Array(out) if style == "npy" else Animations(out, style)


def _channels_last(frames: Frames) -> Frames:
    return frames.transpose(0, 2, 3, 1)
