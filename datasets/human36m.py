"""Human3.6M: people acting in a laboratory, seen by four cameras, ten frames a second."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from datasets.contract import HeldOutName, Spec
from datasets.video.cache import Cache, Clip
from datasets.video.dataset import SPLITS, SplitName, VideoDataset
from datasets.video.decode import read_frames
from datasets.video.files import SHOWN, text_of
from datasets.video.source import (
    Damaged,
    FrameFormat,
    Image,
    Preparation,
    Source,
    Sources,
    SourceWrong,
)
from datasets.video.windows import Origin, Windows, shuffle_key

STEP = 5
"""From one frame that is used to the next; the used ones are numbered 1, 6, 11, ..."""

SPLIT_OF: Mapping[str, SplitName] = {
    **dict.fromkeys(("S1", "S5", "S6", "S7"), "train"),
    "S8": "validation",
    **dict.fromkeys(("S9", "S11"), "test"),
}
"""The split of each subject."""

_GET = (
    "the frames of Human3.6M (vision.imar.ro/human3.6m, after registration), extracted as"
    " images/S11_Walking.60457274_001621.jpg, and beside images/ the published train.txt, test.txt"
)
_IMAGE = re.compile(r"(S\d+_.+\.\d+)_(\d{6})\.jpg")
_LISTED = re.compile(r"(S\d+_[^/,]+\.\d+)_,(\d{1,9})")
_LONGEST_LINE = 1000  # characters; a search takes long in longer ones


class _Facts(BaseModel):
    test_windows: dict[str, list[int]]
    shared_windows: int
    absent_clips: int


class _Tags(BaseModel):
    subject: Literal["S1", "S5", "S6", "S7", "S8", "S9", "S11"]
    first_number: Annotated[str, Field(pattern=r"^\d{1,6}$")]


class Human36M(VideoDataset):
    """Four frames and the next four, at 10 a second; no subject is in two splits.

    Ionescu, Papava, Olaru & Sminchisescu, "Human3.6M: Large Scale Datasets and Predictive Methods
    for 3D Human Sensing in Natural Environments", PAMI 2014; lists of windows by Chang et al.,
    "STRPM", CVPR 2022 (github.com/ZhengChang467/STRPM).

    Test windows are those of `test.txt` that show S9 or S11, where they may share frames; the
    others in it show subjects that train or validate. Training draws any window of the clips of S1,
    S5, S6 and S7 that `train.txt` names; validation has those of S8 side by side, where published
    harnesses train on S8 and validate on the test windows.
    """

    name = "human36m"
    cluster_name = "subject"

    def __init__(self, context_frames: int = 4, horizon: int = 4, *, size: int = 256) -> None:
        """Open the cache of frames of `size` x `size` pixels.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            size: height and width of a frame.

        Raises:
            DataMissing: it has not been prepared, or a split has no window that long.
        """
        cache = Cache.open(self.preparation(size=size))
        splits: dict[SplitName, list[Clip]] = {split: [] for split in SPLITS}
        for clip in cache.clips:
            splits[SPLIT_OF[clip.tags["subject"]]].append(clip)
        super().__init__(cache, splits, Spec((3, size, size), context_frames, horizon))
        self.frame_step = STEP  # of a recording; the cache has no others
        self._test = self._of("test", partial(_ListedWindows, cache, self.spec.clip_frames))
        self.notice = _notice(cache.facts, len(self._test))

    @classmethod
    def preparation(cls, *, size: int = 256, **_: Any) -> Preparation:
        """Every fifth frame, stretched to `size` x `size` pixels."""
        return Preparation(
            name=cls.name if size == 256 else f"{cls.name}(size={size})",
            folder=f"{cls.name}-{size}x{size}",
            format=FrameFormat(3, size, size),
            find=_find,
            read=_read,
            get=_GET,
            homes=("human36m", "human"),
            facts=_Facts,
            tags=_Tags,
        )

    def cluster_of(self, origin: Origin) -> str:
        """The subject that a window shows."""
        return origin.clip.tags["subject"]

    def held_out(self, split: HeldOutName) -> Windows:
        """The windows of S8's clips for "validation", the listed ones of S9 and S11 for "test"."""
        return self._test if split == "test" else super().held_out(split)


class _ListedWindows:
    """The windows of `clips` that the test list names; a slice is [N,T,C,H,W].

    Those that reach beyond the end of their clip are left out.
    """

    def __init__(self, cache: Cache, window_frames: int, clips: Sequence[Clip]) -> None:
        """Raises ValueError where there are none."""
        origins: dict[str, Origin] = {}
        for clip in clips:
            for number in cache.facts["test_windows"].get(clip.name, ()):
                at = (number - int(clip.tags["first_number"])) // STEP
                if 0 <= at <= clip.frames - window_frames:
                    origins[f"{clip.name} {number}"] = Origin(clip, at)
        if not origins:
            raise ValueError(f"test.txt names no window of {window_frames} frames in them")
        # Shuffled, because the list goes clip by clip and suites may use its first windows only.
        self._origins = [origins[name] for name in sorted(origins, key=shuffle_key)]
        self._frames = cache.frames
        self._places = torch.tensor([clip.first + at for clip, at in self._origins])
        self._offsets = torch.arange(window_frames)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, window: slice, /) -> Tensor:
        return self._frames.gather(self._places[window][:, None] + self._offsets)

    def origins(self, count: int) -> list[Origin]:
        """Where each of the first `count` windows is from."""
        return self._origins[:count]


def _notice(facts: Mapping[str, Any], test_windows: int) -> str | None:
    """What of the published lists is not used; None where all is."""
    listed = sum(len(numbers) for numbers in facts["test_windows"].values())
    left_out = {
        "windows of test.txt show no test subject": facts["shared_windows"],
        "of its windows of S9 and S11 lack frames": listed - test_windows,
        "clips of the lists are not here": facts["absent_clips"],
    }
    parts = [f"{count:,} {what}" for what, count in left_out.items() if count]
    return f"left out: {'; '.join(parts)}" if parts else None


def _find(folder: Path) -> Sources:
    """The clips of `folder` that the list of their subject's split names."""
    lists, images = [folder / "train.txt", folder / "test.txt"], folder / "images"
    for path in (*lists, images):
        if not path.exists():
            raise SourceWrong(f"there is no {path.name} in {folder}: get {_GET}")
    train, test = (_windows_in(path) for path in lists)
    wanted = {clip for clip in train if _split(clip) in ("train", "validation")}
    tested = {clip: numbers for clip, numbers in test.items() if _split(clip) == "test"}
    wanted |= tested.keys()
    found = _frames_in(images)
    videos = [_source(images, clip, found[clip]) for clip in sorted(wanted & found.keys())]
    for split in SPLITS:
        if not any(_split(video.name) == split for video in videos):
            subjects = ", ".join(subject for subject, its in SPLIT_OF.items() if its == split)
            raise SourceWrong(f"{images} holds no listed clip of {subjects}: get {_GET}")
    facts = {
        "test_windows": tested,
        "shared_windows": sum(map(len, test.values())) - sum(map(len, tested.values())),
        "absent_clips": len(wanted - found.keys()),
    }
    return Sources(videos, facts, lists)


def _split(clip: str) -> SplitName | None:
    return SPLIT_OF.get(clip.partition("_")[0])


def _windows_in(path: Path) -> dict[str, list[int]]:
    """The numbers of the frames at which listed windows start, by clip."""
    windows = defaultdict[str, list[int]](list)
    for line, text in enumerate(text_of(path).splitlines(), 1):
        if not text.strip():
            continue
        match = _LISTED.search(text[:_LONGEST_LINE])
        if match is None:
            raise SourceWrong(
                f"{path}, line {line}: {text[:SHOWN]!r} is not like"
                " images/S11_Walking.60457274_,1621"
            )
        if int(match[2]) % STEP != 1:
            raise SourceWrong(f"{path}, line {line}: frame {match[2]} is not one of 1, 6, 11, ...")
        windows[match[1]].append(int(match[2]))
    return windows


def _frames_in(images: Path) -> dict[str, list[int]]:
    """The numbers of the frames of each clip that are used; there may be half a million images."""
    found = defaultdict[str, list[int]](list)
    with os.scandir(images) as entries:
        for entry in entries:
            match = _IMAGE.fullmatch(entry.name)
            if match and int(match[2]) % STEP == 1:
                found[match[1]].append(int(match[2]))
    if not found:
        raise SourceWrong(f"{images} holds no frames numbered 000001, 000006, ...: get {_GET}")
    return found


def _source(images: Path, clip: str, numbers: list[int]) -> Source:
    numbers.sort()
    paths = tuple(images / f"{clip}_{number:06}.jpg" for number in numbers)
    return Source(clip, paths, {"subject": clip.partition("_")[0], "first_number": str(numbers[0])})


def _read(source: Source, frame_format: FrameFormat) -> Iterator[Image]:
    """`read_frames`, unless a frame is missing between the first and the last."""
    numbers = [int(path.stem[-6:]) for path in source.paths]
    for due, number in zip(range(numbers[0], numbers[-1], STEP), numbers, strict=False):
        if number != due:
            raise Damaged(f"frame {due} is missing")
    yield from read_frames(source, frame_format)
