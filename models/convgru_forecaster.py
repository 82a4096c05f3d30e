"""ConvGRU encoder-forecaster over three resolutions (Shi et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.contract import Paper, Recipe, Size, small_recipe
from models.layers.forecaster import Forecaster
from models.layers.sequence_cell import Driven, SequenceCell, State


class ConvGRUSequence(SequenceCell):
    """A GRU whose products with weights are convolutions, group-normalised, over a sequence.

    z, r = sigmoid(norm(W * [x, h])); h' = (1 - z) h + z tanh(norm(V * [x, r h])), as in the
    published code. Shi et al. 2017, equation (1), call 1 - z what is z here, and have no norm.

    Args:
        inputs: channels of the input; 0 for a cell without.
        width: channels of the hidden state.
        kernel: side of the convolutions, odd.
        group: channels that are normalised together; must divide the width.
        before: the layer that frames pass on their way in; None for none.
    """

    def __init__(
        self, inputs: int, width: int, kernel: int, group: int, before: nn.Module | None
    ) -> None:
        super().__init__(inputs, width, 3 * width, kernel, before)
        self.width = width
        self.gates = Driven(width, 2 * width, kernel, inputs + width, group)
        self.candidate = Driven(width, width, kernel, inputs + width, group)

    def step(self, drive: Tensor, state: State | None) -> State:
        """New hidden state."""
        of_gates, of_candidate = torch.split(drive, [2 * self.width, self.width], -3)
        hidden = None if state is None else state[0]
        z, r = self.gates(of_gates, hidden).sigmoid().chunk(2, 1)
        if hidden is None:
            return (z * self.candidate(of_candidate, None).tanh(),)
        return (hidden.lerp(self.candidate(of_candidate, r * hidden).tanh(), z),)


class ConvGRUForecaster(Forecaster):
    """The encoder-forecaster with ConvGRU cells, whose gates are group-normalised.

    The published code holds 6,880,289 parameters for frames of 1x64x64, of which 691,200 never
    act. Its learning rate also halves when the validation loss stays; left out here.
    """

    name = "convgru_forecaster"
    paper = Paper(
        "Deep Learning for Precipitation Nowcasting: A Benchmark and A New Model",
        2017,
        "https://arxiv.org/abs/1706.03458",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="jhhuang96/ConvLSTM-PyTorch, main.py, without its plateau schedule",
                learning_rate=1e-4,
                batch_size=4,
                clip_value=10.0,
            )
        ),
        "small": Size(
            small_recipe(1e-2, "learning rate not tuned"),
            {"first": 8, "widths": (8, 12, 16), "last": 8, "group": 4},
        ),
    }

    @staticmethod
    def cell(
        inputs: int, width: int, kernel: int, group: int, before: nn.Module | None
    ) -> ConvGRUSequence:
        """A ConvGRU."""
        return ConvGRUSequence(inputs, width, kernel, group, before)
