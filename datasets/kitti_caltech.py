"""KITTI and Caltech Pedestrian: what a driving car sees, in Karlsruhe and in Los Angeles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from datasets.contract import DataMissing, Spec
from datasets.sources import hickle
from datasets.sources.hdf5 import opened
from datasets.sources.norpix import pictures_of_sequence
from datasets.video.cache import Cache, Clip
from datasets.video.dataset import SplitName, VideoDataset
from datasets.video.decode import fitted
from datasets.video.files import SHOWN, files_under, unique_files_under
from datasets.video.source import (
    Damaged,
    FrameFormat,
    Image,
    Preparation,
    Source,
    Sources,
    SourceWrong,
    reason_of,
)
from datasets.video.windows import Origin

TestedOn = Literal["caltech", "kitti"]

STEP = 3
"""Of Caltech's frames, 30 a second, every third is used: KITTI has 10."""

_SIZE = (128, 160)
_PARTS = {"train": "train", "validation": "val", "kitti": "test"}
"""What PredNet's files call the parts of KITTI."""

_TEST_SETS = ("set06", "set07", "set08", "set09", "set10")
_CACHE, _STARTS = "data_cache.npy", "indices_cache.npy"
_GET = (
    "PredNet's kitti_data.zip (X_train.hkl, sources_train.hkl and the same of val and test;"
    " coxlab.github.io/prednet) and set06 to set10 of Caltech Pedestrian, as set06/V000.seq"
    " (data.caltech.edu/records/f6rph-90m20), or OpenSTL's"
    f" {_CACHE} and {_STARTS} in their place"
)


_AT_ONCE = 64  # frames

_Recordings = list[tuple[str, int]]
"""The names of recordings, and how many frames each has."""


class _Facts(BaseModel):
    recordings: dict[str, list[str]]
    absent_sets: list[str]
    passed_over: list[str]


class _Tags(BaseModel):
    part: Literal["train", "validation", "kitti", "caltech"]


class KittiCaltech(VideoDataset):
    """Ten frames of 3x128x160 in RGB, 10 a second, and the next; no recording is in two splits.

    Geiger, Lenz, Stiller & Urtasun, "Vision meets Robotics: The KITTI Dataset", IJRR 2013, and
    Dollar, Wojek, Schiele & Perona, "Pedestrian Detection: An Evaluation of the State of the Art",
    PAMI 2012, as Lotter, Kreiman & Cox, "Deep Predictive Coding Networks for Video Prediction and
    Unsupervised Learning", ICLR 2017, put them together. KITTI's frames are those of PredNet's
    files: recording 2011_09_26_drive_0005 validates, the train file's others train. Every third
    frame of Caltech's sets 6 to 10 tests, scaled to a height of 128 and cropped in the middle.

    Held-out windows lie side by side up to the end of their recording, as published; training
    draws any window, where published harnesses repeat 2,042 fixed ones. Frames are RGB everywhere.
    Published harnesses that read Caltech through OpenCV train on RGB and test on BGR: their figures
    are of frames with red and blue exchanged at the test, and do not compare exactly with these.

    Names, recordings and sizes are those of PredNet's process_kitti.py, windows and every third
    frame those of OpenSTL's dataloader_kitticaltech.py.
    """

    name = "kitti_caltech"
    cluster_name = "recording"

    def __init__(
        self, context_frames: int = 10, horizon: int = 1, *, tested_on: TestedOn = "caltech"
    ) -> None:
        """Open the cache.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            tested_on: "caltech", or the "kitti" recordings that PredNet's authors held out.

        Raises:
            DataMissing: it has not been prepared, or not with these test recordings.
            ValueError: `tested_on` is something else.
        """
        if tested_on not in get_args(TestedOn):
            raise ValueError(f"tested_on is 'caltech' or 'kitti', not {repr(tested_on)[:80]}")
        spec = Spec((3, *_SIZE), context_frames, horizon)
        cache = Cache.open(self.preparation())
        parts = {
            part: [clip for clip in cache.clips if clip.tags["part"] == part]
            for part in ("train", "validation", tested_on)
        }
        if not parts[tested_on]:
            raise DataMissing(
                f"kitti_caltech was prepared without what {tested_on!r} tests on: get {_GET}, and"
                f" run `{self.preparation().command}` again"
            )
        self._recordings = cache.facts["recordings"]
        self.notice = _notice(cache.facts) if tested_on == "caltech" else None
        splits: dict[SplitName, Sequence[Clip]] = {
            "train": parts["train"],
            "validation": _up_to_the_end(parts["validation"], spec.clip_frames),
            "test": _up_to_the_end(parts[tested_on], spec.clip_frames),
        }
        super().__init__(cache, splits, spec)

    def cluster_of(self, origin: Origin) -> str:
        """The recording that a window is from; of `data_cache.npy`, windows that follow closely."""
        source, _, number = origin.clip.name.rpartition("#")
        recordings = self._recordings.get(source)
        return recordings[int(number) - 1] if recordings else origin.clip.name

    @classmethod
    def preparation(cls, **_: Any) -> Preparation:
        """KITTI's frames as PredNet's files have them, and what there is of Caltech's test sets."""
        return Preparation(
            name=cls.name,
            folder="kitti_caltech-128x160",
            format=FrameFormat(3, *_SIZE, fit="crop"),
            find=_find,
            read=_read,
            get=_GET,
            homes=("kitti_caltech", "KITTI-Caltech"),
            facts=_Facts,
            tags=_Tags,
        )


def _up_to_the_end(clips: Sequence[Clip], window_frames: int) -> list[Clip]:
    """`clips` without the first frames, so that whole windows reach up to the end of each."""
    spare = {clip.name: clip.frames % window_frames for clip in clips}
    return [
        replace(clip, first=clip.first + spare[clip.name], frames=clip.frames - spare[clip.name])
        for clip in clips
    ]


def _notice(facts: Mapping[str, Any]) -> str | None:
    """What of Caltech's test sets is not here or not used; None where all is."""
    said = []
    if facts["absent_sets"]:
        absent = ", ".join(facts["absent_sets"])
        said.append(f"without Caltech's {absent}: figures compare only with runs on the same sets")
    if facts["passed_over"]:
        said.append(f"from Caltech's .seq files; {', '.join(facts['passed_over'])} was not used")
    return "; ".join(said) or None


def _find(folder: Path) -> Sources:
    """The recordings in `folder`.

    Raises:
        SourceWrong: one of the files is not there, or there twice, or of another form.
    """
    kitti = {
        part: [
            path
            for name in ("X", "sources")
            for path in unique_files_under(folder, f"{name}_{published}.hkl")
        ]
        for part, published in _PARTS.items()
    }
    sequences = sorted(path for path in files_under(folder, "*.seq") if _set(path) in _TEST_SETS)
    arrays = [path for name in (_CACHE, _STARTS) for path in unique_files_under(folder, name)]
    for part, paths in kitti.items():
        if len(paths) != 2 and (paths or part != "kitti"):
            wanted = f"X_{_PARTS[part]}.hkl and sources_{_PARTS[part]}.hkl"
            raise SourceWrong(f"{folder} has not both {wanted}: get {_GET}")
    if len(arrays) == 1 and not sequences:
        raise SourceWrong(f"{folder} has not both {_CACHE} and {_STARTS}: get {_GET}")
    if not (sequences or arrays or kitti["kitti"]):
        raise SourceWrong(f"{folder} holds nothing to test on: get {_GET}")
    recordings = {part: _recordings(*paths) for part, paths in kitti.items() if paths}
    _refuse_shared(recordings)
    videos = [_source(part, kitti[part], names) for part, names in recordings.items()]
    facts: dict[str, Any] = {
        "recordings": {
            video.name: [name for name, _ in names]
            for video, names in zip(videos, recordings.values(), strict=True)
        },
        "absent_sets": [],
        "passed_over": [path.name for path in arrays] if sequences else [],
    }
    if sequences:
        there = {_set(path) for path in sequences}
        facts["absent_sets"] = [name for name in _TEST_SETS if name not in there]
        videos += [
            Source(f"caltech/{_set(path)}/{path.stem}", (path,), {"part": "caltech"})
            for path in sequences
        ]
    elif arrays:
        windows = _windows(*arrays)
        videos.append(
            Source("caltech/data_cache", tuple(arrays), {"part": "caltech"}, tuple(windows))
        )
        facts["recordings"]["caltech/data_cache"] = _runs(windows)
    return Sources(videos, facts)


def _set(path: Path) -> str:
    return path.parent.name.lower()


def _source(part: str, paths: Sequence[Path], recordings: _Recordings) -> Source:
    """A part of KITTI, a clip for each run of frames of one recording."""
    ends = np.cumsum([frames for _, frames in recordings]).tolist()
    ranges = tuple(zip([0, *ends[:-1]], ends, strict=True))
    return Source(f"kitti/{_PARTS[part]}", tuple(paths), {"part": part}, ranges)


def _recordings(frames: Path, sources: Path) -> _Recordings:
    """The recordings of the frames in a file of PredNet's, in their order.

    Raises:
        SourceWrong: it is of another form.
    """
    with opened(sources) as file:
        names = hickle.strings_of(file, sources)
    with opened(frames) as file:
        data = hickle.array_of(file, frames)
        if data.shape != (len(names), *_SIZE, 3) or data.dtype != np.uint8 or not names:
            raise SourceWrong(
                f"{frames.name} holds {data.dtype} {data.shape} for {len(names)} names in"
                f" {sources.name}, not uint8 (N,128,160,3) for N: get both anew"
            )
    return [(name, len(list(run))) for name, run in groupby(names)]


def _refuse_shared(recordings: Mapping[str, _Recordings]) -> None:
    """Raise SourceWrong where a recording is in two parts of KITTI."""
    part_of: dict[str, str] = {}
    for part, runs in recordings.items():
        for name, _ in runs:
            if part_of.setdefault(name, part) != part:
                both = f"sources_{_PARTS[part_of[name]]}.hkl and sources_{_PARTS[part]}.hkl"
                raise SourceWrong(f"{both} both have {name[:SHOWN]!r}: get them anew")


def _windows(frames: Path, starts: Path) -> list[tuple[int, int]]:
    """Where the windows in OpenSTL's arrays begin and end, in the order of time.

    Raises:
        SourceWrong: they are of another form.
    """
    count, firsts = len(_array(frames)), _array(starts)
    if firsts.ndim != 1 or firsts.dtype.kind not in "iu" or not len(firsts):
        raise SourceWrong(f"{starts.name} holds {firsts.dtype} {firsts.shape}: get both anew")
    begin = sorted(firsts.tolist())
    length = min(map(int, np.diff([*begin, count])))
    if begin[0] < 0 or length < 2:
        raise SourceWrong(f"{starts.name} does not fit the {count:,} frames: get both anew")
    return [(first, first + length) for first in begin]


def _runs(windows: Sequence[tuple[int, int]]) -> list[str]:
    """A name for each window, the same for those that follow each other without a gap.

    Windows of one recording do; where its length leaves no rest, so does the next recording.
    """
    names: list[str] = []
    for (first, _), before in zip(windows, [None, *windows[:-1]], strict=True):
        follows = before is not None and before[1] == first
        names.append(names[-1] if follows else f"frames from {first}")
    return names


def _array(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy's parser raises what a broken file leads to
        raise SourceWrong(f"{path.name} is no array ({reason_of(error)}): get it anew") from error
    form = array.shape[1:] == (*_SIZE, 3) and (array.dtype == np.uint8 or array.dtype.kind == "f")
    if path.name == _CACHE and not form:
        raise SourceWrong(
            f"{path.name} holds {array.dtype} {array.shape}, not uint8 or float (N,128,160,3): get"
            " it anew"
        )
    return array


def _read(source: Source, frame_format: FrameFormat) -> Iterator[Image]:
    path = source.paths[0]
    if path.suffix.lower() == ".seq":
        for picture in pictures_of_sequence(path, every=STEP):
            yield fitted(picture, frame_format)
    elif path.name == _CACHE:
        yield from _pixels(_array(path))
    else:
        with opened(path) as file:
            data = hickle.array_of(file, path)
            for first in range(0, len(data), _AT_ONCE):
                yield from data[first : first + _AT_ONCE].transpose(0, 3, 1, 2)


def _pixels(frames: NDArray[Any]) -> Iterator[Image]:
    """The frames of OpenSTL's array, BGR in bytes or in [0,1], as uint8 RGB [3,128,160]."""
    for frame in frames:
        if frame.dtype != np.uint8:
            if not (frame >= 0).all() or not (frame <= 1).all():
                raise Damaged("holds values outside [0,1]")
            frame = np.rint(frame * 255).astype(np.uint8)
        yield frame[..., ::-1].transpose(2, 0, 1)
