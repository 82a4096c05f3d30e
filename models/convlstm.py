"""ConvLSTM: an LSTM whose products with weights are convolutions (Shi et al. 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Recipe, Size, small_recipe
from models.layers.initial_weights import initialised_apart
from models.layers.precision import zero_state
from models.layers.rollout import FrameByFrame

CellState = tuple[Tensor, Tensor]
"""Hidden and cell state, each [B,width,h,w]."""


class ConvLSTMCell(nn.Module):
    """One ConvLSTM layer: equation (3) of Shi et al. 2015.

    Args:
        inputs: channels of the input.
        width: channels of the hidden and the cell state.
        kernel: side of the convolutions, odd.
        bias: whether the gates have biases, as the paper's do.
        peephole: height and width of the maps where the gates see the cell state through a weight
            for each channel and position, as the paper's Hadamard products do; None for the form
            in common use, without. Peepholes start at zero.
        forget_bias: added to the forget gate, and not trained.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        kernel: int,
        *,
        bias: bool,
        peephole: tuple[int, int] | None = None,
        forget_bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = width
        self.forget_bias = forget_bias
        self.gates = nn.Conv2d(inputs + width, 4 * width, kernel, padding="same", bias=bias)
        self.peephole = (
            nn.Parameter(torch.zeros(3, width, *peephole)) if peephole is not None else None
        )

    def forward(self, x: Tensor, state: CellState | None) -> CellState:
        """New hidden and cell state for x [B,inputs,h,w]; a state of None is all zeros."""
        hidden, cell = state or (zero_state(x, self.width),) * 2
        i, f, g, o = self.gates(torch.cat((x, hidden), 1)).chunk(4, 1)
        if self.peephole is not None:
            i, f = i + self.peephole[0] * cell, f + self.peephole[1] * cell
        if self.forget_bias:
            f = f + self.forget_bias
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        if self.peephole is not None:
            o = o + self.peephole[2] * cell
        return o.sigmoid() * cell.tanh(), cell


class ConvLSTM(FrameByFrame):
    """Stacked ConvLSTM layers on patches, predicting frame by frame.

    The form in common use (predrnn-pytorch, OpenSTL): no peepholes, no biases, input and state
    convolved apart (here in one call, from the same initial weights), a 1x1 convolution to pixels.
    OpenSTL counts 15,083,520 parameters, of which 3,407,872 never take part; they are
    left out here.
    """

    name = "convlstm"
    paper = Paper(
        "Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting",
        2015,
        "https://arxiv.org/abs/1506.04214",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="OpenSTL, Moving MNIST, ConvLSTM-S",
                origin="borrowed",
                learning_rate=5e-4,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": Size(
            small_recipe(4.74e-4, "best of 5 trials on Moving MNIST", batch_size=2),
            {"width": 8, "layers": 4},
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
        peephole: bool = False,
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of `patch`.
            width: channels of all states.
            layers: how many layers there are.
            kernel: side of the convolutions, odd.
            patch: side of the squares that become channels.
            peephole: whether gates see the cell state too, with biases, as in the paper.

        Raises:
            ValueError: there is no layer.
        """
        if layers < 1:
            raise ValueError(f"layers must be 1 at least, not {layers}")
        super().__init__(frame_shape, width=width, patch=patch)
        channels, map_height, map_width = self.patched_shape
        self.cells = nn.ModuleList()
        for inputs in (channels, *[width] * (layers - 1)):
            place = (map_height, map_width) if peephole else None
            cell = ConvLSTMCell(inputs, width, kernel, bias=peephole, peephole=place)
            initialised_apart(cell.gates, inputs, width, biases=1)
            self.cells.append(cell)

    def step(self, frame: Tensor, state: list[CellState] | None) -> tuple[Tensor, list[CellState]]:
        """Hidden state of the top layer, and the states of all layers."""
        features, new = frame, []
        for layer, cell in enumerate(self.cells):
            new.append(cell(features, None if state is None else state[layer]))
            features = new[-1][0]
        return features, new
