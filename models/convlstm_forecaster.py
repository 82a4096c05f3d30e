"""ConvLSTM encoder-forecaster over three resolutions (Shi et al. 2015, 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from models.contract import Paper, Recipe, Size, small_recipe
from models.layers.convlstm_sequence import ConvLSTMSequence
from models.layers.forecaster import Forecaster


class ConvLSTMForecaster(Forecaster):
    """The encoder-forecaster with ConvLSTM cells, whose gates are group-normalised.

    The published code holds 9,032,225 parameters for frames of 1x64x64, of which 921,600 never
    act. Its learning rate also halves when the validation loss stays; left out here.
    """

    name = "convlstm_forecaster"
    paper = Paper(
        "Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting",
        2015,
        "https://arxiv.org/abs/1506.04214",
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
            small_recipe(1e-2, "learning rate by validation MSE after 300 steps"),
            {"first": 8, "widths": (8, 8, 16), "last": 8, "group": 8},
        ),
    }

    @staticmethod
    def cell(
        inputs: int, width: int, kernel: int, group: int, before: nn.Module | None
    ) -> ConvLSTMSequence:
        """A ConvLSTM."""
        return ConvLSTMSequence(inputs, width, kernel, group=group, before=before)
