"""LMC-Memory: ConvLSTMs beside a memory of long-term motions (Lee et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
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
from models.layers.initial_weights import initialised_apart
from models.layers.padding import repeat_first_frame
from models.layers.precision import zero_state

SHORTEST = 9  # frames: their eight differences can be halved three times

State = tuple[Tensor, Tensor]
"""Hidden and cell state, each [B,width,h,w]."""


class ConvLSTMCell(nn.Module):
    """One ConvLSTM layer without peepholes and with biases, its gates in the order i, g, f, o.

    The authors' code convolves x and h apart, each with a bias; one convolution with one bias says
    the same, and starts from the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = initialised_apart(nn.Conv2d(2 * width, 4 * width, 3, padding=1), width, width)

    def forward(self, x: Tensor, state: State) -> State:
        """New hidden and cell state for x [B,width,h,w]."""
        hidden, cell = state
        i, g, f, o = self.gates(torch.cat((x, hidden), 1)).chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell


def motion_encoder(channels: int, width: int) -> nn.Sequential:
    """C3D without its head (Tran et al. 2015): differences to motions an eighth as often.

    [B,channels,T,H,W] becomes [B,width,T/8,H/16,W/16], T rounded down.
    """

    def convolution(inputs: int, outputs: int) -> nn.Conv3d:
        return nn.Conv3d(inputs, outputs, 3, padding=1)

    def relu() -> nn.ReLU:
        return nn.ReLU(inplace=True)

    half, quarter, eighth = width // 2, width // 4, width // 8
    # The authors pool after each ReLU: the same numbers, but the ReLU has more to do.
    return nn.Sequential(
        convolution(channels, eighth), nn.MaxPool3d((1, 2, 2)), relu(),
        convolution(eighth, quarter), nn.MaxPool3d(2), relu(),
        convolution(quarter, half), relu(), convolution(half, half), nn.MaxPool3d(2), relu(),
        convolution(half, width), relu(), convolution(width, width), nn.MaxPool3d(2), relu(),
    )  # fmt: skip


class MotionMemory(nn.Module):
    """Motions in slots, recalled for each place of a clip by itself (section 3).

    The differences of a clip's frames are encoded, and averaged over what is left of time. Each
    place is a query: it recalls the mean of the slots, weighted by a softmax over their cosine
    similarity to it. As in the authors' code there is no temperature: of two slots one can weigh
    at most e^2 = 7.4 times as much as the other, so that 100 slots are always mixed nearly evenly.

    Args:
        channels: of a frame.
        width: channels of the motion recalled; slots are 4 times as wide.
        slots: how many motions there are.
    """

    def __init__(self, channels: int, width: int, slots: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(slots, 4 * width))
        self.matching_encoder = motion_encoder(channels, 4 * width)
        self.context_encoder = deepcopy(self.matching_encoder)
        self.embedder = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, padding=1, output_padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * width, width, 3, 2, padding=1, output_padding=1),
            nn.ReLU(inplace=True),
        )

    def memorise(self, clip: Tensor) -> Tensor:
        """Motion [B,width,H/4,W/4] of a long clip [B,T,C,H,W]; its gradient reaches the slots."""
        return self._recall(self.context_encoder(_differences(clip)), self.slots)

    def recall(self, context: Tensor) -> Tensor:
        """Motion [B,width,H/4,W/4] that a short clip [B,T,C,H,W] brings to mind; slots stay."""
        return self._recall(self.matching_encoder(_differences(context)), self.slots.detach())

    def _recall(self, motions: Tensor, slots: Tensor) -> Tensor:
        queries = motions.mean(2)
        places = queries.flatten(2).transpose(1, 2)
        similarity = F.normalize(places, dim=-1) @ F.normalize(slots, dim=-1).T
        recalled = similarity.softmax(-1) @ slots
        motion: Tensor = self.embedder(recalled.transpose(1, 2).reshape(queries.shape))
        return motion


def _differences(clip: Tensor) -> Tensor:
    """Differences [B,C,T-1,H,W] of successive frames of a clip [B,T,C,H,W].

    The first frame of a clip of fewer than `SHORTEST` is repeated before it.
    """
    return repeat_first_frame(clip, SHORTEST).diff(dim=1).transpose(1, 2)


class LMCMemory(Predictor):
    """Frames encoded to a quarter, ConvLSTMs, and a decoder that also sees the recalled motion.

    A training step has two updates. `memorising_loss` lets the context encoder see the whole
    clip, future included, and trains the slots; `training_loss` has the matching encoder recall
    the same from the context alone, and leaves the slots. Only the second way predicts: `forward`
    never has the future. Both score the horizon alone, and no true frame follows the context.

    What is memorised is the whole clip, as in the authors' first 5,000 iterations (10 -> 10
    frames); later they predict 30 frames and take a random 30 of the 40 there are (on KTH 40 of
    50). Predictions have no activation, as theirs on Moving MNIST; their sigmoid on KTH is left
    out. The first frame of a context of fewer than 9 is repeated before it: the matching encoder
    halves the time of eight differences three times.

    Learning starts slowly. L1 + MSE of a pixel that is lit with a probability p is least at black
    unless p > 1/4, which Moving MNIST's mean frame nowhere is: predictions stay black until digits
    can be placed. The small size's still are after 120 s on two CPU cores, and after 300 steps (MSE
    .041; the mean frame's is .037).

    The authors' code counts 33,911,825 parameters; 2,048 of them are second biases.

    `memory=False` is the same without the memory: the decoder sees the cells alone, and a training
    step is one update, by `training_loss`.
    """

    name = "lmc_memory"
    paper = Paper(
        "Video Prediction Recalling Long-term Motion Context via Memory Alignment Learning",
        2021,
        "https://arxiv.org/abs/2104.00924",
    )
    losses: tuple[str, ...] = ("memorising_loss", "training_loss")
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="sangmin-git/LMC-Memory, Moving MNIST, after its warm-up",
                origin="authors",
                learning_rate=2e-4,
                batch_size=128,
            )
        ),
        "small": Size(
            small_recipe(8.42e-4, "best of 5 trials on Moving MNIST", batch_size=8),
            {"width": 32, "layers": 2},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (16, 24, 32, 48, 64),
        "layers": (1, 2, 3, 4),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 128,
        layers: int = 4,
        slots: int = 100,
        memory: bool = True,
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of 16.
            width: channels of all states.
            layers: ConvLSTM layers between encoder and decoder.
            slots: motions that the memory holds.
            memory: whether there is one; without it the ConvLSTM predicts alone.
        """
        super().__init__(frame_shape)
        require_multiple(frame_shape, 16, "motions are remembered for squares of 16 x 16 pixels")
        channels = frame_shape[0]
        half = width // 2
        if not memory:
            self.losses = ("training_loss",)
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, half, 3, 2, padding=1), nn.ELU(),
            nn.Conv2d(half, half, 3, padding=1), nn.ELU(),
            nn.Conv2d(half, width, 3, 2, padding=1), nn.ELU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ELU(),
        )  # fmt: skip
        self.cells = nn.ModuleList(ConvLSTMCell(width) for _ in range(layers))
        self.memory = MotionMemory(channels, width, slots) if memory else None
        self.attention = _attention(width) if memory else None
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * width if memory else width, width, 3, padding=1), nn.ELU(),
            nn.ConvTranspose2d(width, half, 3, 2, padding=1, output_padding=1), nn.ELU(),
            nn.ConvTranspose2d(half, half, 3, padding=1), nn.ELU(),
            nn.ConvTranspose2d(half, channels, 3, 2, padding=1, output_padding=1),
        )  # fmt: skip

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W], with the motion that `context` brings to mind."""
        motion = None if self.memory is None else self.memory.recall(context)
        return self.continue_with(motion, context, horizon)

    def continue_with(self, motion: Tensor | None, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W] where `motion` [B,width,H/4,W/4] is remembered."""
        known = self.encoder(context.flatten(0, 1)).unflatten(0, context.shape[:2])
        zeros = zero_state(known[:, 0], known.shape[2])
        states: list[State] = [(zeros, zeros)] * len(self.cells)
        for features in known.unbind(1):
            states = self.step(features, states)
        predictions = [self.decode(states[-1], motion)]
        for _ in range(horizon - 1):
            states = self.step(self.encoder(predictions[-1]), states)
            predictions.append(self.decode(states[-1], motion))
        return torch.stack(predictions, 1)

    def step(self, features: Tensor, states: list[State]) -> list[State]:
        """States of all layers after a frame's features [B,width,H/4,W/4]."""
        new: list[State] = []
        for cell, state in zip(self.cells, states, strict=True):
            new.append(cell(features, state))
            features = new[-1][0]
        return new

    def decode(self, top: State, motion: Tensor | None) -> Tensor:
        """A frame [B,C,H,W]; how much each channel of `motion` counts depends on the cells."""
        features, cell = top
        if self.attention is not None and motion is not None:
            means = torch.cat((cell.mean((2, 3)), motion.mean((2, 3))), 1)
            attended = motion * self.attention(means)[:, :, None, None]
            features = torch.cat((features, attended), 1)
        frame: Tensor = self.decoder(features)
        return frame

    def memorising_loss(self, batch: TrainingBatch) -> Tensor:
        """L1 + MSE of the forecast, with the whole clip memorised."""
        motion = None if self.memory is None else self.memory.memorise(batch.clip)
        frames = self.continue_with(motion, batch.context, batch.future.shape[1])
        return _loss(frames, batch.future)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """L1 + MSE of the forecast, as at test time."""
        return _loss(self(batch.context, batch.future.shape[1]), batch.future)


def _attention(width: int) -> nn.Sequential:
    """How much each of `width` channels of the motion counts, by the means of cells and motion."""
    return nn.Sequential(
        nn.Linear(2 * width, width // 8), nn.ReLU(), nn.Linear(width // 8, width), nn.Sigmoid()
    )


def _loss(prediction: Tensor, future: Tensor) -> Tensor:
    return F.l1_loss(prediction, future) + F.mse_loss(prediction, future)
