"""Encoder-forecasters over three resolutions: ConvLSTM (Shi et al. 2015), ConvGRU (2017)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.contract import (
    FrameShape,
    Paper,
    Predictor,
    Recipe,
    Size,
    require_multiple,
    small_recipe,
)
from models.layers.initial_weights import initialised_beside
from models.layers.precision import widened, zero_state

State = tuple[Tensor, ...]
"""What a cell remembers, each [B,width,h,w]; the hidden state, which it puts out, comes first."""


def normalised_conv(
    inputs: int, width: int, outputs: int, kernel: int, group: int
) -> nn.Sequential:
    """A convolution of input and state, then group normalisation over `group` channels.

    A cell without an input starts from the weights that it has in the published code, beside those
    of `width` channels of zeros.
    """
    convolution = nn.Conv2d(inputs + width, outputs, kernel, padding="same")
    if inputs == 0:
        initialised_beside(convolution, unused=width)
    return nn.Sequential(convolution, nn.GroupNorm(outputs // group, outputs))


class ConvLSTMCell(nn.Module):
    """Equation (3) of Shi et al. 2015 without peepholes, its gates normalised in groups.

    Args:
        inputs: channels of the input.
        width: channels of the hidden and the cell state.
        kernel: side of the convolution, odd.
        group: channels that are normalised together; must divide `width`.
    """

    def __init__(self, inputs: int, width: int, kernel: int, group: int) -> None:
        super().__init__()
        self.width = width
        self.gates = normalised_conv(inputs, width, 4 * width, kernel, group)

    def forward(self, x: Tensor, state: State | None) -> State:
        """New hidden and cell state for x [B,inputs,h,w]; a state of None is all zeros."""
        hidden, cell = state or (zero_state(x, self.width),) * 2
        i, f, g, o = self.gates(torch.cat((x, hidden), 1)).chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell


class ConvGRUCell(nn.Module):
    """A GRU whose products with weights are convolutions, normalised in groups.

    z, r = sigmoid(norm(W * [x, h])); h' = (1 - z) h + z tanh(norm(V * [x, r h])), as in the
    published code. Shi et al. 2017, equation (1), call 1 - z what is z here, and have no norm.

    Args:
        inputs: channels of the input.
        width: channels of the hidden state.
        kernel: side of the convolutions, odd.
        group: channels that are normalised together; must divide `width`.
    """

    def __init__(self, inputs: int, width: int, kernel: int, group: int) -> None:
        super().__init__()
        self.width = width
        self.gates = normalised_conv(inputs, width, 2 * width, kernel, group)
        self.candidate = normalised_conv(inputs, width, width, kernel, group)

    def forward(self, x: Tensor, state: State | None) -> State:
        """New hidden state for x [B,inputs,h,w]; a state of None is all zeros."""
        (hidden,) = state or (zero_state(x, self.width),)
        z, r = self.gates(torch.cat((x, hidden), 1)).sigmoid().chunk(2, 1)
        candidate = self.candidate(torch.cat((x, r * hidden), 1)).tanh()
        return (hidden.lerp(widened(candidate), widened(z)),)


class Stage(nn.Module):
    """A convolution of every frame, which may resize it, and a recurrent cell over the frames.

    Args:
        resize: what frames pass on their way in; a LeakyReLU follows. None for neither.
        cell: reads what comes out of it.
    """

    def __init__(self, resize: nn.Module | None, cell: nn.Module) -> None:
        super().__init__()
        self.resize = nn.Identity() if resize is None else nn.Sequential(resize, nn.LeakyReLU(0.2))
        self.cell = cell

    def forward(self, frames: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Hidden states [T,B,width,h,w] after each of `frames` [T,B,C,H,W], and the last state.

        Time is first, so that all frames pass `resize` as one batch. A state of None is all zeros.
        """
        maps = self.resize(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        states: list[State] = []
        for x in maps:
            state = self.cell(x, state)
            states.append(state)
        return torch.stack([hidden for hidden, *_ in states]), states[-1]


class EncoderForecaster(Predictor):
    """Three recurrent cells at full, half and quarter size read; their states start three more.

    The forecaster runs from the deepest state up and sees no frame, neither true nor its own: its
    deepest cell has no input, the others read the cell below. So every cell goes over all its
    frames before the next one starts. Convolutions halve the maps between the encoding cells and
    transposed ones double them between the others, each with a LeakyReLU.

    The published code (jhhuang96/ConvLSTM-PyTorch, and WZX-Tina/ConvLSTM, whose `first` is 64)
    feeds the deepest cell zeros: the weights of that input never act, and are left out (the others
    start as beside them). It also
    puts a LeakyReLU after the last layer, since it takes any layer with "leaky" in its name to
    have one, by which dark pixels come out negative and hardly learn: here the last layer is
    linear. And it takes as many frames as a constant says, here any number do.

    Args:
        first: channels of the first convolution, before the first cell.
        widths: channels of the cells at full, half and quarter size.
        last: channels between the two convolutions that make the pixels.
        kernel: side of the cells' convolutions, odd.
        group: channels that are normalised together; must divide all widths.
    """

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        first: int = 16,
        widths: tuple[int, int, int] = (64, 96, 96),
        last: int = 16,
        kernel: int = 5,
        group: int = 32,
    ) -> None:
        super().__init__(frame_shape)
        require_multiple(frame_shape, 4, "maps are halved twice")
        channels = frame_shape[0]

        def stage(resize: nn.Module | None, inputs: int, width: int) -> Stage:
            return Stage(resize, self.cell(inputs, width, kernel, group))

        full, half, quarter = widths
        self.encoder = nn.ModuleList(
            (
                stage(nn.Conv2d(channels, first, 3, 1, 1), first, full),
                stage(nn.Conv2d(full, full, 3, 2, 1), full, half),
                stage(nn.Conv2d(half, half, 3, 2, 1), half, quarter),
            )
        )
        self.forecaster = nn.ModuleList(
            (
                stage(None, 0, quarter),
                stage(nn.ConvTranspose2d(quarter, quarter, 4, 2, 1), quarter, half),
                stage(nn.ConvTranspose2d(half, half, 4, 2, 1), half, full),
            )
        )
        self.output = nn.Sequential(
            nn.Conv2d(full, last, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(last, channels, 1)
        )

    @staticmethod
    @abstractmethod
    def cell(inputs: int, width: int, kernel: int, group: int) -> nn.Module:
        """A recurrent cell, with the arguments of `ConvLSTMCell`."""

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W]; not bounded."""
        maps, states = context.transpose(0, 1), []
        for stage in self.encoder:
            maps, state = stage(maps, None)
            states.append(state)
        # The deepest cell reads nothing: `horizon` maps without channels.
        maps = maps.new_empty(horizon, len(context), 0, *maps.shape[3:])
        for stage, state in zip(self.forecaster, reversed(states), strict=True):
            maps, _ = stage(maps, state)
        frames: Tensor = self.output(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        return frames.transpose(0, 1)


PUBLISHED_RECIPE = Recipe(
    source="jhhuang96/ConvLSTM-PyTorch, main.py",
    origin="borrowed",
    learning_rate=1e-4,
    batch_size=4,
    schedule="plateau",
    plateau_factor=0.5,
    plateau_patience=4,
    clip_value=10.0,
)


class ConvLSTMForecaster(EncoderForecaster):
    """The encoder-forecaster with ConvLSTM cells.

    The published code holds 9,032,225 parameters for frames of 1x64x64, of which 921,600 never
    act.
    """

    name = "convlstm_forecaster"
    paper = Paper(
        "Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting",
        2015,
        "https://arxiv.org/abs/1506.04214",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(PUBLISHED_RECIPE),
        "small": Size(
            small_recipe(1.5e-2, "best of 5 trials on Moving MNIST", batch_size=2),
            {"first": 8, "widths": (8, 8, 16), "last": 8, "group": 8},
        ),
    }
    cell = ConvLSTMCell


class ConvGRUForecaster(EncoderForecaster):
    """The encoder-forecaster with ConvGRU cells.

    The published code holds 6,880,289 parameters for frames of 1x64x64, of which 691,200 never
    act.
    """

    name = "convgru_forecaster"
    paper = Paper(
        "Deep Learning for Precipitation Nowcasting: A Benchmark and A New Model",
        2017,
        "https://arxiv.org/abs/1706.03458",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(PUBLISHED_RECIPE),
        "small": Size(
            small_recipe(1.5e-2, "best of 5 trials on Moving MNIST", batch_size=2),
            {"first": 8, "widths": (8, 12, 16), "last": 8, "group": 4},
        ),
    }
    cell = ConvGRUCell
