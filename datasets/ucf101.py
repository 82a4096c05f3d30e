"""UCF101: 13,320 clips of 101 human actions, to be continued or to be recognised."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from datasets.contract import DataMissing, Spec, names_in, whole
from datasets.sources import ucf101_lists
from datasets.sources.train_share import share_count
from datasets.video.cache import Cache, Clip
from datasets.video.dataset import CachedDataset, LabelledVideoDataset, Splits, VideoDataset
from datasets.video.decode import read_frames
from datasets.video.source import FrameFormat, FrameSize, Preparation, height_and_width
from datasets.video.windows import Order, Origin, natural, shuffle_key

VALIDATION_GROUPS = ("g23", "g24", "g25")
"""Held back from training. No official list tests them: 1 tests g01-g07, 2 g08-g14, 3 g15-g21."""

FrameOrder = Literal["natural", "as_published"]
"""How the frames of a clip follow each other: in time, or as one study's MaxViT saw them."""


class _Facts(BaseModel):
    listed: dict[str, dict[str, int]]
    in_no_list: list[str]


class _Tags(BaseModel):
    group: str
    class_name: Annotated[str, Field(alias="class")]


class UCF101Base(CachedDataset):
    """What the data sets of UCF101's clips share: one cache for each frame size."""

    cluster_name = "group"

    def cluster_of(self, origin: Origin) -> str:
        """The group of a window's clip, within its class."""
        return _group(origin.clip)

    @classmethod
    def preparation(cls, *, size: FrameSize = 64, **_: Any) -> Preparation:
        """All clips under a folder, in colour, stretched to `size`."""
        height, width = height_and_width(size)
        return Preparation(
            name="ucf101" if height == width == 64 else f"ucf101(size={size})",
            folder=f"ucf101-{height}x{width}",
            format=FrameFormat(3, height, width),
            find=ucf101_lists.find_clips,
            read=read_frames,
            get=ucf101_lists.GET,
            homes=("ucf101", "UCF101"),
            facts=_Facts,
            tags=_Tags,
        )


class UCF101(UCF101Base, VideoDataset):
    """Windows of consecutive frames, split by the official lists.

    Soomro, Zamir & Shah, "UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild",
    CRCV-TR-12-01, 2012. Test clips are those of test list `split`; groups 23 to 25 of its train
    list validate, the others train. So clips of one group, which often are cut from one video, are
    never on two sides. Clips that no list names are left out. Frames come at the rate of the clip,
    25 or 29.97 a second, stretched to `size` whatever their shape, as in the field.

    v_BasketballDunk_g08_c03 and _c04 are the same file; they are of one group, so on one side.
    """

    name = "ucf101"

    def __init__(
        self,
        context_frames: int = 10,
        horizon: int = 10,
        *,
        size: FrameSize = 64,
        split: int = 1,
        classes: str | Sequence[str] = (),
        frame_step: int = 1,
        train_share: float = 1.0,
        frame_order: FrameOrder = "natural",
    ) -> None:
        """Open the cache.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            size: the side of square frames in pixels, or (height, width).
            split: which of the three official pairs of lists.
            classes: the classes to use (default: all that are here).
            frame_step: from one frame of a window to its next.
            train_share: how much of the training groups is used; a smaller share is part of a
                larger one, and validation and test stay as they are.
            frame_order: "as_published" shows the frames of each clip as one study's MaxViT saw
                them (see `ucf101/study`), sorted by file name as text: 0, 1, 10, 100, 101, ...

        Raises:
            DataMissing: the clips are not prepared here, or none of a class, or without the lists.
            ValueError: there is no such split, class, share or order.
        """
        order = order_named(frame_order)
        cache = Cache.open(self.preparation(size=size))
        spec = Spec(cache.frames.shape[1:], context_frames, horizon)
        splits = official_splits(cache, split, classes)
        self.notice = missing_notice(cache, split, classes, splits)
        part = {**splits, "train": share_of(splits["train"], train_share)}
        super().__init__(cache, part, spec, frame_step=frame_step, order=order)


class UCF101Actions(UCF101Base, LabelledVideoDataset):
    """Which of the classes a clip shows; the clips and splits of `ucf101`."""

    name = "ucf101/actions"

    def __init__(
        self,
        clip_frames: int = 16,
        *,
        frame_step: int = 2,
        size: FrameSize = 64,
        split: int = 1,
        classes: str | Sequence[str] = (),
        per_video: int = 1,
    ) -> None:
        """Open the cache.

        Args:
            clip_frames: frames that are shown.
            frame_step: from one of these to the next.
            size: the side of square frames in pixels, or (height, width).
            split: which of the three official pairs of lists.
            classes: the classes to tell apart (default: all that are here).
            per_video: held-out windows of each of UCF101's clips.

        Raises:
            DataMissing: the clips are not prepared here, or none of a class, or without the lists.
            ValueError: there is no such split or class.
        """
        cache = Cache.open(self.preparation(size=size))
        names = chosen_classes(cache, classes)
        spec = Spec(cache.frames.shape[1:], clip_frames, horizon=0, classes=names)
        splits = official_splits(cache, split, classes)
        self.notice = missing_notice(cache, split, classes, splits)
        super().__init__(cache, splits, spec, class_of, frame_step=frame_step, per_video=per_video)


def sorted_as_text(frames: int) -> Sequence[int]:
    """The numbers below `frames` in the order of their digits: 0, 1, 10, 100, 101, ..., 11, ..."""
    return sorted(range(frames), key=str)


def order_named(name: FrameOrder) -> Order:
    """The order of that name.

    Raises:
        ValueError: there is no such order.
    """
    orders: Mapping[str, Order] = {"natural": natural, "as_published": sorted_as_text}
    if name not in [*orders]:
        raise ValueError(f"frame_order is {' or '.join(orders)}, not {name!r}")
    return orders[name]


def share_of(clips: Sequence[Clip], share: float) -> Sequence[Clip]:
    """The clips of that share of the groups of `clips`, at least of one, drawn by their names.

    Clips of one group are often cut from one video: half of them would teach nearly as much.

    Raises:
        ValueError: `share` is not above 0 and at most 1.
    """
    groups = sorted({_group(clip) for clip in clips}, key=shuffle_key)
    drawn = set(groups[: share_count(share, len(groups))])
    return [clip for clip in clips if _group(clip) in drawn]


def _group(clip: Clip) -> str:
    return f"{class_of(clip)} {clip.tags['group']}"


def class_of(clip: Clip) -> str:
    """The class that `clip` shows."""
    return clip.tags["class"]


def chosen_classes(cache: Cache, asked: str | Sequence[str]) -> tuple[str, ...]:
    """The classes `asked` for, or all that are in the cache, in alphabetical order.

    Raises:
        ValueError: there is no such class.
        DataMissing: there is, but no clip of it was prepared.
    """
    here = {class_of(clip) for clip in cache.clips}
    known = here.union(*cache.facts["listed"].values())
    names = names_in("classes", asked) or here
    for name in sorted(names - known):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0)
        raise ValueError(f"UCF101 has no class {name!r}: did you mean {near[0]!r}?")
    require_classes(cache, names)
    return tuple(sorted(names))


def require_classes(cache: Cache, names: Iterable[str]) -> None:
    """Raise DataMissing unless the cache has clips of each of these classes."""
    missing = set(names) - {class_of(clip) for clip in cache.clips}
    if missing:
        raise DataMissing(
            f"no clip of {', '.join(sorted(missing))} was prepared: get {ucf101_lists.GET},"
            " and prepare ucf101 again"
        )


def official_splits(cache: Cache, split: int, classes: str | Sequence[str] = ()) -> Splits:
    """The clips of `classes`, or of all, that train, validate and test by one pair of lists.

    Raises:
        ValueError: there is no such pair, or class.
        DataMissing: they were not there when the cache was made.
    """
    whole("split", split, 1, len(ucf101_lists.SPLITS))
    if f"split{split}" not in cache.facts["listed"]:
        raise DataMissing(
            f"ucf101 was prepared without split {split}: put trainlist{split:02d}.txt and"
            f" testlist{split:02d}.txt beside the clips and run the same `python -m bench data"
            " prepare` again; it decodes nothing twice"
        )
    names = chosen_classes(cache, classes)
    of_classes = [clip for clip in cache.clips if class_of(clip) in names]
    train = [clip for clip in of_classes if clip.tags.get(f"split{split}") == "train"]
    return {
        "train": [clip for clip in train if clip.tags["group"] not in VALIDATION_GROUPS],
        "validation": [clip for clip in train if clip.tags["group"] in VALIDATION_GROUPS],
        "test": [clip for clip in of_classes if clip.tags.get(f"split{split}") == "test"],
    }


def missing_notice(
    cache: Cache, split: int, classes: str | Sequence[str], splits: Splits
) -> str | None:
    """A notice if the lists name more clips, of `classes` or of all, than are here; else None."""
    listed: dict[str, int] = cache.facts["listed"][f"split{split}"]
    names: Iterable[str] = names_in("classes", classes) or listed
    named, here = sum(listed.get(name, 0) for name in names), sum(map(len, splits.values()))
    if here == named:
        return None
    return (
        f"{here:,} of the {named:,} clips in the official lists are here: figures compare only"
        " with runs on the same clips"
    )
