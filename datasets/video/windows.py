"""Windows over the clips of a cache: random ones to train on, fixed ones held out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from datasets.contract import Clips
from datasets.video.cache import Clip

Order = Callable[[int], Sequence[int]]
"""The order in which so many frames of a clip are shown: their positions."""


def natural(frames: int) -> Sequence[int]:
    """First to last."""
    return range(frames)


class FrameStore(Protocol):
    """Numbered frames, such as those of a cache."""

    def gather(self, indices: Tensor) -> Tensor:
        """The frames at int64 `indices` [...]: [...,C,H,W], a copy."""


class Origin(NamedTuple):
    """Where a window is from: its clip, and which frame of the clip it begins with."""

    clip: Clip
    first: int


class Windows(Clips, Protocol):
    """Fixed windows that know where they are from."""

    def origins(self, count: int) -> list[Origin]:
        """Where each of the first `count` windows is from."""


class _Table:
    """The frames of `clips` in the order in which they are shown, and the windows in them."""

    def __init__(
        self,
        frames: FrameStore,
        clips: Sequence[Clip],
        window_frames: int,
        frame_step: int,
        order: Order,
        covariates: Tensor | None,
    ) -> None:
        """Raises ValueError where no clip is as long as a window, or there are none."""
        if not clips:
            raise ValueError("there are none")
        span = (window_frames - 1) * frame_step + 1
        self.clips = [clip for clip in clips if clip.frames >= span]
        if not self.clips:
            longest = f"the longest of {len(clips)} has {max(clip.frames for clip in clips)}"
            raise ValueError(f"no clip is {span} frames long, which a window spans: {longest}")
        self._frames, self._covariates = frames, covariates
        self._offsets = torch.arange(window_frames) * frame_step
        shown = [torch.tensor(order(c.frames), dtype=torch.int32) + c.first for c in self.clips]
        self._shown = torch.cat(shown)
        lengths = torch.tensor([clip.frames for clip in self.clips])
        self.windows = lengths - span + 1  # in each clip
        self.starts = lengths.cumsum(0) - lengths  # of each clip in `_shown`

    def windows_at(self, places: Tensor) -> Tensor:
        """The windows that start at `places` [N] of the shown frames [N,T,C,H,W]."""
        return self._frames.gather(self._frames_at(places))

    def covariates_at(self, places: Tensor) -> Tensor:
        """The covariates [N,T,K] of those windows.

        Raises:
            ValueError: there are none.
        """
        if self._covariates is None:
            raise ValueError("these windows have no covariates")
        return self._covariates[self._frames_at(places)]

    def _frames_at(self, places: Tensor) -> Tensor:
        """The numbers of the frames of those windows, int64 [N,T]."""
        return self._shown[places[:, None] + self._offsets].long()


class RandomWindows:
    """Every window of `window_frames` frames that `clips` hold, each as likely as any other.

    With `frame_step` n a window takes every n-th frame. No window crosses the end of its clip.
    """

    def __init__(
        self,
        frames: FrameStore,
        clips: Sequence[Clip],
        window_frames: int,
        frame_step: int = 1,
        order: Order = natural,
        covariates: Tensor | None = None,
    ) -> None:
        """List the windows.

        Args:
            frames: of all clips.
            clips: runs of these frames.
            window_frames: frames in a window.
            frame_step: from one frame of a window to its next.
            order: in which the frames of a clip are shown.
            covariates: of every numbered frame, float32 [frames,K], where there are any.

        Raises:
            ValueError: no clip is as long as a window.
        """
        self._table = _Table(frames, clips, window_frames, frame_step, order, covariates)
        self._ends = self._table.windows.cumsum(0)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` windows [count,T,C,H,W], on the generator's device."""
        return to_device(self._table.windows_at(self._drawn(count, generator)), generator.device)

    def draw_with_covariates(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same windows, and their covariates float32 [count,T,K]."""
        places, table = self._drawn(count, generator), self._table
        both = table.windows_at(places), table.covariates_at(places)
        clips, covariates = (to_device(each, generator.device) for each in both)
        return clips, covariates

    def _drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """The places of `count` windows, int64 [count] on the CPU."""
        device = generator.device
        chosen = torch.randint(len(self), (count,), generator=generator, device=device).cpu()
        clip = torch.searchsorted(self._ends, chosen, right=True)
        within = chosen - (self._ends - self._table.windows)[clip]
        return self._table.starts[clip] + within


class FixedWindows:
    """Windows of `clips`, side by side in each clip, or one every `stride` frames.

    They are shuffled by a hash of the clips' names: the first hundred are not all of one video. A
    slice is [N,T,C,H,W].
    """

    def __init__(
        self,
        frames: FrameStore,
        clips: Sequence[Clip],
        window_frames: int,
        frame_step: int = 1,
        stride: int | None = None,
        order: Order = natural,
        covariates: Tensor | None = None,
    ) -> None:
        """List the windows.

        Args:
            frames: of all clips.
            clips: runs of these frames.
            window_frames: frames in a window.
            frame_step: from one frame of a window to its next.
            stride: between the starts of windows (default: side by side).
            order: in which the frames of a clip are shown.
            covariates: of every numbered frame, float32 [frames,K], where there are any.

        Raises:
            ValueError: no clip is as long as a window.
        """
        self._table = table = _Table(frames, clips, window_frames, frame_step, order, covariates)
        every = stride or window_frames * frame_step
        names, places, numbers = [], [], []
        for number, (clip, windows) in enumerate(zip(table.clips, table.windows, strict=True)):
            for first in range(0, int(windows), every):
                names.append(f"{clip.name} {first}")
                places.append(int(table.starts[number]) + first)
                numbers.append(number)
        shuffled = _shuffled(names)
        self._places = torch.tensor(places)[shuffled]
        self._clips = torch.tensor(numbers)[shuffled]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, window: slice, /) -> Tensor:
        return self._table.windows_at(self._places[window])

    def covariates(self, window: slice, /) -> Tensor:
        """Those of the windows of a slice, float32 [N,T,K]."""
        return self._table.covariates_at(self._places[window])

    def origins(self, count: int) -> list[Origin]:
        """Where each of the first `count` windows is from."""
        clips = self._clips[:count]
        firsts = self._places[:count] - self._table.starts[clips]
        pairs = zip(clips.tolist(), firsts.tolist(), strict=True)
        return [Origin(self._table.clips[clip], first) for clip, first in pairs]


class LabelledWindows:
    """One window of each clip, and the clip's label: from a random offset, or from its middle.

    Each clip is as likely as any other. One that is shorter than a window repeats its last frame.
    As many as `per_clip` fixed windows lie evenly spread, the middle of all at the clip's middle.
    """

    def __init__(
        self,
        frames: FrameStore,
        clips: Sequence[Clip],
        labels: Sequence[int],
        window_frames: int,
        frame_step: int = 1,
        per_clip: int = 1,
    ) -> None:
        """List the windows.

        Args:
            frames: of all clips.
            clips: runs of these frames.
            labels: the number of each clip's class.
            window_frames: frames in a window.
            frame_step: from one frame of a window to its next.
            per_clip: fixed windows of each clip.

        Raises:
            ValueError: there are no clips.
        """
        if not clips:
            raise ValueError("there are none")
        self._frames, self._clips = frames, clips
        self._offsets = torch.arange(window_frames) * frame_step
        self._firsts = torch.tensor([clip.first for clip in clips])
        self._lengths = torch.tensor([clip.frames for clip in clips])
        self._labels = torch.tensor(labels)
        span = (window_frames - 1) * frame_step + 1
        self._spare = (self._lengths - span).clamp(min=0)
        order = _shuffled([clip.name for clip in clips]).repeat_interleave(per_clip)
        share = (torch.arange(len(order)) % per_clip + 1) / (per_clip + 1)
        self.videos = order
        self._starts = (self._spare[order] * share).long()

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def labels(self) -> Tensor:
        """The class of each fixed window, int64 [N]."""
        return self._labels[self.videos]

    def __getitem__(self, window: slice, /) -> Tensor:
        return self._gather(self.videos[window], self._starts[window])

    def origins(self, count: int) -> list[Origin]:
        """Where each of the first `count` windows is from."""
        pairs = zip(self.videos[:count].tolist(), self._starts[:count].tolist(), strict=True)
        return [Origin(self._clips[video], start) for video, start in pairs]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` windows and their labels, on the generator's device."""
        device = generator.device
        clip = torch.randint(len(self._firsts), (count,), generator=generator, device=device)
        offset = torch.rand(count, generator=generator, device=device).cpu()
        clip = clip.cpu()
        start = (offset * (self._spare[clip] + 1)).long()
        return to_device(self._gather(clip, start), device), self._labels[clip].to(device)

    def _gather(self, clip: Tensor, start: Tensor) -> Tensor:
        within = start[:, None] + self._offsets
        last = (self._lengths[clip] - 1)[:, None]
        return self._frames.gather(self._firsts[clip][:, None] + within.minimum(last))


def shuffle_key(name: str) -> bytes:
    """A sort key that puts names in an order which looks random and is always the same."""
    return hashlib.sha256(name.encode()).digest()


def _shuffled(names: Sequence[str]) -> Tensor:
    """The positions of `names` in the order of their `shuffle_key`, int64 [N]."""
    keys = [shuffle_key(name) for name in names]
    return torch.tensor(sorted(range(len(names)), key=keys.__getitem__))


def to_device(clips: Tensor, device: torch.device) -> Tensor:
    """`clips` on `device`; through pinned memory, without waiting, where that is a GPU."""
    if device.type != "cuda":
        return clips.to(device)
    return clips.pin_memory().to(device, non_blocking=True)
