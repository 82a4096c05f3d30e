"""KTH: 25 persons who walk, jog, run, box, wave and clap, before plain backgrounds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from datasets.contract import Spec, names_in
from datasets.video.cache import Cache, Clip
from datasets.video.dataset import Splits, VideoDataset
from datasets.video.decode import read_frames
from datasets.video.files import SHOWN, files_under, text_of
from datasets.video.source import FrameFormat, Preparation, Source, Sources, SourceWrong
from datasets.video.windows import Origin

ACTIONS = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
LIST = "00sequences.txt"

_GET = f"the six zip files and {LIST} from https://www.csc.kth.se/cvap/actions/, into one folder"
_FIRST_VALIDATION_PERSON, _FIRST_TEST_PERSON = 14, 17
_FILE = re.compile(r"(person\d\d_[a-z]+_d\d)_uncomp\.avi")
_RANGE = r"(\d{1,9})\s*-\s*(\d{1,9})"
_LINE = re.compile(
    r"(person(\d\d)_([a-z]+)_d\d)\s+"
    rf"(?:frames\s+(?P<ranges>{_RANGE}(?:\s*,\s*{_RANGE})*)|\*missing\*)"
)

Range = tuple[int, int]
"""The first frame and the last, counted from 1 as the list does."""


class _Facts(BaseModel):
    listed: dict[str, int]
    not_in_list: list[str]
    mended: dict[str, str]


class _Tags(BaseModel):
    video: str
    person: Annotated[str, Field(pattern=r"^\d\d$")]
    action: str


class KTH(VideoDataset):
    """Windows of consecutive grey frames, 25 a second; tested on persons that training never shows.

    Schuldt, Laptev & Caputo, "Recognizing Human Actions: A Local SVM Approach", ICPR 2004. As is
    usual in prediction, persons 17 to 25 test and the frames, 160x120, are stretched to a square.
    Persons 14 to 16, whom others train on, validate; 1 to 13 train.

    The authors' list names the frames of each video in which somebody is there, up to four ranges
    of them; each is a clip of its own, so that no window crosses the empty frames between two
    walks. Of its 2,391 ranges 7 are too short for 30 frames, and 269, of running and jogging most
    often, for the 50 frames of `horizon=40`. person13_handclapping_d3 does not exist.
    """

    name = "kth"
    cluster_name = "person"

    def __init__(
        self,
        context_frames: int = 10,
        horizon: int = 20,
        *,
        size: int = 128,
        actions: str | Sequence[str] = (),
    ) -> None:
        """Open the cache.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            size: the side of the frames in pixels.
            actions: the actions to use, of six (default: all).

        Raises:
            DataMissing: the videos are not prepared here, or not enough of them.
            ValueError: there is no such action.
        """
        names = _chosen(actions)
        cache = Cache.open(self.preparation(size=size))
        spec = Spec(cache.frames.shape[1:], context_frames, horizon)
        clips = [clip for clip in cache.clips if clip.tags["action"] in names]
        self.notice = _missing_notice(cache, clips, names)
        super().__init__(cache, split_by_person(clips), spec)

    def cluster_of(self, origin: Origin) -> str:
        """The person that a window shows."""
        return origin.clip.tags["person"]

    @classmethod
    def preparation(cls, *, size: int = 128, **_: Any) -> Preparation:
        """All listed videos under a folder, in grey, stretched to a square."""
        return Preparation(
            name="kth" if size == 128 else f"kth(size={size})",
            folder=f"kth-{size}x{size}",
            format=FrameFormat(1, size, size),
            find=find_videos,
            read=read_frames,
            get=_GET,
            homes=("kth", "KTH"),
            facts=_Facts,
            tags=_Tags,
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """A video in the authors' list."""

    person: str
    action: str
    ranges: tuple[Range, ...]
    mended: str | None
    """What its ranges are in the list, where they are not used as they stand."""


def find_videos(folder: Path) -> Sources:
    """The listed videos anywhere under `folder`, tagged with person, action and their own name.

    A video that the list does not name is left out: its ranges are unknown. The
    facts are how many videos of each action the list names, which were left out, and whose ranges
    were mended.

    Raises:
        SourceWrong: there is no list, or what is in it is wrong.
    """
    files = {path: _FILE.fullmatch(path.name) for path in files_under(folder, "person*.avi")}
    names = {path: found[1] for path, found in files.items() if found}
    path = min(files_under(folder, LIST), default=None)
    if path is None:
        if names:
            raise SourceWrong(f"{folder} has videos of KTH, but no {LIST}: get {_GET}")
        return Sources([])
    listed = read_list(path)
    videos = [
        Source(
            name=name,
            paths=(file,),
            tags={"video": name, "person": listed[name].person, "action": listed[name].action},
            ranges=tuple((first - 1, last) for first, last in listed[name].ranges),
        )
        for file, name in sorted(names.items(), key=lambda item: item[1])
        if name in listed
    ]
    facts = {
        "listed": dict(Counter(video.action for video in listed.values())),
        "not_in_list": sorted(set(names.values()) - listed.keys()),
        "mended": {name: video.mended for name, video in listed.items() if video.mended},
    }
    return Sources(videos, facts, [path])


def read_list(path: Path) -> dict[str, Listed]:
    """By name, the videos in the authors' list that exist.

    Its slips are mended: ranges come in the order of time, and one that starts before the one
    before it ends starts after that.

    Raises:
        SourceWrong: a line is none of its.
    """
    videos = {}
    for number, line in enumerate(text_of(path).splitlines(), 1):
        found = _LINE.fullmatch(line.strip())
        if found is None and line.strip():
            raise SourceWrong(
                f"{path}, line {number}: {line[:SHOWN]!r} is not"
                f" personNN_ACTION_dN frames A-B, C-D, ...; get {_GET}"
            )
        if found is None or found["ranges"] is None:
            continue
        ranges = [(int(a), int(b)) for a, b in re.findall(_RANGE, found["ranges"])]
        kept = mend(ranges)
        if kept[0][0] < 1 or any(first > last for first, last in kept):
            raise SourceWrong(
                f"{path}, line {number}: {line[:SHOWN]!r} has a range that is empty or"
                f" begins before frame 1; get {_GET}"
            )
        mended = found["ranges"] if kept != ranges else None
        videos[found[1]] = Listed(found[2], found[3], tuple(kept), mended)
    return videos


def mend(ranges: Iterable[Range]) -> list[Range]:
    """`ranges` in the order of time, each of them starting after the one before it."""
    kept: list[Range] = []
    for first, last in sorted(ranges):
        kept.append((max(first, kept[-1][1] + 1) if kept else first, last))
    return kept


def split_by_person(clips: Iterable[Clip]) -> Splits:
    """The clips of persons 1 to 13, who train, 14 to 16, who validate, and 17 to 25, who test."""
    train: list[Clip] = []
    validation: list[Clip] = []
    test: list[Clip] = []
    for clip in clips:
        person = int(clip.tags["person"])
        if person >= _FIRST_TEST_PERSON:
            test.append(clip)
        elif person >= _FIRST_VALIDATION_PERSON:
            validation.append(clip)
        else:
            train.append(clip)
    return {"train": train, "validation": validation, "test": test}


def _chosen(actions: str | Sequence[str]) -> set[str]:
    names = names_in("actions", actions)
    for name in sorted(names - set(ACTIONS)):
        raise ValueError(f"KTH has no action {name!r}: there are {', '.join(ACTIONS)}")
    return names or set(ACTIONS)


def _missing_notice(cache: Cache, clips: Iterable[Clip], actions: Iterable[str]) -> str | None:
    """A notice if the list names more videos of `actions` than are here; else None."""
    listed: dict[str, int] = cache.facts["listed"]
    named, here = sum(listed.get(name, 0) for name in actions), len({_video(c) for c in clips})
    if here == named:
        return None
    return (
        f"{here} of the {named} videos in {LIST} are here: figures compare only with runs on the"
        " same videos"
    )


def _video(clip: Clip) -> str:
    return clip.tags["video"]
