"""PhyDNet: a cell of partial derivatives beside ConvLSTMs (Le Guen and Thome 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import factorial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import (
    FrameShape,
    Paper,
    Predictor,
    Recipe,
    Size,
    TrainingBatch,
    require_multiple,
    small_recipe,
)
from models.convlstm import CellState, ConvLSTMCell
from models.layers.precision import zero_state
from models.layers.rollout import choose, sampling_rate

ORDERS = 7  # of derivatives along each axis, 0 to 6: as many as a filter is wide
GROUPS = 16  # of channels that are normalised together, everywhere but in the PhyCell

FORCING_ENDS = 1 / 6
"""The authors' rate of teacher forcing falls by .003 in each of 2,000 epochs, from 1 to 0."""

State = tuple[Tensor, list[CellState]]
"""The PhyCell's hidden state [B,width,H/4,W/4], and the states of the ConvLSTMs."""


class PhyCell(nn.Module):
    """A step in time by a learnt partial differential equation, corrected by what is seen.

    Prediction: h + F(h), F a linear combination of 49 filters, which the moment loss keeps near
    derivatives, normalised in groups. Correction: K (x - it), K a gate of x and h.

    Args:
        width: channels of the input and the hidden state.
    """

    powers: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        count = ORDERS**2
        self.filters = nn.Conv2d(width, count, ORDERS, padding="same")
        self.norm = nn.GroupNorm(ORDERS, count)
        self.combination = nn.Conv2d(count, width, 1)
        self.gate = nn.Conv2d(2 * width, width, 3, padding="same")
        # (a - 3)^i / i!, times 6! to be whole numbers, which are exact in every precision.
        whole = [
            [(a - ORDERS // 2) ** i * factorial(ORDERS - 1) // factorial(i) for a in range(ORDERS)]
            for i in range(ORDERS)
        ]
        self.register_buffer("powers", torch.tensor(whole, dtype=torch.float), persistent=False)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """New hidden state for x and the hidden state, all [B,width,h,w]."""
        predicted = hidden + self.combination(self.norm(self.filters(hidden)))
        gate = self.gate(torch.cat((x, hidden), 1)).sigmoid()
        corrected: Tensor = predicted + gate * (x - predicted)
        return corrected

    def moments(self, filters: Tensor) -> Tensor:
        """Moments [...,7,7] of `filters` [...,7,7]: of order (i, j) at [...,i,j].

        m_ij = sum_ab (a - 3)^i (b - 3)^j k_ab / (i! j!), a and b from 0 to 6, as
        constrain_moments.py has them. In sums: a product is rounded under mixed precision.
        """
        rows = (self.powers[:, :, None] * filters[..., None, :, :]).sum(-2)
        return (rows[..., None, :] * self.powers).sum(-1) / factorial(ORDERS - 1) ** 2

    def moment_loss(self) -> Tensor:
        """How far filter 7i+j is from d^i/dy^i d^j/dx^j: for each channel the MSE, their sum.

        Of that derivative's moments the one of order (i, j) is 1, all others are 0.
        """
        moments = self.moments(self.filters.weight)
        wanted = torch.eye(ORDERS**2, dtype=moments.dtype, device=moments.device)
        wanted = wanted.view(-1, 1, ORDERS, ORDERS).expand_as(moments)
        return F.mse_loss(moments, wanted) * moments.shape[1]


class PhyDNet(Predictor):
    """Frames at a quarter, a PhyCell and ConvLSTMs beside each other, and a decoder of their sum.

    The loss is that of the authors' code: the MSE of all T+horizon-1 next-frame predictions,
    summed over the steps, and the moment loss, which weighs far more at first (4.9). Whether the
    steps after the context read the true frame is one draw for a whole batch and all its steps.
    OpenSTL's port minimises (loss - pixel)^2 instead, over all pixels of the future; its published
    figures are of that. The pictures of each branch alone, which the authors' code makes at every
    step to be looked at, are left out.

    A sigmoid ends the decoder: predictions are in [0,1].
    """

    name = "phydnet"
    paper = Paper(
        "Disentangling Physical Dynamics from Unknown Factors for Unsupervised Video Prediction",
        2020,
        "https://arxiv.org/abs/2003.01460",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="vincent-leguen/PhyDNet, main.py",
                origin="authors",
                learning_rate=1e-3,
                batch_size=16,
                schedule="plateau",
                plateau_factor=0.1,
                plateau_patience=2,
            )
        ),
        "small": Size(
            small_recipe(1.5e-2, "best of 5 trials on Moving MNIST", batch_size=2),
            {"width": 32, "hidden": 64, "layers": 1},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "hidden": (16, 20, 24, 32, 48, 64, 128),
        "layers": (1, 2, 3),
    }

    def __init__(
        self, frame_shape: FrameShape, *, width: int = 64, hidden: int = 128, layers: int = 3
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of 4.
            width: channels of the encoded frames and of what each branch returns; multiple of 32.
            hidden: channels of all ConvLSTM layers but the last.
            layers: how many ConvLSTM layers there are.

        Raises:
            UnfitFrame: a frame cannot be halved twice.
            ValueError: half of `width` cannot be divided into groups to normalise, or there is no
                layer.
        """
        if layers < 1:
            raise ValueError(f"layers must be 1 at least, not {layers}")
        super().__init__(frame_shape)
        require_multiple(frame_shape, 4, "frames are halved twice")
        channels, half = frame_shape[0], width // 2
        if width % 2 or half % GROUPS:
            raise ValueError(f"the width must be a multiple of {2 * GROUPS}, not {width}")
        self.encoder = nn.Sequential(
            _encoding(channels, half, 2), _encoding(half, half), _encoding(half, width, 2)
        )
        self.to_physical, self.to_residual = (
            nn.Sequential(_encoding(width, width), _encoding(width, width)) for _ in range(2)
        )
        self.physical = PhyCell(width)
        widths = [width, *[hidden] * (layers - 1), width]
        self.residual = nn.ModuleList(
            ConvLSTMCell(inputs, outputs, 3, bias=True) for inputs, outputs in pairwise(widths)
        )
        self.from_physical, self.from_residual = (
            nn.Sequential(_decoding(width, width), _decoding(width, width)) for _ in range(2)
        )
        self.decoder = nn.Sequential(
            _decoding(width, half, 2), _decoding(half, half), _growing(half, channels, 2)
        )

    def follow(self, frames: Tensor, state: State | None = None) -> list[State]:
        """The states after each of the frames [B,T,C,H,W], from `state` on; None is all zeros."""
        features = self.encoder(frames.flatten(0, 1))
        physical, residual = (
            branch(features).unflatten(0, frames.shape[:2]).unbind(1)
            for branch in (self.to_physical, self.to_residual)
        )
        states: list[State] = []
        for inputs in zip(physical, residual, strict=True):
            state = self.step(*inputs, state)
            states.append(state)
        return states

    def step(self, physical: Tensor, residual: Tensor, state: State | None) -> State:
        """The state after what the two branches read of a frame, each [B,width,H/4,W/4]."""
        nothing = zero_state(physical, physical.shape[1]), [None] * len(self.residual)
        hidden, cells = state or nothing
        new: list[CellState] = []
        for layer, cell in zip(self.residual, cells, strict=True):
            new.append(layer(residual, cell))
            residual = new[-1][0]
        return self.physical(physical, hidden), new

    def write(self, states: Sequence[State]) -> tuple[Tensor, ...]:
        """The frame [B,C,H,W] that follows after each of `states`."""
        physical = self.from_physical(torch.cat([hidden for hidden, _ in states]))
        residual = self.from_residual(torch.cat([cells[-1][0] for _, cells in states]))
        frames: Tensor = self.decoder(physical + residual).sigmoid()
        return frames.chunk(len(states))

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W]: context read once, then each prediction read back."""
        state = self.follow(context)[-1]
        predictions = [*self.write([state])]
        for _ in range(horizon - 1):
            (state,) = self.follow(predictions[-1][:, None], state)
            predictions += self.write([state])
        return torch.stack(predictions, 1)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """MSE of each of the T+horizon-1 next-frame predictions, their sum, and the moment loss."""
        forced = batch.uniform(1, 1, 1, 1, clips=None) < sampling_rate(batch.progress, FORCING_ENDS)
        states = self.follow(batch.context)
        predictions, state = [*self.write(states)], states[-1]
        for true_frame in batch.future[:, :-1].unbind(1):
            frame = choose(forced, true_frame, predictions[-1])
            (state,) = self.follow(frame[:, None], state)
            predictions += self.write([state])
        moments = self.physical.moment_loss()
        batch.log("moments", moments)
        error = F.mse_loss(torch.stack(predictions, 1), batch.clip[:, 1:])
        return error * len(predictions) + moments


def _encoding(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution to maps of 1/`stride` the height and width, normalised in groups."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, outputs), nn.LeakyReLU(0.2))


def _decoding(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A transposed convolution to maps of `stride` times the height and width, normalised."""
    growing = _growing(inputs, outputs, stride)
    return nn.Sequential(growing, nn.GroupNorm(GROUPS, outputs), nn.LeakyReLU(0.2))


def _growing(inputs: int, outputs: int, stride: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, stride, padding=1, output_padding=stride - 1)
