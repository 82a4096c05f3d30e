"""Clips of a user's own: folders of images, videos and `.npy` arrays, in any mixture."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict, get_args

from datasets.contract import Spec
from datasets.video.cache import Cache, Clip
from datasets.video.clips import clips_at
from datasets.video.dataset import SPLITS, SplitName, VideoDataset
from datasets.video.decode import is_video, read_frames
from datasets.video.images import images_in
from datasets.video.movies import VARIABLE_RATE
from datasets.video.source import (
    Fit,
    FrameFormat,
    FrameSize,
    Preparation,
    Source,
    Sources,
    SourceWrong,
    height_and_width,
)

HASHED_SHARE = 0.1
"""The share of clips that validate, and of those that test, where the hash of names decides."""

_CALLED: Mapping[SplitName, frozenset[str]] = {
    "train": frozenset({"train"}),
    "validation": frozenset({"validation", "valid", "val"}),
    "test": frozenset({"test"}),
}


_CURES = {VARIABLE_RATE: " (frames_per_second=25, say, makes it even)"}


class _Facts(TypedDict):
    split_by: str
    split_of: dict[str, SplitName]
    left_out: int


class Frames(VideoDataset):
    """The next frames of any clips, in a folder or in folders of folders.

    A clip is a folder of images (in natural order: `2.png` before `10.png`), a video, or an array
    uint8 [T,H,W] or [T,H,W,C]; an array [N,T,H,W,C] is N clips. A clip's name is its path without
    the suffix; `digits#3` is the third clip in `digits.npy`.

    Whole clips train, validate or test. The first of these that is there decides:

    1. Lists at the top, `train.txt`, `validation.txt` (or `val.txt`) and `test.txt`: the name of a
       clip a line, with or without suffix. Clips in no list are left out.
    2. Folders at the top, `train`, `validation` (or `val`) and `test`; a single video or array of
       such a name, `test.npy`, will do as well. Clips elsewhere are left out.
    3. The hash of a clip's name: about 80 % train, 10 % validate, 10 % test, and each clip stays in
       its split when others come. Where few clips leave a split empty, lists are asked for. Clips
       cut from one recording look alike: to keep these together give folders or lists.

    Without a list or folder for validation the hash takes 10 % of the training clips. Where a split
    holds a copy of a clip, the same files byte for byte, laxer splits leave it out: validation what
    is in test, training what is in either.
    """

    name = "frames"

    def __init__(
        self,
        context_frames: int = 10,
        horizon: int = 10,
        *,
        name: str = "frames",
        size: FrameSize = (64, 64),
        channels: int = 3,
        fit: Fit = "stretch",
        frame_step: int = 1,
        frames_per_second: float | None = None,
    ) -> None:
        """Open the cache of the collection `name`.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            name: tells several collections apart.
            size: height and width in pixels, or one number for both.
            channels: 3 for colour, 1 for grey.
            fit: "stretch" to that size, or "crop" the middle of what just covers it.
            frame_step: from one frame of a window to its next.
            frames_per_second: so many frames of each second of a video are picked: at each moment
                that which is shown then, so that a variable frame rate becomes an even one
                (default: every frame, once). Images and arrays have no times.

        Raises:
            DataMissing: it has not been prepared, or a split has no clip that is long enough.
            ValueError: an option has no such value.
        """
        if not isinstance(frame_step, int) or frame_step < 1:
            raise ValueError(f"frame_step must be a whole number from 1 on, not {frame_step!r}")
        cache = Cache.open(
            self.preparation(
                name=name,
                size=size,
                channels=channels,
                fit=fit,
                frames_per_second=frames_per_second,
            )
        )
        spec = Spec(cache.frames.shape[1:], context_frames, horizon)
        splits, copies = _without_copies(cache)
        super().__init__(cache, splits, spec, frame_step=frame_step)
        span = (spec.clip_frames - 1) * frame_step + 1
        short = sum(clip.frames < span for clips in splits.values() for clip in clips)
        left_out = {
            "in no list or folder of a split": cache.facts["left_out"],
            "damaged": len(cache.damaged),
            f"shorter than {span} frames": short,
            "copied from a clip that is held out": copies,
        }
        listed = ", ".join(f"{count:,} {what}" for what, count in left_out.items() if count)
        parts = [f"clips split by {cache.facts['split_by']}"]
        parts += [f"left out: {listed}"] if listed else []
        remarks = Counter(remark for source in cache.sources for remark in source.remarks)
        parts += [
            f"{count:,} with {remark}{_CURES.get(remark, '')}" for remark, count in remarks.items()
        ]
        self.notice = "; ".join(parts)

    @classmethod
    def preparation(
        cls,
        *,
        name: str = "frames",
        size: FrameSize = (64, 64),
        channels: int = 3,
        fit: Fit = "stretch",
        frames_per_second: float | None = None,
        **_: Any,
    ) -> Preparation:
        """Every frame of the clips that are in a split.

        Raises:
            ValueError: an option has no such value.
        """
        height, width = height_and_width(size)
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"name is made of letters, digits, '_', '-' and '.', not {name!r}")
        if channels not in (1, 3):
            raise ValueError(f"channels is 3 (colour) or 1 (grey), not {channels!r}")
        if fit not in get_args(Fit):
            raise ValueError(f"fit is 'stretch' or 'crop', not {fit!r}")
        grey, crop = channels == 1, fit == "crop"
        rate = frames_per_second
        if isinstance(rate, float) and rate.is_integer():
            rate = int(rate)
        options = {
            f'name="{name}"': name != cls.name,
            f"size=({height}, {width})": (height, width) != (64, 64),
            "channels=1": grey,
            'fit="crop"': crop,
            f"frames_per_second={rate}": rate is not None,
        }
        written = ", ".join(option for option, given in options.items() if given)
        return Preparation(
            name=f"{cls.name}({written})" if written else cls.name,
            folder=f"frames-{name}-{height}x{width}{'-grey' * grey}{'-crop' * crop}"
            + ("" if rate is None else f"-{rate}fps"),
            format=FrameFormat(channels, height, width, fit, frames_per_second=rate),
            find=_find if rate is None else _find_videos,
            read=read_frames,
            get="clips of your own: videos, .npy arrays and subfolders of images, in one folder",
            homes=(name,),
            facts=_Facts,
        )


def _without_copies(cache: Cache) -> tuple[dict[SplitName, list[Clip]], int]:
    """The clips of each split, no copies of those in a stricter one, and how many these were."""
    contents, split_of = _contents(cache), cache.facts["split_of"]
    splits: dict[SplitName, list[Clip]] = {}
    stricter, copies = set[tuple[str, str]](), 0
    for split in reversed(SPLITS):
        clips = [clip for clip in cache.clips if split_of.get(clip.name) == split]
        splits[split] = [clip for clip in clips if contents[clip.name] not in stricter]
        stricter.update(contents[clip.name] for clip in clips)
        copies += len(clips) - len(splits[split])
    return splits, copies


def _contents(cache: Cache) -> dict[str, tuple[str, str]]:
    """What two clips share when one is a copy: the hash of their files, their number in these."""
    hashes = {source.name: source.sha256 for source in cache.sources}
    contents = {}
    for clip in cache.clips:
        source, number = (clip.name, "") if clip.name in hashes else clip.name.rsplit("#", 1)
        contents[clip.name] = hashes[source], number
    return contents


def _find_videos(folder: Path) -> Sources:
    """As `_find`, where all clips must be videos."""
    found = _find(folder)
    for source in found.videos:
        if not is_video(source.paths):
            raise SourceWrong(
                f"{source.name} in {folder} is no video, so it has no times by which"
                " frames_per_second could pick: leave that out, or these clips"
            )
    return found


def _find(folder: Path) -> Sources:
    """The clips of `folder` that are in a split, and in which."""
    if not folder.is_dir():
        raise SourceWrong(f"{folder} is a file: give the folder that holds the clips")
    if images_in(folder):
        raise SourceWrong(f"{folder} holds images itself: put each clip's in a subfolder")
    sources = clips_at(folder)
    clips = [clip for source in sources for clip in source.clip_names]
    if len(clips) < len(SPLITS):
        raise SourceWrong(
            f"{folder} holds too few clips ({len(clips)}): training, validation and test need one"
            " each at least; a clip is a video, a .npy array or a subfolder of images"
        )
    lists = _of_splits({path.stem: path for path in sorted(folder.glob("*.txt"))})
    split_by, split_of = _divided(folder, sources, lists)
    for split in SPLITS:
        if split not in split_of.values():
            raise SourceWrong(
                f"{folder} has no {split} clip among {len(clips):,} (split by {split_by}): name the"
                " clips of each split in train.txt, validation.txt and test.txt there, one a line"
            )
    return Sources(
        [source for source in sources if not split_of.keys().isdisjoint(source.clip_names)],
        {"split_by": split_by, "split_of": split_of, "left_out": len(clips) - len(split_of)},
        tuple(lists.values()),
    )


def _divided(
    folder: Path, sources: Sequence[Source], lists: Mapping[SplitName, Path]
) -> tuple[str, dict[str, SplitName]]:
    """What decides, and the split of every clip that is in one."""
    clips = [
        (source.name.partition("/")[0], clip) for source in sources for clip in source.clip_names
    ]
    given = lists or _of_splits({top: folder / top for top, _ in clips})
    split_of: dict[str, SplitName]
    if lists:
        split_by, split_of = "lists", _listed(sources, lists)
    elif given:
        split_at = {path.name: split for split, path in given.items()}
        split_by = "folders"
        split_of = {clip: split_at[top] for top, clip in clips if top in split_at}
    else:
        split_by = "the hash of their names"
        split_of = {
            clip: "test" if _hash(clip) > 1 - HASHED_SHARE else "train" for _, clip in clips
        }
    if "validation" not in given:
        train = [clip for clip, split in split_of.items() if split == "train"]
        chosen = [clip for clip in train if _hash(clip) < HASHED_SHARE]
        split_of |= dict.fromkeys(chosen, "validation")
        split_by += ", validation by the hash of their names" if given else ""
    return split_by, split_of


def _listed(sources: Sequence[Source], lists: Mapping[SplitName, Path]) -> dict[str, SplitName]:
    """The split of every clip that the lists name."""
    spelled: dict[str, list[str]] = {}
    for source in sources:
        clips = source.clip_names
        spelled |= {clip: [clip] for clip in clips}
        spelled |= dict.fromkeys((source.name, f"{source.name}{source.paths[0].suffix}"), clips)
    split_of: dict[str, SplitName] = {}
    for split, path in lists.items():
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        for number, line in enumerate(map(str.strip, lines), 1):
            if not line:
                continue
            name = str(PurePosixPath(line))
            if name not in spelled:
                raise SourceWrong(f"{path}, line {number}: there is no clip {line!r}")
            for clip in spelled[name]:
                if split_of.setdefault(clip, split) != split:
                    other = lists[split_of[clip]].name
                    raise SourceWrong(f"{path}, line {number}: {clip} is in {other} too")
    return split_of


def _of_splits(named: Mapping[str, Path]) -> dict[SplitName, Path]:
    """Of what is `named` so, what is for which split: nothing, or at least training and test."""
    found: dict[SplitName, Path] = {}
    for name, path in named.items():
        for split in (split for split, called in _CALLED.items() if name.lower() in called):
            if split in found:
                raise SourceWrong(f"{found[split]} and {path} are both for {split}: keep one")
            found[split] = path
    for split in ("train", "test"):
        if found and split not in found:
            there = next(iter(found.values()))
            raise SourceWrong(f"{there} is for one split, but nothing is called {split} beside it")
    return found


def _hash(clip: str) -> float:
    """A number in [0, 1) that a clip's name decides."""
    return int.from_bytes(hashlib.sha256(clip.encode()).digest()[:6]) / 2**48
