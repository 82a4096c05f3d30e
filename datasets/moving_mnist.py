"""Moving MNIST: two handwritten digits that drift over a 64x64 canvas and bounce off its edges."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets.contract import Clips, DataMissing, Dataset, HeldOutName, Spec, whole
from datasets.sources import digits
from datasets.sources.download import download
from datasets.sources.folders import find
from datasets.sources.regular import open_regular
from datasets.sources.train_share import share_count

CANVAS, DIGIT = 64, 28
DIGITS_PER_CLIP = 2
STEP = 0.1
"""How far a digit moves between frames; 1 is the whole way across, CANVAS - DIGIT pixels."""

Blend = Callable[[Tensor, Tensor], Tensor]
"""What is seen where digits overlap: takes what is below and what is drawn above; 0 is no ink."""

_HELD_OUT_CLIPS = 10_000
_LONGEST_CONTEXT = 2_000
_SEEDS: dict[HeldOutName, int] = {"validation": 1, "test": 2}
_TRAIN_SEED = 3  # draws a share of the training digits


class MovingMNIST(Dataset):
    """Two digits, drawn afresh for training and fixed for validation and test.

    Srivastava, Mansimov & Salakhutdinov, "Unsupervised Learning of Video Representations using
    LSTMs", ICML 2015; motion as in github.com/emansim/unsupervised-videos (data_handler.py).
    Validation and test have 10,000 clips each, of digits that training never shows; a longer
    horizon continues the same clips.
    """

    name = "moving_mnist"
    epoch_clips: int | None = 10_000
    """As those who train on it count, such as OpenSTL, whose loader draws so many an epoch."""

    def __init__(
        self, context_frames: int = 10, horizon: int = 10, *, train_share: float = 1.0
    ) -> None:
        """Load the digits.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            train_share: how much of the training digits is used; a smaller share is part of a
                larger one, and validation and test stay as they are.

        Raises:
            ValueError: `train_share` is not above 0 and at most 1.
        """
        self.spec = Spec((1, CANVAS, CANVAS), context_frames, horizon)
        share_count(train_share, 1)  # refused before the digits are read, which takes seconds
        pools = self._load()
        self.notice = pools.notice
        self._train_digits = {torch.device("cpu"): torch.tensor(share_of(pools.train, train_share))}
        self._held_out_digits: dict[HeldOutName, Tensor] = {
            "validation": torch.tensor(pools.validation),
            "test": torch.tensor(pools.test),
        }

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random training clips, uint8 [count,T,1,64,64], on the generator's device."""
        images, start, angle = self._train_motion(count, generator)
        return render(images, trajectories(start, angle, self.spec.clip_frames))

    def held_out(self, split: HeldOutName) -> Clips:
        """The 10,000 fixed clips of `split`, rendered as they are read."""
        return self._rendered(split, first_frame=0)

    def _load(self) -> digits.Pools:
        """The images that move."""
        return digits.load()

    def _train_motion(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Random images, starts and angles of `count` clips, as `trajectories` takes them."""
        device, shape = generator.device, (count, DIGITS_PER_CLIP)
        images = self._train_images(shape, generator)
        start = torch.rand(*shape, 2, generator=generator, device=device)
        angle = torch.rand(shape, generator=generator, device=device) * math.tau
        return images, start, angle

    def _train_images(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Random images of the training pool, `shape` of them, on the generator's device."""
        pool = self._train_pool(generator.device)
        return pool[torch.randint(len(pool), shape, generator=generator, device=pool.device)]

    def _train_pool(self, device: torch.device) -> Tensor:
        """The images to train on, on that device, where they stay."""
        if device not in self._train_digits:
            self._train_digits[device] = self._train_digits[torch.device("cpu")].to(device)
        return self._train_digits[device]

    def _rendered(self, split: HeldOutName, first_frame: int) -> Clips:
        """The clips of `split`, from `first_frame` of the motion on."""
        uniform = held_out_draws(split, 4)
        start, angle = uniform[..., 1:3], uniform[..., 3] * math.tau
        frames = range(first_frame, first_frame + self.spec.clip_frames)

        def show(images: Tensor, window: slice) -> Tensor:
            corners = trajectories(start[window], angle[window], frames.stop)
            return render(images, corners[:, :, frames.start :])

        return RenderedClips(self._held_out_digits[split], uniform[..., 0], show)


class LongMovingMNIST(MovingMNIST):
    """Moving MNIST with up to 2,000 context frames, for models that remember.

    Held-out clips end in the same frames however many come before them, so that results with short
    and long contexts are of one task. Frames are made as they are read.
    """

    name = "moving_mnist/long"

    def __init__(self, context_frames: int = 1000, horizon: int = 10) -> None:
        """Raises ValueError where `context_frames` is more than 2,000."""
        whole("context_frames", context_frames, 1, _LONGEST_CONTEXT)
        super().__init__(context_frames, horizon)

    def held_out(self, split: HeldOutName) -> Clips:
        """The 10,000 fixed clips of `split`; frame 2,000 of their motion is the first predicted."""
        return self._rendered(split, first_frame=_LONGEST_CONTEXT - self.spec.context_frames)


class OfficialMovingMNIST(MovingMNIST):
    """Moving MNIST tested on the 10,000 clips its authors published, `mnist_test_seq.npy`."""

    name = "moving_mnist/official"

    def __init__(self, context_frames: int = 10, horizon: int = 10) -> None:
        """Find the official file or download it.

        Raises:
            DataMissing: neither works, or the file is another.
            ValueError: where the clips asked for are longer than its 20 frames.
        """
        spec = Spec((1, CANVAS, CANVAS), context_frames, horizon)
        self._test_clips = _PublishedClips(_official_file(), spec.clip_frames)
        super().__init__(context_frames, horizon)

    def held_out(self, split: HeldOutName) -> Clips:
        """The published clips for "test"; those of `moving_mnist` for "validation"."""
        return self._test_clips if split == "test" else super().held_out(split)


def share_of(images: digits.Images, share: float) -> digits.Images:
    """That share of `images`, at least one of them; always the same ones.

    Raises:
        ValueError: `share` is not above 0 and at most 1.
    """
    count = share_count(share, len(images))
    if share == 1:
        return images
    ranks = np.random.PCG64(_TRAIN_SEED).random_raw(len(images))
    return images[np.argsort(ranks, kind="stable")[:count]]


def held_out_draws(split: HeldOutName, numbers: int) -> Tensor:
    """What fixes the clips of `split`: uniform `numbers` in [0,1) for each digit, float64 [N,D,k].

    Raw PCG64 output is the same for ever and everywhere; numpy's distributions may change.
    """
    shape = (_HELD_OUT_CLIPS, DIGITS_PER_CLIP, numbers)
    raw = np.random.PCG64(_SEEDS[split]).random_raw(math.prod(shape))
    return torch.from_numpy((raw >> 11) * 2.0**-53).view(shape)


def trajectories(start: Tensor, angle: Tensor, frames: int, jitter: Tensor | None = None) -> Tensor:
    """Top-left pixels (y, x) of digits, int64 [B,D,frames,2], in 0..36.

    The first frame is recorded after a step. A digit that would leave the unit square stops at
    its edge and turns round.

    Args:
        start: positions (y, x) in the unit square [B,D,2].
        angle: directions in radians [B,D].
        frames: how many to record.
        jitter: what is added to each of the first n steps [B,D,n,2]; none by default.
    """
    position = start
    velocity = STEP * torch.stack((angle.sin(), angle.cos()), dim=-1)
    visited = []
    for frame in range(frames):
        step = velocity
        if jitter is not None and frame < jitter.shape[2]:
            step = velocity + jitter[:, :, frame]
        position = (position + step).clamp_(0, 1)
        between = position.frac() != 0  # neither 0 nor 1: one comparison instead of two
        velocity = torch.where(between, velocity, -velocity)
        visited.append(position)
    return (torch.stack(visited, dim=2) * (CANVAS - DIGIT)).long()


def render(images: Tensor, corners: Tensor, blend: Blend = torch.maximum) -> Tensor:
    """Clips, uint8 [B,T,1,64,64], of digits uint8 [B,D,h,w] with top-left pixels [B,D,T,2].

    Where digits overlap `blend` says what is seen: by default the brighter pixel wins.
    """
    clips, _, frames, _ = corners.shape
    strips, origins = _strips(images)
    shifts = corners[..., 0] * CANVAS + corners[..., 1]
    starts = origins[..., None] - shifts
    layers = (strips.index_select(0, one.flatten()) for one in starts.unbind(1))
    return reduce(blend, layers).view(clips, frames, 1, CANVAS, CANVAS)


def _strips(images: Tensor) -> tuple[Tensor, Tensor]:
    """Frames [N,64*64] that overlap in memory, and which show `images` [B,D,h,w] top left [B,D].

    A digit is moved by k pixels, row after row, in the frame that begins k pixels earlier: black
    lies before each. So a frame is one run of memory, copied at once.
    """
    *shape, height, width = images.shape
    count, black = math.prod(shape), (CANVAS - height) * CANVAS + CANVAS - width
    # One more than there are images, so that of none there are frames too.
    pixels = images.new_zeros(count + 1, black + CANVAS * CANVAS)
    canvases = pixels[:count, black:].view(*shape, CANVAS, CANVAS)
    canvases[..., :height, :width] = images
    strips = pixels.flatten().unfold(0, CANVAS * CANVAS, 1)
    origins = black + pixels.shape[1] * torch.arange(count, device=images.device)
    return strips, origins.view(shape)


class RenderedClips:
    """Clips kept as numbers and made as they are read.

    `show` makes the clips of a slice from their digits; `chosen` in [0,1) [N,D] is where these are
    in `pool`.
    """

    def __init__(
        self, pool: Tensor, chosen: Tensor, show: Callable[[Tensor, slice], Tensor]
    ) -> None:
        self._pool, self._chosen, self._show = pool, (chosen * len(pool)).long(), show

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, window: slice, /) -> Tensor:
        return self._show(self._pool[self._chosen[window]], window)


class _PublishedClips:
    """The first `frames` frames of the clips of a file uint8 [20,N,64,64], which stays on disk."""

    def __init__(self, path: Path, frames: int) -> None:
        try:
            open_regular(path).close()
            self._file = np.lib.format.open_memmap(path, mode="r")
            steps, _, *frame_shape = self._file.shape
        except (OSError, ValueError, EOFError):  # no file, no array, or cut short
            steps, frame_shape = 0, []
        if (steps, *frame_shape) != (20, CANVAS, CANVAS) or self._file.dtype != np.uint8:
            raise DataMissing(f"{path} is not uint8 (20,N,64,64): replace it by the official file")
        if frames > steps:
            raise ValueError(f"the official test clips have 20 frames, {frames} were asked for")
        self._frames = frames

    def __len__(self) -> int:
        return int(self._file.shape[1])

    def __getitem__(self, window: slice, /) -> Tensor:
        clips = self._file[: self._frames, window].swapaxes(0, 1)[:, :, None]
        return torch.from_numpy(np.array(clips, order="C"))


def _official_file() -> Path:
    """The path of the official test file, downloaded if need be."""
    names = [f"{folder}mnist_test_seq.npy" for folder in ("", "moving_mnist/", "MovingMNIST/")]
    if find(*names) is None:
        sys.stderr.write(f"looking for {names[0]}, 820 MB: a download takes minutes\n")
        download("MovingMNIST", names[1])
    path = find(*names)
    if path is None:
        raise DataMissing(
            "moving_mnist/official needs mnist_test_seq.npy (820 MB, from"
            " www.cs.toronto.edu/~nitish/unsupervised_video), which could not be downloaded: put it"
            " into moving_mnist/ of the data folder ($NEXTFRAME_DATA, else ./data)"
        )
    return path
