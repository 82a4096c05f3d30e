"""Moving MNIST behind a curtain: the future follows from what was seen hundreds of frames ago."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from datasets.contract import LONGEST_CLIP, Clips, Dataset, HeldOutName, Spec, whole
from datasets.moving_mnist import MovingMNIST

_LONGEST_DELAY = 2_000


class RecallMovingMNIST(Dataset):
    """The clips of `moving_mnist`, hidden for `delay` black frames between context and future.

    Time stands still behind the curtain: what is to be predicted is the same to the pixel whatever
    the delay, and follows from the seen frames alone. So results with short and long delays are of
    one task, and what a model loses with the delay it has forgotten. No model whose memory ends at
    the curtain can do better than predict the mean of all clips.
    """

    name = "moving_mnist/recall"

    def __init__(self, delay: int = 200, seen_frames: int = 10, horizon: int = 10) -> None:
        """Load the digits.

        Args:
            delay: black frames before those to predict.
            seen_frames: frames given before them; the context is both.
            horizon: frames to predict.

        Raises:
            ValueError: `delay` is no whole number from 0 to 2,000.
        """
        whole("delay", delay, 0, _LONGEST_DELAY)
        whole("seen_frames", seen_frames, 1, LONGEST_CLIP - delay)
        self._delay, self._seen = delay, MovingMNIST(seen_frames, horizon)
        self.notice = self._seen.notice
        self.spec = Spec(self._seen.spec.frame_shape, seen_frames + delay, horizon)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random training clips, uint8 [count,T,1,64,64], on the generator's device."""
        return self._hidden(self._seen.train_clips(count, generator))

    def held_out(self, split: HeldOutName) -> Clips:
        """The 10,000 fixed clips of `split`, hidden as they are read."""
        return _HiddenClips(self._seen.held_out(split), self._hidden)

    def _hidden(self, clips: Tensor) -> Tensor:
        """`clips` [B,T,C,H,W] with the black frames before their future."""
        context, future = clips.tensor_split([self._seen.spec.context_frames], dim=1)
        curtain = clips.new_zeros(len(clips), self._delay, *clips.shape[2:])
        return torch.cat([context, curtain, future], dim=1)


class _HiddenClips:
    def __init__(self, clips: Clips, hidden: Callable[[Tensor], Tensor]) -> None:
        self._clips, self._hidden = clips, hidden

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, window: slice, /) -> Tensor:
        return self._hidden(self._clips[window])
