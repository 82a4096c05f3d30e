"""Moving MNIST with time turned round in the context and, apart from it, in the future."""

from __future__ import annotations

import torch
from torch import Tensor

from datasets.contract import Clips, HeldOutName
from datasets.moving_mnist import MovingMNIST


class TimeReversedMovingMNIST(MovingMNIST):
    """The clips of `moving_mnist` as a published loader gives them, kept to show what that does.

    github.com/tychovdo/MovingMNIST puts each frame before those it has read already, in the input
    and in the target by themselves: of frames 0..9 | 10..19 a model sees 9..0 and is asked for
    19..10. So the frame next to what it knows comes last, and the farthest first. The pictures of
    the study github.com/J-Yash/convlstm-vs-sith show that it compared its models on such clips.
    """

    name = "moving_mnist/time_reversed"

    def __init__(self, context_frames: int = 10, horizon: int = 10) -> None:
        super().__init__(context_frames, horizon)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random training clips, uint8 [count,T,1,64,64], on the generator's device."""
        return reversed_apart(super().train_clips(count, generator), self.spec.context_frames)

    def held_out(self, split: HeldOutName) -> Clips:
        """The 10,000 fixed clips of `split`, turned round as they are read."""
        return _ReversedClips(super().held_out(split), self.spec.context_frames)


def reversed_apart(clips: Tensor, context_frames: int) -> Tensor:
    """Clips [B,T,...] whose context and whose future run backwards, the context still first."""
    context, future = clips[:, :context_frames], clips[:, context_frames:]
    return torch.cat([context.flip(1), future.flip(1)], dim=1)


class _ReversedClips:
    def __init__(self, clips: Clips, context_frames: int) -> None:
        self._clips, self._context_frames = clips, context_frames

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, window: slice, /) -> Tensor:
        return reversed_apart(self._clips[window], self._context_frames)
