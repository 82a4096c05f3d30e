"""What data sets of decoded videos share: a cache, three splits, windows over their clips."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from datasets.contract import (
    DataMissing,
    Dataset,
    HeldOutName,
    LabelledDataset,
    Spec,
    whole,
)
from datasets.video.cache import Cache, Clip
from datasets.video.source import Preparation
from datasets.video.windows import (
    FixedWindows,
    LabelledWindows,
    Order,
    Origin,
    RandomWindows,
    Windows,
    natural,
)

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
HELD_OUT: tuple[HeldOutName, ...] = ("validation", "test")
Splits = Mapping[SplitName, Sequence[Clip]]
Made = TypeVar("Made")


class CachedDataset(Dataset):
    """A data set whose clips are drawn from a cache that `bench data prepare` made.

    Attributes:
        splits: the clips of the cache that train, validate and test.
        frames_digest: names all its frames, those that train among them; "" in caches from before
            there were digests.
    """

    cluster_name: ClassVar[str] = "clip"
    splits: Splits
    frames_digest: str = ""

    @classmethod
    @abstractmethod
    def preparation(cls, **options: Any) -> Preparation:
        """How its cache is made; takes the constructor's options, of which most do not matter."""

    @abstractmethod
    def held_out(self, split: HeldOutName) -> Windows:
        """The fixed windows of `split`."""

    def clusters(self, split: HeldOutName, count: int) -> Tensor:
        """The cluster of each of the first `count` windows of `split`, int64 [count]."""
        numbers: dict[str, int] = {}
        names = map(self.cluster_of, self.held_out(split).origins(count))
        return torch.tensor([numbers.setdefault(name, len(numbers)) for name in names])

    def cluster_of(self, origin: Origin) -> str:
        """What windows share that are not independent of each other: by default their clip."""
        return origin.clip.name

    def _of(self, split: SplitName, make: Callable[[Sequence[Clip]], Made]) -> Made:
        """`make` called with the clips of `split`.

        Raises:
            DataMissing: it raises ValueError.
        """
        try:
            return make(self.splits[split])
        except ValueError as error:
            what = (
                "ask for shorter windows, or prepare more of it"
                if self.splits[split]
                else "take damaged ones and copies out of its source and prepare it anew, or bring"
                " more"
            )
            raise DataMissing(
                f"{self.name} has no {split} clips to offer ({error}): {what}"
            ) from error


class VideoDataset(CachedDataset):
    """Windows of videos, to be continued."""

    def __init__(
        self,
        cache: Cache,
        splits: Splits,
        spec: Spec,
        *,
        frame_step: int = 1,
        held_out_stride: int | None = None,
        order: Order = natural,
        covariates: Tensor | None = None,
    ) -> None:
        """Pose the task `spec` on the clips of each split, every `frame_step`-th frame of them.

        Args:
            cache: where the frames are.
            splits: its clips, disjoint.
            spec: what is asked.
            frame_step: from one frame of a window to its next.
            held_out_stride: between the starts of held-out windows (default: side by side).
            order: in which the frames of a clip are shown.
            covariates: of every frame of the cache, float32 [frames,K], where the spec names some.

        Raises:
            DataMissing: a split has no clip that is long enough.
            ValueError: a step is no whole number from 1 to `LONGEST_CLIP`.
        """
        whole("frame_step", frame_step, 1)
        whole("held_out_stride", held_out_stride or 1, 1)
        self.splits, self.spec, self.frames_digest = splits, spec, cache.digest
        self.frame_step = frame_step

        def random(clips: Sequence[Clip]) -> RandomWindows:
            return RandomWindows(
                cache.frames, clips, spec.clip_frames, frame_step, order, covariates
            )

        def fixed(clips: Sequence[Clip]) -> FixedWindows:
            return FixedWindows(
                *(cache.frames, clips, spec.clip_frames, frame_step),
                *(held_out_stride, order, covariates),
            )

        self._train = self._of("train", random)
        self.epoch_clips = len(self._train)
        self._held_out = {name: self._of(name, fixed) for name in HELD_OUT}

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random windows of the training clips, on the generator's device."""
        return self._train.draw(count, generator)

    def train_clips_with_covariates(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The same windows, and their covariates."""
        return self._train.draw_with_covariates(count, generator)

    def held_out(self, split: HeldOutName) -> Windows:
        """The fixed windows of `split`."""
        return self._held_out[split]


class LabelledVideoDataset(CachedDataset, LabelledDataset):
    """Windows of videos that show one of `spec.classes` each."""

    def __init__(
        self,
        cache: Cache,
        splits: Splits,
        spec: Spec,
        label_of: Callable[[Clip], str],
        *,
        frame_step: int = 1,
        per_video: int = 1,
    ) -> None:
        """Pose the task `spec` on the clips of each split.

        Args:
            cache: where the frames are.
            splits: its clips, disjoint.
            spec: what is asked; a window has `context_frames` frames.
            label_of: the class of a clip, one of `spec.classes`.
            frame_step: from one frame of a window to its next.
            per_video: held-out windows of each clip.

        Raises:
            DataMissing: a split has no clips.
            ValueError: a number is no whole number from 1 to `LONGEST_CLIP`.
        """
        whole("frame_step", frame_step, 1)
        whole("per_video", per_video, 1)
        self.splits, self.spec, self.frames_digest = splits, spec, cache.digest
        self.frame_step = frame_step

        def windows(clips: Sequence[Clip]) -> LabelledWindows:
            labels = [spec.classes.index(label_of(clip)) for clip in clips]
            frames, length = cache.frames, spec.clip_frames
            return LabelledWindows(frames, clips, labels, length, frame_step, per_video)

        self._windows = {name: self._of(name, windows) for name in SPLITS}
        self.epoch_clips = len(splits["train"])  # a window of each

    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` windows at random offsets of random training clips, and their classes."""
        return self._windows["train"].draw(count, generator)

    def held_out(self, split: HeldOutName) -> LabelledWindows:
        """The fixed windows of `split`, evenly spread over each clip."""
        return self._windows[split]
