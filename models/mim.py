"""MIM: PredRNN whose forget gates are memories of change, inside the memory (Wang et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Recipe, Size, small_recipe
from models.convlstm import ConvLSTMCell
from models.layers.initial_weights import initialised_apart
from models.layers.precision import zero_state
from models.layers.rollout import FrameByFrame
from models.predrnn import FORGET_BIAS, CellState, STLSTMCell

BlockState = tuple[Tensor, Tensor, Tensor]
"""Hidden state, temporal memory, and the memory of MIM-S in it, each [B,width,h,w]."""


class StackState(NamedTuple):
    """All layers after a step; the zigzag memory [B,width,h,w] is on its way to the bottom."""

    bottom: CellState
    changes: list[CellState]
    blocks: list[BlockState]
    memory: Tensor


def memory_in_memory(width: int, kernel: int, place: tuple[int, int]) -> ConvLSTMCell:
    """What MIM-N and MIM-S both are: a ConvLSTM cell with peepholes for maps of size `place`."""
    cell = ConvLSTMCell(width, width, kernel, bias=False, peephole=place, forget_bias=FORGET_BIAS)
    initialised_apart(cell.gates, width, width)
    return cell


class MIMBlock(nn.Module):
    """An ST-LSTM layer whose temporal memory is carried on by MIM-S instead of a forget gate.

    MIM-S, a recurrent cell by itself, reads the change below, has the temporal memory for its
    hidden state, and remembers in a memory of its own. Input, hidden state and zigzag memory are
    convolved apart, for the gates of the input go to the temporal and to the zigzag memory both.

    Args:
        width: channels of the input, the change and all states.
        kernel: side of the convolutions, odd.
        place: height and width of the maps.
    """

    def __init__(self, width: int, kernel: int, place: tuple[int, int]) -> None:
        super().__init__()

        def convolution(gates: int) -> nn.Conv2d:
            return nn.Conv2d(width, gates * width, kernel, padding="same", bias=False)

        self.from_input = convolution(4)
        self.from_hidden = convolution(3)
        self.from_memory = convolution(4)
        self.stationary = memory_in_memory(width, kernel, place)
        self.memories_to_hidden = nn.Conv2d(2 * width, width, 1, bias=False)

    def forward(
        self, x: Tensor, change: Tensor, state: BlockState, memory: Tensor
    ) -> tuple[BlockState, Tensor]:
        """New state and zigzag memory for x and `change`, both [B,width,h,w]."""
        hidden, cell, remembered = state
        i_of_x, f, g_of_x, o_of_x = self.from_input(x).chunk(4, 1)
        i, g, o = self.from_hidden(hidden).chunk(3, 1)
        i_of_memory, f_of_memory, g_of_memory, o_of_memory = self.from_memory(memory).chunk(4, 1)

        carried, remembered = self.stationary(change, (cell, remembered))
        cell = carried + (i_of_x + i).sigmoid() * (g_of_x + g).tanh()
        increment = (i_of_x + i_of_memory).sigmoid() * (g_of_x + g_of_memory).tanh()
        memory = (f + f_of_memory + FORGET_BIAS).sigmoid() * memory + increment

        gate = (o_of_x + o + o_of_memory).sigmoid()
        hidden = gate * self.memories_to_hidden(torch.cat((cell, memory), 1)).tanh()
        return (hidden, cell, remembered), memory


class MIM(FrameByFrame):
    """An ST-LSTM layer and MIM blocks above it on patches, beside a chain of MIM-N cells.

    The lowest MIM-N reads by how much the hidden state of the ST-LSTM layer has changed since the
    last frame, those above it what the one below makes of that; each tells the block beside it.
    So it is in the authors' code and in OpenSTL; in the paper each differences the layer below.
    At the first frame nothing has changed yet, and the chain rests at zero.

    The memories of MIM-S start at zero for every clip and gradients go back through them, as in
    the authors' code. OpenSTL keeps them from one batch for the next: there a prediction
    depends on the clips before it. It counts 38,043,648 parameters, of which 98,304 never take
    part; they are left out here. No normalisation, as there; the authors' code has it. Training
    on reversed clips is left out, as in PredRNN. The peepholes, which start at zero, belong to
    places, so that a model is for frames of one size.
    """

    name = "mim"
    paper = Paper(
        "Memory In Memory: A Predictive Neural Network for Learning Higher-Order "
        "Non-Stationarity from Spatiotemporal Dynamics",
        2019,
        "https://arxiv.org/abs/1811.07490",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="OpenSTL, Moving MNIST, MIM",
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
        "width": (8, 12, 16, 18, 20, 24, 32, 48, 64),
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
            layers: how many layers there are, the ST-LSTM layer among them, 2 at least.
            kernel: side of the convolutions, odd.
            patch: side of the squares that become channels.

        Raises:
            ValueError: where there is no MIM block.
        """
        super().__init__(frame_shape, width=width, patch=patch)
        if layers < 2:
            raise ValueError(f"MIM has 2 layers at least, the upper a MIM block, not {layers}")
        channels, place, above = self.patched_shape[0], self.patched_shape[1:], layers - 1
        self.bottom = STLSTMCell(channels, width, kernel)
        self.changes = nn.ModuleList(memory_in_memory(width, kernel, place) for _ in range(above))
        self.blocks = nn.ModuleList(MIMBlock(width, kernel, place) for _ in range(above))

    def step(self, frame: Tensor, state: StackState | None) -> tuple[Tensor, StackState]:
        """Hidden state of the top layer, and the state of the stack."""
        old = state or self._start(frame)
        bottom, memory, _ = self.bottom(frame, old.bottom, old.memory)
        features, blocks = bottom[0], []
        changes = old.changes if state is None else self._changed(features - old.bottom[0], old)
        for block, (change, _), before in zip(self.blocks, changes, old.blocks, strict=True):
            new, memory = block(features, change, before, memory)
            blocks.append(new)
            features = new[0]
        return features, StackState(bottom, changes, blocks, memory)

    def _changed(self, change: Tensor, old: StackState) -> list[CellState]:
        """States of the chain of MIM-N after the `change` [B,width,h,w] of the lowest layer."""
        new: list[CellState] = []
        for differ, before in zip(self.changes, old.changes, strict=True):
            new.append(differ(change, before))
            change = new[-1][0]
        return new

    def _start(self, frame: Tensor) -> StackState:
        """The state before the first frame [B,c,h,w]: zeros."""
        zeros, above = zero_state(frame, self.output.in_channels), len(self.blocks)
        return StackState((zeros,) * 2, [(zeros,) * 2] * above, [(zeros,) * 3] * above, zeros)
