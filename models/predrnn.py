"""PredRNN: ConvLSTM layers joined by a memory that zigzags through them (Wang et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Recipe, Size, small_recipe
from models.layers.initial_weights import initialised_apart
from models.layers.precision import zero_state
from models.layers.rollout import FrameByFrame

FORGET_BIAS = 1.0  # added to both forget gates, as the authors' code does

CellState = tuple[Tensor, Tensor]
"""Hidden state and temporal memory of one layer, each [B,width,h,w]."""

Increments = tuple[Tensor, Tensor]
"""What one layer adds to its temporal and to the zigzag memory, each [B,width,h,w]."""


class StackState(NamedTuple):
    """All layers after a step; the zigzag memory [B,width,h,w] is on its way to the bottom."""

    cells: list[CellState]
    memory: Tensor
    increments: list[Increments]


class STLSTM(nn.Module):
    """The update of a spatiotemporal LSTM layer, whatever its gates are made of."""

    memories_to_gate: nn.Conv2d
    memories_to_hidden: nn.Conv2d

    def updated(
        self, temporal: Tensor, spatial: Tensor, cell: Tensor, memory: Tensor
    ) -> tuple[CellState, Tensor, Increments]:
        """New state, zigzag memory and increments of the two memories, by the gates of both.

        Args:
            temporal: of the cell, before their nonlinearities, [B,4*width,h,w].
            spatial: of the zigzag memory, [B,3*width,h,w].
            cell: the temporal memory.
            memory: the zigzag memory.
        """
        i, f, g, o = temporal.chunk(4, 1)
        cell_increment = i.sigmoid() * g.tanh()
        cell = (f + FORGET_BIAS).sigmoid() * cell + cell_increment
        i, f, g = spatial.chunk(3, 1)
        memory_increment = i.sigmoid() * g.tanh()
        memory = (f + FORGET_BIAS).sigmoid() * memory + memory_increment
        memories = torch.cat((cell, memory), 1)
        gate = (o + self.memories_to_gate(memories)).sigmoid()
        hidden = gate * self.memories_to_hidden(memories).tanh()
        return (hidden, cell), memory, (cell_increment, memory_increment)


class STLSTMCell(STLSTM):
    """One spatiotemporal LSTM layer: the ST-LSTM equations of Wang et al. 2017, section 3.2.

    The x, h and m convolutions of the authors' code (to 7, 4 and 3 gates) are regrouped into one
    of [x, h] and one of [x, m]: the same weights and products in two calls instead of three, and
    the same initial weights.

    Args:
        inputs: channels of the input.
        width: channels of the hidden state and of both memories.
        kernel: side of the convolutions, odd.
    """

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()

        def convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, kernel, padding="same", bias=False)

        def joint(gates: int) -> nn.Conv2d:
            both = convolution(inputs + width, gates * width, kernel)
            return initialised_apart(both, inputs, width)

        self.temporal = joint(4)
        self.spatial = joint(3)
        self.memories_to_gate = convolution(2 * width, width, kernel)
        self.memories_to_hidden = convolution(2 * width, width, 1)

    def forward(
        self, x: Tensor, state: CellState, memory: Tensor
    ) -> tuple[CellState, Tensor, Increments]:
        """New state, zigzag memory, and increments of the two memories for x [B,inputs,h,w]."""
        hidden, cell = state
        temporal = self.temporal(torch.cat((x, hidden), 1))
        spatial = self.spatial(torch.cat((x, memory), 1))
        return self.updated(temporal, spatial, cell, memory)


class PredRNN(FrameByFrame):
    """Stacked ST-LSTM layers on patches; the memory leaves the top for the next step's bottom.

    The authors' script also trains every step a second time on the clip reversed. Left out, as in
    OpenSTL: Moving MNIST is the same backwards, so that this is one more batch, not another task.
    """

    name = "predrnn"
    paper = Paper(
        "PredRNN: Recurrent Neural Networks for Predictive Learning using Spatiotemporal LSTMs",
        2017,
        "https://papers.neurips.cc/paper/2017/hash/e5f6ad6ce374177eef023bf5d0c018b6-Abstract.html",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="OpenSTL, Moving MNIST, PredRNN",
                origin="borrowed",
                learning_rate=5e-4,
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
        "layers": (1, 2, 3, 4),
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
            layers: how many layers there are.
            kernel: side of the convolutions, odd.
            patch: side of the squares that become channels.
        """
        super().__init__(frame_shape, width=width, patch=patch)
        self.width = width
        self.cells = nn.ModuleList(
            STLSTMCell(width if layer else self.patched_shape[0], width, kernel)
            for layer in range(layers)
        )

    def step(self, frame: Tensor, state: StackState | None) -> tuple[Tensor, StackState]:
        """Hidden state of the top layer, and the state of the stack."""
        return self.climb(frame, state)

    def climb(
        self, features: Tensor, state: StackState | None, *given: Tensor
    ) -> tuple[Tensor, StackState]:
        """`step` of what the lowest layer reads; every layer is `given` the rest."""
        if state is None:
            zeros = zero_state(features, self.width)
            state = StackState([(zeros, zeros)] * len(self.cells), zeros, [])
        memory, cells, increments = state.memory, [], []
        for cell, old in zip(self.cells, state.cells, strict=True):
            new, memory, increment = cell(features, old, memory, *given)
            cells.append(new)
            increments.append(increment)
            features = new[0]
        return features, StackState(cells, memory, increments)
