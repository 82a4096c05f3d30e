"""E3D-LSTM: LSTM layers on pairs of frames that recall all their past (Wang et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Recipe, Size, small_recipe
from models.layers.initial_weights import initialised_apart
from models.layers.precision import narrowed, widened, zero_state
from models.layers.rollout import FrameByFrame
from models.predrnn import FORGET_BIAS

WINDOW = 2  # frames that a layer sees at once: the last, and the one before it


class EideticState(NamedTuple):
    """One layer after a step: two maps [B,width,2,h,w], and all cell states there have been."""

    hidden: Tensor
    cell: Tensor
    past: Tensor
    """[B,1,positions,width], the zeros before the first frame included; as products read it."""


class StackState(NamedTuple):
    """All layers after a step; the zigzag memory [B,width,2,h,w] is on its way to the bottom."""

    frame: Tensor
    layers: list[EideticState]
    memory: Tensor


class WindowConvolution(nn.Conv3d):
    """A convolution over both frames of a window, and over the later one with zeros after it."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        side = kernel // 2
        super().__init__(inputs, outputs, (WINDOW, kernel, kernel), padding=(0, side, side))

    def forward(self, x: Tensor) -> Tensor:
        """The map [B,outputs,2,h,w] of x [B,inputs,2,h,w]."""
        return super().forward(F.pad(x, (0, 0, 0, 0, 0, WINDOW - 1)))


class NormalisedConvolution(nn.Module):
    """A window convolution, normalised over all it gives for a clip, with a gain for a channel."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.convolution = WindowConvolution(inputs, outputs, kernel)
        self.norm = nn.GroupNorm(1, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The map [B,outputs,2,h,w] of x [B,inputs,2,h,w], in float32 at least."""
        y: Tensor = self.norm(widened(self.convolution(x)))
        return y


class EideticLSTMCell(nn.Module):
    """One Eidetic 3D LSTM layer: that of Wang et al. 2019, with the gates of the authors' code.

    In place of a forget gate, every position of the window attends to all positions of all cell
    states there have been, and what it recalls is added to the last one. As in the code the scores
    are not scaled, and the output gate is the sigmoid of a tanh.

    Args:
        inputs: channels of the input.
        width: channels of the hidden state and of both memories.
        kernel: side of the convolutions, odd.
    """

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()
        self.from_input = NormalisedConvolution(inputs, 7 * width, kernel)
        self.from_hidden = NormalisedConvolution(width, 4 * width, kernel)
        self.from_memory = NormalisedConvolution(width, 4 * width, kernel)
        self.norm = nn.GroupNorm(1, width)
        self.memories_to_gate = initialised_apart(
            WindowConvolution(2 * width, width, kernel), width, width
        )
        self.memories_to_hidden = nn.Conv3d(2 * width, width, 1)

    def forward(
        self, x: Tensor, state: EideticState, memory: Tensor
    ) -> tuple[EideticState, Tensor]:
        """New state and zigzag memory for x [B,inputs,2,h,w]."""
        i_of_x, g_of_x, r_of_x, o_of_x, i_to_m, g_to_m, f_to_m = self.from_input(x).chunk(7, 1)
        i, g, r, o = self.from_hidden(state.hidden).chunk(4, 1)
        recalled = recall((r_of_x + r).sigmoid(), state.past)
        cell = self.norm(state.cell + recalled) + (i_of_x + i).sigmoid() * (g_of_x + g).tanh()

        i, f, g, kept = self.from_memory(memory).chunk(4, 1)
        increment = (i_to_m + i).sigmoid() * (g_to_m + g).tanh()
        memory = (f_to_m + f + FORGET_BIAS).sigmoid() * kept.tanh() + increment

        memories = torch.cat((cell, memory), 1)
        gate = (o_of_x + o + self.memories_to_gate(memories)).tanh().sigmoid()
        hidden = gate * self.memories_to_hidden(memories).tanh()
        past = torch.cat((state.past, positions(cell)), 2)
        return EideticState(hidden, cell, past), memory


def recall(query: Tensor, past: Tensor) -> Tensor:
    """What each position of `query` [B,width,2,h,w] recalls of `past` [B,1,positions,width]."""
    recalled = F.scaled_dot_product_attention(positions(query), past, past, scale=1.0)
    return recalled[:, 0].transpose(1, 2).reshape(query.shape)


def positions(maps: Tensor) -> Tensor:
    """The positions [B,1,2*h*w,width] of maps [B,width,2,h,w], one after the other in memory.

    Fused attention needs the channels of a position side by side.
    """
    return narrowed(maps).flatten(2).transpose(1, 2)[:, None].contiguous()


class E3DLSTM(FrameByFrame):
    """Stacked Eidetic 3D LSTM layers on patches of the last two frames, zeros before the first.

    What differs from the authors' code: there a layer hands on the zigzag memory that it was given
    instead of the new one, so that it is zero for ever; here it goes up, as in the paper. Two
    convolutions whose results are added are one, with one bias, the sum of both. Normalisation
    adds 1e-5 to variances, not 1e-12. Weights start as PyTorch's do. A running mean of the
    weights, which the authors keep but do not test, is left out.

    OpenSTL's model of that name, with 51,347,456 parameters, is another: it takes channels for
    positions where it attends, stacks the past along channels, and repeats one frame of a window
    for the other.

    Time and memory of a step grow with the frames before it: each is attended to.
    """

    name = "e3d_lstm"
    paper = Paper(
        "Eidetic 3D LSTM: A Model for Video Prediction and Beyond",
        2019,
        "https://openreview.net/forum?id=B1lKS2AqtX",
    )
    sampling_ends_at = 50 / 80
    """50,000 of the 80,000 steps of the authors' script for Moving MNIST."""
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="e3d_lstm, Moving MNIST",
                origin="authors",
                learning_rate=1e-3,
                batch_size=4,
                betas=(0.95, 0.9995),
            )
        ),
        "small": Size(
            small_recipe(1.5e-2, "best of 5 trials on Moving MNIST", batch_size=2),
            {"width": 14, "layers": 1, "patch": 8},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (8, 12, 14, 16, 24, 32, 48, 64),
        "layers": (1, 2, 3, 4),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 64,
        layers: int = 4,
        kernel: int = 5,
        patch: int = 4,
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of `patch`.
            width: channels of all states, of each frame of the window.
            layers: how many layers there are.
            kernel: side of the convolutions in space, odd.
            patch: side of the squares that become channels.
        """
        super().__init__(frame_shape, width=WINDOW * width, patch=patch, bias=True)
        self.width = width
        self.cells = nn.ModuleList(
            EideticLSTMCell(width if layer else self.patched_shape[0], width, kernel)
            for layer in range(layers)
        )

    def step(self, frame: Tensor, state: StackState | None) -> tuple[Tensor, StackState]:
        """Hidden state of the top layer, the window's frames as channels; the stack's state."""
        before = torch.zeros_like(frame) if state is None else state.frame
        features = torch.stack((before, frame), 2)
        if state is None:
            zeros = zero_state(features, self.width)
            start = EideticState(zeros, zeros, positions(zeros))
            state = StackState(before, [start] * len(self.cells), zeros)
        memory, layers = state.memory, []
        for cell, old in zip(self.cells, state.layers, strict=True):
            new, memory = cell(features, old, memory)
            layers.append(new)
            features = new.hidden
        return features.flatten(1, 2), StackState(frame, layers, memory)

    def error(self, predictions: Tensor, truth: Tensor) -> Tensor:
        """L1 + MSE / 2: in this proportion the authors sum absolute errors and half the squares."""
        return F.l1_loss(predictions, truth) + F.mse_loss(predictions, truth) / 2
