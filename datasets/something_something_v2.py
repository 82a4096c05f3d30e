"""Something-Something V2: 174 things that hands do with objects, told apart by motion alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from torch import Tensor

from datasets.contract import Spec, whole
from datasets.sources.regular import read_regular
from datasets.video.augment import random_flips, random_turned_crops
from datasets.video.cache import FRAMES, Cache, Clip, Frames
from datasets.video.dataset import LabelledVideoDataset, SplitName
from datasets.video.decode import read_frames
from datasets.video.files import files_under
from datasets.video.manifest import first_of
from datasets.video.names import printable
from datasets.video.source import (
    LARGEST_SIDE,
    FrameFormat,
    Preparation,
    Source,
    Sources,
    SourceWrong,
)
from datasets.video.windows import LabelledWindows

MARGIN = 1.4
"""Training crops are taken out of frames this many times their side."""

MOST_DEGREES = 15
VALIDATION_SHARE = 10
"""Of the official training list one video in so many validates."""

_GET = (
    "the .webm videos (20bn-something-something-v2) and the labels, train and validation .json"
    " from https://www.qualcomm.com/developer/software/something-something-v-2-dataset"
)
ListName = Literal["train", "validation"]
_LISTS: tuple[ListName, ...] = ("train", "validation")
Parsed = TypeVar("Parsed")
_MIRRORED_WORD = {"left": "right", "right": "left"}


class _Facts(BaseModel):
    classes: list[str]
    listed: int


class _Tags(BaseModel):
    list: ListName
    class_name: Annotated[str, Field(alias="class")]


class SomethingSomethingV2(LabelledVideoDataset):
    """Clips of 12 frames a second, from a random offset in training, else from the video's middle.

    Goyal et al., "The 'something something' video database for learning and evaluating visual
    common sense", ICCV 2017; sampling and augmentation as in TwentyBN's baseline, but that it
    evaluates the first frames of a video. A video shorter than a clip repeats its last frame.

    The test split is the official validation list, because the official test list has no labels.
    Validation is a tenth of the official training list, by a hash of the video's number.

    Frames are cached as the square in their middle: of 427x240 pixels the outer 22 % on either side
    are never seen. The cache is 1.4 times as large as `size`; training crops and turns, held-out
    frames are scaled down. Of the classes that say left or right a mirrored clip shows the
    counterpart; one that has none is never mirrored.
    """

    name = "something_something_v2"
    cluster_name = "video"

    def __init__(
        self, clip_frames: int = 72, *, size: int = 84, per_video: int = 1, augment: bool = True
    ) -> None:
        """Open the cache.

        Args:
            clip_frames: frames in a clip; 48 and 72 are usual.
            size: height and width; 84 and 224 are usual.
            per_video: held-out clips of each video.
            augment: whether training clips are turned, cropped and mirrored at random; else they
                are shown as held-out ones are.

        Raises:
            DataMissing: it has not been prepared, or a split has no video.
            ValueError: where a number is too small.
        """
        if type(augment) is not bool:
            raise ValueError(f"augment is True or False, not {augment!r}")
        cache = Cache.open(self.preparation(size=size))
        spec = Spec((3, size, size), clip_frames, 0, tuple(cache.facts["classes"]))
        shown = replace(cache, frames=ScaledDown(cache.folder / FRAMES, size))
        splits = _splits(cache.clips)
        super().__init__(shown, splits, spec, _class_of, per_video=per_video)
        here, listed = len(cache.clips), cache.facts["listed"]
        if here < listed:
            self.notice = (
                f"{here:,} of the {listed:,} videos in the official lists are here: figures compare"
                " only with runs on the same videos"
            )
        self._mirrored = torch.tensor(mirrored(spec.classes))
        self._large: LabelledWindows | None = None
        if augment:
            labels = [spec.classes.index(_class_of(clip)) for clip in splits["train"]]
            self._large = LabelledWindows(cache.frames, splits["train"], labels, clip_frames)

    @classmethod
    def preparation(cls, *, size: int = 84, **options: Any) -> Preparation:
        """The squares in the middle of all frames, at 1.4 times `size`."""
        side = round(MARGIN * whole("size", size, 1, LARGEST_SIDE))
        return Preparation(
            name=cls.name if size == 84 else f"{cls.name}(size={size})",
            folder=f"{cls.name}-{side}x{side}",
            format=FrameFormat(3, side, side, fit="crop"),
            find=find_videos,
            read=read_frames,
            get=_GET,
            homes=("something_something_v2", "ssv2", "20bn-something-something-v2"),
            facts=_Facts,
            tags=_Tags,
        )

    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` clips at random offsets of random training videos, augmented, and classes."""
        if self._large is None:
            return super().train_labelled_clips(count, generator)
        clips, labels = self._large.draw(count, generator)
        side = self.spec.frame_shape[1]
        clips = random_turned_crops(clips, side, MOST_DEGREES, generator)
        return random_flips(clips, labels, self._mirrored.to(clips.device), generator)


class ScaledDown(Frames):
    """The square frames of a cache, scaled to `side` as they are read.

    Bilinear, antialiased, in the integer arithmetic of Pillow, which is the same on every machine.
    """

    def __init__(self, path: Path, side: int) -> None:
        super().__init__(path)
        self._side = side

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N,C,side,side)."""
        return *super().shape[:2], self._side, self._side

    def gather(self, indices: Tensor) -> Tensor:
        """The frames at int64 `indices` [...]: uint8 [...,C,side,side]."""
        large = super().gather(indices)
        sides = (self._side, self._side)
        small = F.interpolate(large.flatten(0, -4), sides, mode="bilinear", antialias=True)
        return small.view(*indices.shape, *small.shape[1:])


def mirrored(classes: Sequence[str]) -> list[int]:
    """The number of the class that a mirrored clip of each of `classes` shows.

    That of the same words with left and right changed: itself where it has neither, -1 where there
    is no such class.
    """
    number = {name: place for place, name in enumerate(classes)}

    def other(word: re.Match[str]) -> str:
        return _MIRRORED_WORD[word[0]]

    return [number.get(re.sub(r"\b(left|right)\b", other, name), -1) for name in classes]


def find_videos(folder: Path) -> Sources:
    """The videos of the official training and validation lists, with list and class as tags.

    Raises:
        SourceWrong: a list is not there or not of its form, a video is in both or twice in one, a
            template is no class, or there is not one video.
    """
    files = {path.name: path for path in sorted(files_under(folder, "*.*"))}
    labels = _find_list(files, folder, "labels")
    classes = _classes(labels)
    lists = {name: _find_list(files, folder, name) for name in _LISTS}
    videos: list[Source] = []
    listed: dict[str, ListName] = {}
    for name, path in lists.items():
        for video, label in _entries(path, classes):
            if video in listed:
                raise SourceWrong(
                    f"video {video} is listed twice, under {listed[video]} and {name}: get the"
                    " official lists"
                )
            listed[video] = name
            if f"{video}.webm" in files:
                tags = {"list": name, "class": label}
                videos.append(Source(video, (files[f"{video}.webm"],), tags))
    if not videos:
        raise SourceWrong(
            f"{folder} has none of the {len(listed):,} listed videos, such as"
            f" {next(iter(listed), 1)}.webm: get {_GET}"
        )
    facts = {"classes": classes, "listed": len(listed)}
    return Sources(videos, facts, [labels, *lists.values()])


def _find_list(files: Mapping[str, Path], folder: Path, name: str) -> Path:
    """The list of that name, as in the first release or as in the second."""
    official = f"something-something-v2-{name}.json"
    found = files.get(official) or files.get(f"{name}.json")
    if found is None:
        raise SourceWrong(f"there is no {official} under {folder}: get {_GET}")
    return found


def _classes(path: Path) -> list[str]:
    """The class names in the order of their numbers; the file has {"name": "number"}."""
    form = '{"class": "number", ...}, numbers from 0'
    number = _parsed(path, _LABELS, form)
    if not number or sorted(number.values()) != list(range(len(number))):
        raise SourceWrong(f"{printable(path)} is not of the form {form}")
    return sorted(number, key=number.__getitem__)


def _entries(path: Path, classes: Sequence[str]) -> list[tuple[str, str]]:
    """The number and class of each video in a list; its class is the template without brackets."""
    found = [
        (str(entry.id), entry.template.replace("[", "").replace("]", ""))
        for entry in _parsed(path, _ENTRIES, 'a list of {"id": ..., "template": ...}')
    ]
    known = set(classes)
    for video, label in found:
        if label not in known:
            raise SourceWrong(
                f"video {video!r} of {printable(path)} shows {label!r}, which is none of the"
                f" {len(classes)} classes: labels and lists are of two releases"
            )
    return found


class _Entry(BaseModel):
    id: int | str
    template: str


_LABELS = TypeAdapter(dict[str, int])
_ENTRIES = TypeAdapter(list[_Entry])


def _parsed(path: Path, form: TypeAdapter[Parsed], described: str) -> Parsed:
    try:
        return form.validate_json(read_regular(path))
    except OSError as error:
        raise SourceWrong(
            f"{printable(path)} cannot be read: {error.strerror}; get it again"
        ) from error
    except ValidationError as error:
        raise SourceWrong(
            f"{printable(path)} is not of the form {described} ({first_of(error)}): get the"
            " official one"
        ) from error


def _class_of(clip: Clip) -> str:
    return clip.tags["class"]


def _splits(clips: Sequence[Clip]) -> dict[SplitName, list[Clip]]:
    splits: dict[SplitName, list[Clip]] = {"train": [], "validation": [], "test": []}
    for clip in clips:
        splits["test" if clip.tags["list"] == "validation" else _part(clip.name)].append(clip)
    return splits


def _part(video: str) -> SplitName:
    """Whether a video of the official training list trains or validates."""
    drawn = int.from_bytes(hashlib.sha256(video.encode()).digest()[:8], "big")
    return "train" if drawn % VALIDATION_SHARE else "validation"
