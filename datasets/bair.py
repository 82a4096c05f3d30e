"""BAIR robot pushing: an arm that moves objects about in a box, at random."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from datasets.contract import Covariate, Spec
from datasets.sources.tfrecord import bytes_of, floats_of, record_count, records
from datasets.sources.train_share import share_count
from datasets.video.cache import Cache, Clip
from datasets.video.dataset import Splits, VideoDataset
from datasets.video.files import files_under
from datasets.video.source import (
    Covariates,
    Damaged,
    FrameFormat,
    Image,
    Preparation,
    Source,
    Sources,
    SourceWrong,
)
from datasets.video.windows import shuffle_key

FRAMES = 30
"""Of each sequence."""

PUBLISHED = {"train": 43_264, "test": 256}
"""How many sequences there are."""

ACTION = 4
"""Numbers that say what the arm is told to do in a frame."""

_SIDE = 64
_VALIDATION_SHARE = 0.05
_GET = (
    "bair_robot_pushing_dataset_v0.tar (30 GB, rail.eecs.berkeley.edu/datasets), unpacked as"
    " softmotion30_44k/train and softmotion30_44k/test with their .tfrecords files"
)


class _Tags(BaseModel):
    folder: Literal["train", "test"]


class BAIR(VideoDataset):
    """Two frames of 3x64x64, and the other 28 of a sequence.

    Ebert, Finn, Lee & Levine, "Self-Supervised Visual Planning with Temporal Skip Connections",
    CoRL 2017. The frames are those of the camera `aux1`, as everybody uses them; the arm's position
    is not used. With `actions` what the arm is told in each frame stands beside it, as the files
    have it, for models that take covariates.

    The authors' test sequences test; of the files that train a twentieth, drawn by the hash of
    their names, validate. Published figures are of 2 -> 28, of 1 -> 15, and of 4 -> 12 and 2 -> 12
    at every start; here held-out windows lie side by side.

    The files' form is that of SVG's reader (edenton/svg, data/convert_bair.py: folders, names of
    features, bytes in RGB); the numbers of sequences are those of TensorFlow Datasets. Files that
    the package `tfrecord` wrote are read; the authors' own were not tried.
    """

    name = "bair"
    cluster_name = "sequence"

    def __init__(
        self, context_frames: int = 2, horizon: int = 28, *, actions: bool = False
    ) -> None:
        """Open the cache.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            actions: whether each frame has the action taken in it, of four numbers.

        Raises:
            DataMissing: the sequences are not prepared here, or without the actions asked for, or
                the 30 frames of one are too few.
        """
        preparation = self.preparation()
        cache = Cache.open(preparation)
        splits = _splits(cache.clips)
        here = {
            "train": len(splits["train"]) + len(splits["validation"]),
            "test": len(splits["test"]),
        }
        if here != PUBLISHED:
            parts = [f"{here[split]:,} of {count:,} {split}" for split, count in PUBLISHED.items()]
            self.notice = (
                f"{' and '.join(parts)} sequences are here: figures compare only with runs"
                " on the same sequences"
            )
        names = tuple(Covariate(f"action {n}") for n in range(ACTION)) if actions else ()
        spec = Spec((3, _SIDE, _SIDE), context_frames, horizon, covariates=names)
        beside = cache.covariates(preparation, ACTION) if actions else None
        super().__init__(cache, splits, spec, covariates=beside)

    @classmethod
    def preparation(cls, **_: Any) -> Preparation:
        """All sequences under a folder, as they are stored."""
        return Preparation(
            name=cls.name,
            folder="bair-64x64",
            format=FrameFormat(3, _SIDE, _SIDE),
            find=_find,
            read=_read,
            get=_GET,
            homes=("bair", "softmotion30_44k"),
            tags=_Tags,
        )


def _splits(clips: Sequence[Clip]) -> Splits:
    """The clips of each split: those in `test/`, of some files in `train/`, of the others."""
    train = [clip for clip in clips if clip.tags["folder"] == "train"]
    files = sorted({_file(clip) for clip in train}, key=shuffle_key)
    validating = set(files[: share_count(_VALIDATION_SHARE, len(files))])
    return {
        "train": [clip for clip in train if _file(clip) not in validating],
        "validation": [clip for clip in train if _file(clip) in validating],
        "test": [clip for clip in clips if clip.tags["folder"] == "test"],
    }


def _file(clip: Clip) -> str:
    return clip.name.rpartition("#")[0]


def _find(folder: Path) -> Sources:
    """The files in folders `train` and `test` anywhere in `folder`, a clip for each sequence.

    Raises:
        SourceWrong: there are too few.
    """
    paths = sorted(files_under(folder, "*.tfrecords"))
    least = {"train": 2, "test": 1}  # one of two validates
    of = {name: [path for path in paths if path.parent.name == name] for name in least}
    for name, count in least.items():
        if len(of[name]) < count:
            raise SourceWrong(
                f"{folder} holds {len(of[name])} .tfrecords files in a folder {name}, of {count} at"
                f" least: get {_GET}"
            )
    return Sources([_source(name, path) for name, paths in of.items() for path in paths])


def _source(name: str, path: Path) -> Source:
    try:
        ends = range(0, FRAMES * record_count(path) + 1, FRAMES)
    except (Damaged, OSError):  # reported when it is read
        ends = range(0)
    return Source(f"{name}/{path.stem}", (path,), {"folder": name}, tuple(pairwise(ends)))


def _read(source: Source, _: FrameFormat) -> Generator[Image, None, Covariates | None]:
    """The frames of all sequences in a file, one after the other, uint8 [3,64,64].

    Returns the actions, float32 [frames,4], where the first frame has one.
    """
    number, actions = 0, list[Covariates]()
    for number, record in enumerate(records(source.paths[0]), 1):
        features, numbers = bytes_of(record), floats_of(record)
        for frame in range(FRAMES):
            content = features.get(f"{frame}/image_aux1/encoded", b"")
            if len(content) != _SIDE * _SIDE * 3:
                raise Damaged(
                    f"has {len(content):,} bytes as frame {frame} of sequence {number}, not"
                    f" {_SIDE * _SIDE * 3:,}"
                )
            action = numbers.get(f"{frame}/action", np.empty(0, np.float32))
            due = ACTION if (actions[0] if actions else action).size else 0
            if action.size != due:
                raise Damaged(
                    f"has {action.size} numbers as the action of frame {frame} of sequence"
                    f" {number}, not {due}"
                )
            actions.append(action)
            pixels = np.frombuffer(content, np.uint8).reshape(_SIDE, _SIDE, 3)
            yield pixels.transpose(2, 0, 1)
    if not number:
        raise Damaged("holds no sequences")
    return np.stack(actions) if actions[0].size else None
