"""Clips of a user's own: folders and stacks of images, videos and arrays, in any mixture."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from datasets.contract import DataMissing, HeldOutName, Spec, whole
from datasets.video import in_time
from datasets.video.arrays import ARRAY_SUFFIXES, digests_of_array
from datasets.video.cache import Cache, Clip
from datasets.video.clips import clips_at, counted
from datasets.video.dataset import HELD_OUT, SPLITS, SplitName, VideoDataset
from datasets.video.decode import is_video, read_frames
from datasets.video.lists import ClipNames
from datasets.video.movies import VARIABLE_RATE
from datasets.video.names import printable
from datasets.video.source import (
    Damaged,
    Fit,
    FrameFormat,
    FrameSize,
    Preparation,
    Source,
    Sources,
    SourceWrong,
    height_and_width,
)
from datasets.video.windows import Origin

HASHED_SHARE = 0.1
"""The share of clips that validate, and of those that test, where the hash of names decides."""

_CALLED: Mapping[SplitName, frozenset[str]] = {
    "train": frozenset({"train"}),
    "validation": frozenset({"validation", "valid", "val"}),
    "test": frozenset({"test"}),
}


_CURES = {VARIABLE_RATE: " (frames_per_second=25, say, makes it even)"}


class _Facts(BaseModel):
    split_by: str
    split_of: dict[str, SplitName]
    left_out: int
    in_time: list[HeldOutName] = []
    no_clips: list[str] = []
    odd_clips: list[str] = []
    digests: dict[str, str] = {}


class Frames(VideoDataset):
    """The next frames of any clips, in a folder or in folders of folders.

    A clip is one of these. Its name is its path without the suffix; `digits#3` is the third clip
    in `digits.npy`.

    - A folder of images, in the order of the one number in which their names differ: whole
      (`2.png` before `10.png`), decimal (`0.25.png`) or with a sign (`t_-3.png`). Where numbers
      are missing (1, 2, 5, 6) time jumps, and the clip is cut there into `walk#1`, `walk#2`.
      Names without any number come in natural order. The notice says where either is so.
      Images of several kinds of name in one folder, as of masks or several recordings, and other
      names that tell no clear order, are refused.
    - An image file of several pictures: a TIFF stack, an animated GIF, PNG or WebP.
    - A video, in whatever FFmpeg reads.
    - An array uint8 [T,H,W] or [T,H,W,C] in a `.npy` or `.npz` file; [N,T,H,W,C] is N clips, and
      those of an `.npz` follow each other in natural order of the arrays' names.

    A single image and files of other kinds are left out, which the notice says; `.txt`, `.json`,
    `.csv` and the like are passed over. 16 bits a channel become 8, by their full range.

    Whole clips train, validate or test. The first of these that is there decides:

    1. Lists at the top, `train.txt`, `validation.txt` (or `val.txt`) and `test.txt`: the name of a
       clip a line, with or without suffix; a label may stand behind it, and a line of comment
       begins with `#`. Clips in no list are left out.
    2. Folders at the top, `train`, `validation` (or `val`) and `test`; a single video or array of
       such a name, `test.npy`, will do as well. Clips elsewhere are left out.
    3. The hash of a clip's name: about 80 % train, 10 % validate, 10 % test, and each clip stays in
       its split when others come. Where few clips would leave a split empty, it gets the nearest
       one. Clips cut from one recording look alike: to keep these together give folders or lists.

    Without a list or folder for validation the hash takes 10 % of the training clips. One or two
    clips are cut in time instead, which the notice says: the last 10 % of the frames of each test,
    10 % before them validate, and all before these train; the frames of a window are left out at
    each cut. So is a training clip that is alone, for validation. Where a split
    holds a copy of a clip, the same files byte for byte or the same frames in another array, laxer
    splits leave it out: validation what is in test, training what is in either.
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
        whole("frame_step", frame_step, 1)
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
        self._recordings = _recordings(cache)
        splits, copies = _without_copies(cache)
        span = (spec.clip_frames - 1) * frame_step + 1
        least, shares = span, dict.fromkeys(cache.facts.get("in_time", []), in_time.SHARE)
        short = sum(clip.frames < span for clips in splits.values() for clip in clips)
        if shares:
            least = in_time.least_frames(shares, span)
            short += sum(span <= clip.frames < least for clip in splits["train"])
            splits = _cut(splits, shares, span)
        super().__init__(cache, splits, spec, frame_step=frame_step)
        left_out = {
            "in no list or folder of a split": cache.facts["left_out"],
            "damaged": len(cache.damaged),
            f"shorter than {least} frames": short,
            "copied from a clip that is held out": copies,
        }
        listed = [f"{count:,} {what}" for what, count in left_out.items() if count]
        listed += cache.facts.get("no_clips", [])
        parts = [f"clips split by {cache.facts['split_by']}"]
        parts += [f"cut in time: {in_time.told(shares, span)}"] if shares else []
        parts += [f"left out: {', '.join(listed)}"] if listed else []
        parts += cache.facts.get("odd_clips", [])
        remarks = Counter(remark for source in cache.sources for remark in source.remarks)
        parts += [
            f"{count:,} with {remark}{_CURES.get(remark, '')}" for remark, count in remarks.items()
        ]
        self.notice = "; ".join(parts)

    def cluster_of(self, origin: Origin) -> str:
        """The clip of a window; of clips that are cuts of one folder of images, the folder."""
        return self._recordings.get(origin.clip.name, origin.clip.name)

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
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]{,63}", name):
            raise ValueError(
                "name is made of letters, digits, '_', '-' and '.', 64 at most, not"
                f" {repr(name)[:80]}"
            )
        if type(channels) is not int or channels not in (1, 3):
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
            get="clips of your own: videos, arrays, stacks and subfolders of images, in one folder",
            homes=(name,),
            facts=_Facts,
        )


def _cut(
    splits: Mapping[SplitName, list[Clip]], shares: in_time.Shares, span: int
) -> dict[SplitName, list[Clip]]:
    """`splits`, with those of `shares` cut from the clips that train.

    Raises:
        DataMissing: none of these is long enough.
    """
    parts = in_time.cut(splits["train"], shares, span)
    if not parts["train"]:
        longest = max((clip.frames for clip in splits["train"]), default=0)
        raise DataMissing(
            f"the longest clip has {longest:,} frames, of which {' and '.join(shares)} would be cut"
            f" in time; with windows over {span} frames that takes"
            f" {in_time.least_frames(shares, span):,}: ask for shorter windows, or prepare more"
        )
    return {**splits, **parts}


def _without_copies(cache: Cache) -> tuple[dict[SplitName, list[Clip]], int]:
    """The clips of each split, no copies of those in a stricter one, and how many these were."""
    contents, split_of = _contents(cache), cache.facts["split_of"]
    splits: dict[SplitName, list[Clip]] = {}
    stricter, copies = set[str](), 0
    for split in reversed(SPLITS):
        clips = [clip for clip in cache.clips if split_of.get(clip.name) == split]
        splits[split] = [clip for clip in clips if contents[clip.name] not in stricter]
        stricter.update(contents[clip.name] for clip in clips)
        copies += len(clips) - len(splits[split])
    return splits, copies


def _recordings(cache: Cache) -> dict[str, str]:
    """The source of each clip that is a cut of one; clips of an array are apart from each other."""
    whole = {source.name for source in cache.sources} | cache.facts.get("digests", {}).keys()
    cuts = [clip.name for clip in cache.clips if clip.name not in whole]
    return {name: name.rpartition("#")[0] for name in cuts}


def _contents(cache: Cache) -> dict[str, str]:
    """What two clips share when one is a copy: hashes of their frames in an array, or of files."""
    hashes = {source.name: source.sha256 for source in cache.sources}
    contents = dict(cache.facts.get("digests", {}))
    for clip in cache.clips:
        source, number = (clip.name, "") if clip.name in hashes else clip.name.rsplit("#", 1)
        contents.setdefault(clip.name, f"{hashes[source]} {number}")
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
        raise SourceWrong(f"{printable(folder)} is a file: give the folder that holds the clips")
    found = clips_at(folder)
    sources, no_clips = found.sources, counted(found.left_out)
    if any(len(source.paths) > 1 and source.paths[0].parent == folder for source in sources):
        raise SourceWrong(
            f"{printable(folder)} holds images itself: put each clip's in a subfolder"
        )
    clips = [clip for source in sources for clip in source.clip_names]
    if not clips:
        besides = f"; left out: {', '.join(no_clips)}" if no_clips else ""
        raise SourceWrong(
            f"{printable(folder)} holds no clip: that is a video, an array, a stack or a subfolder"
            f" of images{besides}"
        )
    lists = _of_splits(
        {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".txt"}
    )
    split_by, split_of, from_train = _divided(folder, sources, lists)
    for split in SPLITS:
        if split not in (*split_of.values(), *from_train):
            raise SourceWrong(
                f"{printable(folder)} has no {split} clip among {len(clips):,} (split by"
                f" {split_by}): name the clips of each split in train.txt, validation.txt and"
                " test.txt there, one a line"
            )
    used = [source for source in sources if not split_of.keys().isdisjoint(source.clip_names)]
    facts = {
        "split_by": split_by,
        "split_of": split_of,
        "in_time": from_train,
        "left_out": len(clips) - len(split_of),
        "no_clips": no_clips,
        "odd_clips": counted(found.odd),
        "digests": dict(pair for source in used for pair in _digests(source)),
    }
    return Sources(used, facts, tuple(lists.values()))


def _digests(source: Source) -> Iterator[tuple[str, str]]:
    """The clips of an array, each with the digest of its frames."""
    if source.paths[0].suffix.lower() in ARRAY_SUFFIXES:
        with suppress(Damaged):  # reported when it is read
            yield from zip(source.clip_names, digests_of_array(source.paths[0]), strict=True)


def _divided(
    folder: Path, sources: Sequence[Source], lists: Mapping[SplitName, Path]
) -> tuple[str, dict[str, SplitName], list[HeldOutName]]:
    """What decides, the split of every clip in one, and what is cut from those that train."""
    top_of = {
        clip: source.name.partition("/")[0] for source in sources for clip in source.clip_names
    }
    given = lists or _of_splits({top: folder / top for top in top_of.values()})
    place = _places(sources)
    split_of: dict[str, SplitName]
    from_train: list[HeldOutName] = []
    if lists:
        split_by, split_of = "lists", _listed(ClipNames(folder, sources), lists)
    elif given:
        split_at = {path.name: split for split, path in given.items()}
        split_by = "folders"
        split_of = {clip: split_at[top] for clip, top in top_of.items() if top in split_at}
    elif len(set(place.values())) < len(SPLITS):
        split_by, split_of = "time, for they are few", dict.fromkeys(top_of, "train")
        return split_by, split_of, [*HELD_OUT]
    else:
        split_by = "the hash of their names"
        tested = _last(place, lambda number: number > 1 - HASHED_SHARE, leaving=2)
        split_of = {clip: "test" if clip in tested else "train" for clip in top_of}
    if "validation" not in given:
        train = {clip: place[clip] for clip, split in split_of.items() if split == "train"}
        turned = {clip: -number for clip, number in train.items()}
        chosen = _last(turned, lambda number: -number < HASHED_SHARE, leaving=1)
        split_of |= dict.fromkeys(chosen, "validation")
        if train and not chosen:
            from_train = ["validation"]
        how = "time" if from_train else "the hash of their names"
        split_by += f", validation by {how}" if given else ""
    return split_by, split_of, from_train


def _last(
    place: Mapping[str, float], is_held_out: Callable[[float], bool], leaving: int
) -> set[str]:
    """The clips whose place is held out; at least those at the last of all places.

    They leave so many places to others, so that a folder of few clips has every split. Where there
    are no more places than that, none is held out.
    """
    places = sorted(set(place.values()))[leaving:]
    chosen = set(filter(is_held_out, places)) or set(places[-1:])
    return {clip for clip, number in place.items() if number in chosen}


def _listed(clips: ClipNames, lists: Mapping[SplitName, Path]) -> dict[str, SplitName]:
    """The split of every clip that the lists name."""
    split_of: dict[str, SplitName] = {}
    for split, path in lists.items():
        for number, clip in clips.in_list(path):
            if split_of.setdefault(clip, split) != split:
                other = lists[split_of[clip]].name
                raise SourceWrong(f"{printable(path)}, line {number}: {clip} is in {other} too")
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


def _places(sources: Sequence[Source]) -> dict[str, float]:
    """A number in [0, 1) for each clip, by the hash of its name; one for all cuts of a folder."""
    return {
        clip: _hash(source.name if len(source.paths) > 1 else clip)
        for source in sources
        for clip in source.clip_names
    }


def _hash(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48
