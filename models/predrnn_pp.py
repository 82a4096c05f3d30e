"""PredRNN++: Causal LSTM layers and a gradient highway between two (Wang et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Recipe, Size, small_recipe
from models.layers.initial_weights import initialised_apart
from models.layers.precision import widened, zero_state
from models.layers.rollout import FrameByFrame
from models.predrnn import FORGET_BIAS, CellState

HIGHWAY_START = 0.001  # weights of the highway are drawn within it, as in OpenSTL


class StackState(NamedTuple):
    """All layers after a step; the zigzag memory [B,width,h,w] is on its way to the bottom."""

    cells: list[CellState]
    memory: Tensor
    highway: Tensor


class CausalLSTMCell(nn.Module):
    """One Causal LSTM layer: that of Wang et al. 2018, with the gates of the authors' code.

    The zigzag memory is updated from the new temporal memory, not beside it, which makes a step
    deeper. What is added to it is a function of x and the temporal memory alone, and the output
    gate reads the hidden state, too.

    The code convolves x, h, both memories, and then both new ones, apart (to 7, 4, 3, 3, 4 and 1
    gates). Here most of what is added up is one convolution: the same weights and products in
    four calls instead of six, and the same initial weights.

    Args:
        inputs: channels of the input.
        width: channels of the hidden state and of both memories.
        kernel: side of the convolutions, odd.
    """

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()

        def convolution(gates: int, *parts: int, kernel: int = kernel) -> nn.Conv2d:
            joint = nn.Conv2d(sum(parts), gates * width, kernel, padding="same", bias=False)
            return initialised_apart(joint, *parts)

        self.temporal = convolution(3, inputs, width, width)
        self.spatial = convolution(3, inputs, width)
        self.from_memory = convolution(3, width)
        self.to_gate = convolution(1, inputs, width, width, width)
        self.memories_to_hidden = nn.Conv2d(2 * width, width, 1, bias=False)

    def forward(self, x: Tensor, state: CellState, memory: Tensor) -> tuple[CellState, Tensor]:
        """New state and zigzag memory for x [B,inputs,h,w]."""
        hidden, cell = state
        i, f, g = self.temporal(torch.cat((x, hidden, cell), 1)).chunk(3, 1)
        cell = (f + FORGET_BIAS).sigmoid() * cell + i.sigmoid() * g.tanh()
        i, f, g = self.spatial(torch.cat((x, cell), 1)).chunk(3, 1)
        i_of_memory, f_of_memory, kept = self.from_memory(memory).chunk(3, 1)
        forget = (f + f_of_memory + FORGET_BIAS).sigmoid()
        memory = forget * widened(kept).tanh() + (i + i_of_memory).sigmoid() * g.tanh()
        gate = self.to_gate(torch.cat((x, hidden, cell, memory), 1)).tanh()
        hidden = gate * self.memories_to_hidden(torch.cat((cell, memory), 1)).tanh()
        return (hidden, cell), memory


class GradientHighway(nn.Module):
    """A gated average over time, a short way back for gradients (Wang et al. 2018)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * width, 2 * width, kernel, padding="same", bias=False)
        nn.init.uniform_(self.gates.weight, -HIGHWAY_START, HIGHWAY_START)

    def forward(self, x: Tensor, highway: Tensor) -> Tensor:
        """New state [B,width,h,w] of the highway for x [B,width,h,w]."""
        p, u = self.gates(torch.cat((x, highway), 1)).chunk(2, 1)
        new: Tensor = highway + u.sigmoid() * (p.tanh() - highway)
        return new


class PredRNNPP(FrameByFrame):
    """Stacked Causal LSTM layers on patches; the second reads the first through the highway.

    As OpenSTL has it, whose figures are the published ones of this size: no biases, no
    normalisation, all layers of one width, the highway starting near zero. OpenSTL counts
    38,584,320 parameters, of which 3,276,800 never take part; they are left out here. Training on
    reversed clips is left out, as in PredRNN. The authors' own model is narrower above the lowest
    layer (128, 64, 64, 64) and has biases and normalised convolutions.
    """

    name = "predrnn_pp"
    paper = Paper(
        "PredRNN++: Towards A Resolution of the Deep-in-Time Dilemma in Spatiotemporal "
        "Predictive Learning",
        2018,
        "https://arxiv.org/abs/1804.06300",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="OpenSTL, Moving MNIST, PredRNN++",
                origin="borrowed",
                learning_rate=1e-4,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": Size(
            small_recipe(1.5e-3, "best of 5 trials on Moving MNIST"),
            {"width": 8, "layers": 2},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (8, 12, 16, 20, 24, 32, 48, 64),
        "layers": (2, 3, 4),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 128,
        layers: int = 4,
        kernel: int = 5,
        patch: int = 4,
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of `patch`.
            width: channels of all states.
            layers: how many Causal LSTM layers there are, 2 at least.
            kernel: side of the convolutions, odd.
            patch: side of the squares that become channels.

        Raises:
            ValueError: where there are no two layers to have the highway between.
        """
        super().__init__(frame_shape, width=width, patch=patch)
        if layers < 2:
            raise ValueError(f"PredRNN++ has 2 layers at least, its highway between, not {layers}")
        self.cells = nn.ModuleList(
            CausalLSTMCell(width if layer else self.patched_shape[0], width, kernel)
            for layer in range(layers)
        )
        self.highway = GradientHighway(width, kernel)

    def step(self, frame: Tensor, state: StackState | None) -> tuple[Tensor, StackState]:
        """Hidden state of the top layer, and the state of the stack."""
        if state is None:
            zeros = zero_state(frame, self.output.in_channels)
            state = StackState([(zeros, zeros)] * len(self.cells), zeros, zeros)
        features, memory, highway, cells = frame, state.memory, state.highway, []
        for layer, (cell, old) in enumerate(zip(self.cells, state.cells, strict=True)):
            if layer == 1:
                features = highway = self.highway(features, highway)
            new, memory = cell(features, old, memory)
            cells.append(new)
            features = new[0]
        return features, StackState(cells, memory, highway)
