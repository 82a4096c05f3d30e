"""What a data set must be: a `Dataset` with a spec, a training stream and two held-out splits."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, cast

import torch
from torch import Tensor

HeldOutName = Literal["validation", "test"]
TaskName = Literal["prediction", "recognition"]

_LARGEST = {torch.uint8: 255, torch.uint16: 65_535, torch.float16: 1}
"""The value that means 1, for each type that frames may have."""


LONGEST_CLIP = 10_000
"""Frames that are given, and frames to predict, at most."""

LARGEST_SIDE = 65_536
"""Pixels of a side of a frame, and channels, at most."""


def whole(name: str, value: object, least: int, most: int = LONGEST_CLIP) -> int:
    """The option `name`, whose `value` must be a whole number from `least` to `most`.

    Raises:
        ValueError: it is not.
    """
    if type(value) is not int or not least <= value <= most:
        shown = repr(value)[:80]
        raise ValueError(f"{name} must be a whole number from {least} to {most:,}, not {shown}")
    return value


def names_in(option: str, value: object) -> set[str]:
    """The names in the `value` of an option; one may be written without the comma of a tuple.

    Raises:
        ValueError: it is neither a name nor several.
    """
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{option} must be a name, or several in a tuple, not {repr(value)[:80]}")
    return set(names)


class DataMissing(Exception):
    """The data are not on this machine; the message says what to get and where to put it."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a channel measures: a value v in [0,1] of a frame stands for low + v (high - low).

    Attributes:
        name: such as "2 m temperature".
        unit: such as "K"; "" for none.
        low, high: what 0 and 1 stand for, in `unit`.

    Raises:
        ValueError: unless low < high, both finite.
    """

    name: str
    unit: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"{self.name} is from {self.low:g} to {self.high:g}: no range")


@dataclass(frozen=True, slots=True)
class Covariate:
    """A number that stands beside each frame of a clip, of those to predict as well.

    Such as an action of a robot, or the time of day. An action stands beside the frame in which it
    is taken, and shows in the next.

    Attributes:
        name: such as "push down".
        unit: such as "m"; "" for none.

    Raises:
        ValueError: the name is no text of printable characters.
    """

    name: str
    unit: str = ""

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name and self.name.isprintable()):
            raise ValueError(f"a covariate is named by printable text, not {repr(self.name)[:80]}")


@dataclass(frozen=True, slots=True)
class Spec:
    """The task of a data set: `context_frames` given, `horizon` to predict.

    For recognition `classes` are named; then a clip is all context, and the horizon is 0.

    Attributes:
        frame_shape: (C,H,W).
        context_frames: frames given.
        horizon: frames to predict.
        classes: their names, for recognition.
        dtype: of the frames: `torch.uint8`, `uint16` or `float16`; `to_unit` gives their values.
        quantities: what each channel measures, where that has a unit.
        latitudes: of each row of a map of the Earth, in degrees; its area weights follow from them.
        thresholds: of the first quantity, in its unit, rising: an event is a value of at least so
            much, as rain that a radar sees.
        covariates: the K numbers beside each frame; models that take none are not shown them.

    Raises:
        ValueError: where a number of frames is no whole number, too small or above `LONGEST_CLIP`,
            a frame has no such sides, or another type, what is said of channels and rows is of
            other ones, `covariates` hold something else or one name twice, or clips to be
            recognised have any.
    """

    frame_shape: tuple[int, int, int]
    context_frames: int
    horizon: int
    classes: tuple[str, ...] = ()
    dtype: torch.dtype = torch.uint8
    quantities: tuple[Quantity, ...] = ()
    latitudes: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()
    covariates: tuple[Covariate, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.frame_shape, tuple) or len(self.frame_shape) != 3:
            raise ValueError(f"frame_shape is (C, H, W), not {repr(self.frame_shape)[:80]}")
        for name, side in zip(("channels", "height", "width"), self.frame_shape, strict=True):
            whole(name, side, 1, LARGEST_SIDE)
        channels, rows, _ = self.frame_shape
        for name, least in (("context_frames", 1), ("horizon", 0 if self.classes else 1)):
            whole(name, getattr(self, name), least)
        if self.dtype not in _LARGEST:
            raise ValueError(f"frames are torch.uint8, uint16 or float16, not {self.dtype}")
        if len(self.quantities) not in (0, channels) or len(self.latitudes) not in (0, rows):
            raise ValueError(
                f"{len(self.quantities)} quantities and {len(self.latitudes)} latitudes for frames "
                f"of {channels} channels and {rows} rows"
            )
        if self.thresholds and (
            not self.quantities or list(self.thresholds) != sorted(set(self.thresholds))
        ):
            raise ValueError("thresholds are of the first quantity, and rise")
        if not all(isinstance(covariate, Covariate) for covariate in self.covariates):
            raise ValueError(f"covariates are a tuple of Covariate, not {self.covariates!r:.80}")
        if len({covariate.name for covariate in self.covariates}) < len(self.covariates):
            raise ValueError("two covariates have one name")
        if self.covariates and self.classes:
            raise ValueError("clips to be recognised have no covariates")

    @property
    def clip_frames(self) -> int:
        """Frames in one clip: context and future together."""
        return self.context_frames + self.horizon


def to_unit(frames: Tensor) -> Tensor:
    """The values of `frames`, float32 in [0,1], on their device.

    uint8 is divided by 255 and uint16 by 65,535; float16 stays as it is.

    Raises:
        TypeError: `frames` are of another type.
    """
    if frames.dtype not in _LARGEST:
        raise TypeError(f"frames are uint8, uint16 or float16, not {frames.dtype}")
    return frames.float().div_(_LARGEST[frames.dtype])


def to_bytes(frames: Tensor) -> Tensor:
    """`frames` of any type as uint8, rounded to the nearest, to be looked at."""
    return frames if frames.dtype == torch.uint8 else to_unit(frames).mul_(255).round_().byte()


class Clips(Protocol):
    """A fixed sequence of clips; a slice of it is [N,T,C,H,W] of `spec.dtype` on the CPU."""

    def __len__(self) -> int: ...

    def __getitem__(self, window: slice, /) -> Tensor: ...


class ClipsWithCovariates(Clips, Protocol):
    """Fixed clips whose frames have covariates."""

    def covariates(self, window: slice, /) -> Tensor:
        """Those of the clips of a slice, float32 [N,T,K] on the CPU."""


class LabelledClips(Clips, Protocol):
    """Fixed clips with the class and the video of each."""

    @property
    def labels(self) -> Tensor:
        """The class of each clip, int64 [N]."""

    @property
    def videos(self) -> Tensor:
        """The number of each clip's video, int64 [N]; one video may give several clips."""


def covariates_of(clips: Clips, window: slice) -> Tensor:
    """The covariates of a slice of `clips`, which have some, float32 [N,T,K] on the CPU."""
    return cast("ClipsWithCovariates", clips).covariates(window)


class Dataset(ABC):
    """Clips for training without end, and fixed clips for validation and test.

    The three draw from disjoint sources. Held-out clips are the same pixels for every model,
    seed and machine; `digest` proves it.

    Class attributes:
        name: how suites, tables and the command line call it (default: the class's name).
        task: "prediction", or "recognition" for a `LabelledDataset`.
        cluster_name: what a cluster of held-out clips is, in the singular, such as "person".
    """

    name: ClassVar[str]
    task: ClassVar[TaskName] = "prediction"
    cluster_name: ClassVar[str] = "sequence"
    spec: Spec
    epoch_clips: int | None = None
    """Training clips in an epoch; None where they are drawn without end, and no protocol says."""
    files: Sequence[Path] = ()
    """The files that training clips are read from as they are, where others may overwrite them.

    What these hold is part of what a cell is. Of a data set without any a few training clips are
    looked at.
    """
    frame_step: int = 1
    """From one frame of a clip to its next in the files: `predict` reads others in such steps."""
    notice: str | None = None
    """One line a user should see, such as that a substitute is used; None for none."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    @abstractmethod
    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """Random training clips [count,T,C,H,W] of `spec.dtype`, on the generator's device.

        The generator is the only source of randomness: the same state gives the same clips.
        """

    def train_clips_with_covariates(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """`train_clips`, and their covariates float32 [count,T,K], on the generator's device.

        Of a data set whose spec names some; both methods give the same clips for the same state.
        """
        raise NotImplementedError(f"{self.name} names covariates, and gives none")

    @abstractmethod
    def held_out(self, split: HeldOutName) -> Clips:
        """The fixed clips of `split`, in their fixed order, with covariates where there are any."""

    def clusters(self, split: HeldOutName, count: int) -> Tensor:
        """The cluster of each of the first `count` clips of `split`, int64 [count].

        Clips of one cluster are not independent of each other: they show one person, say, or are
        cut from one video. Intervals are as wide as the number of clusters demands. By default
        each clip is its own.
        """
        return torch.arange(count)

    def climatology(self) -> Tensor | None:
        """The mean training frame, float32 [C,H,W] in [0,1], where anomalies are told from one."""
        return None

    def digest(self, split: HeldOutName, count: int) -> str:
        """Hash of the pixels, and covariates, of the first `count` clips of `split`.

        It has 32 hexadecimal digits.
        """
        clips, digest = self.held_out(split), hashlib.sha256()
        for start in range(0, count, 100):
            window = slice(start, min(start + 100, count))
            digest.update(clips[window].contiguous().numpy().data)
            if self.spec.covariates:
                digest.update(covariates_of(clips, window).contiguous().numpy().data)
        return digest.hexdigest()[:32]


class LabelledDataset(Dataset):
    """A data set for recognition: each clip shows one of `spec.classes`."""

    task = "recognition"

    @abstractmethod
    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`train_clips`, and the class of each, int64 [count], on the generator's device.

        Augmentation, where a data set has any, is done here, on that device.
        """

    @abstractmethod
    def held_out(self, split: HeldOutName) -> LabelledClips:
        """The fixed clips of `split`, in their fixed order."""

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """Random training clips [count,T,C,H,W] of `spec.dtype`, on the generator's device."""
        return self.train_labelled_clips(count, generator)[0]
