"""Convolutional recurrent cells that are given all their inputs at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What a cell remembers, each [B,width,h,w]; the hidden state, which it puts out, comes first."""


def over_frames(layer: Callable[[Tensor], Tensor], frames: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """`layer` of each of `frames` [B,C,h,w], in one call for all."""
    return layer(torch.cat(tuple(frames))).chunk(len(frames))


class SequenceCell(nn.Module, ABC):
    """A cell whose gates see W_x * x + b, its drive, which is made ahead, and W_h * h.

    The published cells convolve [x, h] step by step: the same weights, and the same sums.

    Args:
        inputs: channels of the input; 0 for a cell without, whose drive is b alone.
        width: channels of the hidden state.
        drives: channels of the drive, those of all gates together.
        kernel: side of the convolutions, odd.
        before: the layer that frames pass on their way in; None for none.
    """

    def __init__(
        self, inputs: int, width: int, drives: int, kernel: int, before: nn.Module | None
    ) -> None:
        super().__init__()
        if inputs:
            conv = joint_half(inputs, drives, kernel, inputs + width, bias=True)
            self.read = nn.Sequential(conv) if before is None else nn.Sequential(before, conv)
        else:
            self.bias = nn.Parameter(torch.zeros(drives, 1, 1))

    @abstractmethod
    def step(self, drive: Tensor, state: State | None) -> State:
        """New state for a drive [B,drives,h,w] and a state, None standing for all zeros.

        The drive of a cell without inputs is [drives,1,1]; it is always given a state.
        """

    def forward(
        self, frames: Sequence[Tensor] | int, state: State | None
    ) -> tuple[list[Tensor], State]:
        """Hidden states [B,width,h,w] of all steps, and the last state.

        `frames` are the inputs [B,inputs,h,w], or for a cell without, how many steps to take.
        """
        states: list[State] = []
        for drive in self.drives(frames):
            state = self.step(drive, state)
            states.append(state)
        return [hidden for hidden, *_ in states], states[-1]

    def drives(self, frames: Sequence[Tensor] | int) -> Sequence[Tensor]:
        """The drive of each step."""
        if isinstance(frames, int):
            # A copy: PyTorch's FLOP counter fails on slices of a parameter.
            return [self.bias.clone()] * frames
        return over_frames(self.read, frames)


class Driven(nn.Module):
    """Group norm of drive + W_h * h, h = None standing for all zeros.

    Args:
        width: channels of h.
        outputs: channels of the drive.
        kernel: side of the convolution, odd.
        joint: channels of the input and h together.
        group: channels that are normalised together; None for no norm.
    """

    def __init__(
        self, width: int, outputs: int, kernel: int, joint: int, group: int | None
    ) -> None:
        super().__init__()
        self.of_state = joint_half(width, outputs, kernel, joint, bias=False)
        self.norm = nn.GroupNorm(outputs // group, outputs) if group else nn.Identity()

    def forward(self, drive: Tensor, hidden: Tensor | None) -> Tensor:
        """Gates [B,outputs,h,w] for hidden [B,width,h,w] and a drive that broadcasts to them."""
        gates: Tensor = self.norm(drive if hidden is None else self.of_state(hidden).add_(drive))
        return gates


def joint_half(inputs: int, outputs: int, kernel: int, joint: int, *, bias: bool) -> nn.Conv2d:
    """A convolution of some of `joint` channels, initialised as one of them all would be."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding="same", bias=bias)
    bound = (joint * kernel**2) ** -0.5
    for parameter in conv.parameters():
        nn.init.uniform_(parameter, -bound, bound)
    return conv
