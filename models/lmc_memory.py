"""LMC-Memory: ConvLSTMs beside a memory of long-term motions (Lee et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Predictor, Recipe, Size, small_recipe
from models.layers.convlstm_sequence import lstm
from models.layers.joint_conv import JointConv
from models.layers.motion_memory import MotionMemory
from models.layers.sequence_cell import State


class BiasedConvLSTMCell(nn.Module):
    """One ConvLSTM layer without peepholes and with biases, its gates in the order i, g, f, o.

    The authors' code adds two biases, one of x and one of h; one says the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = JointConv(width, width, 4 * width, 3, bias=True)

    def forward(self, x: Tensor, state: State | None) -> State:
        """New hidden and cell state for x [B,width,h,w]; a state of None is all zeros."""
        hidden, cell = (None, None) if state is None else state
        i, g, f, o = self.gates(x, hidden).chunk(4, 1)
        return lstm(i, f, g, o, cell)


class LMCMemory(Predictor):
    """Frames encoded to a quarter, ConvLSTMs, and a decoder that also sees the recalled motion.

    A training step has two updates. `memorising_loss` lets the context encoder see the whole
    clip, future included, and trains the slots; `training_loss` has the matching encoder recall
    the same from the context alone, and leaves the slots. Only the second way predicts: `forward`
    never has the future. Both score the horizon alone, and no true frame follows the context.

    What is memorised is the whole clip, as in the authors' first 5,000 iterations (10 -> 10
    frames); later they predict 30 frames and take a random 30 of the 40 there are (on KTH 40 of
    50). Predictions have no activation, as theirs on Moving MNIST; their sigmoid on KTH is left
    out. A context of fewer than 9 frames is led in by its first: the matching encoder halves the
    time of eight differences three times.

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
                learning_rate=2e-4,
                batch_size=128,
            )
        ),
        "small": Size(
            small_recipe(2e-3, "learning rate not tuned"),
            {"width": 32, "layers": 3},
        ),
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
        super().__init__(frame_shape)
        channels, *size = frame_shape
        if any(side % 16 for side in size):
            raise ValueError(
                "frame height and width must be multiples of 16, for motions are remembered for "
                f"squares of 16 x 16 pixels, not {size[0]} x {size[1]}"
            )
        half = width // 2
        if not memory:
            self.losses = ("training_loss",)
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, half, 3, 2, padding=1), nn.ELU(),
            nn.Conv2d(half, half, 3, padding=1), nn.ELU(),
            nn.Conv2d(half, width, 3, 2, padding=1), nn.ELU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ELU(),
        )  # fmt: skip
        self.cells = nn.ModuleList(BiasedConvLSTMCell(width) for _ in range(layers))
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
        states: list[State | None] = [None] * len(self.cells)
        for features in known.unbind(1):
            top, states = self.step(features, states)
        predictions = [self.decode(top, motion)]
        for _ in range(horizon - 1):
            top, states = self.step(self.encoder(predictions[-1]), states)
            predictions.append(self.decode(top, motion))
        return torch.stack(predictions, 1)

    def step(
        self, features: Tensor, states: list[State | None]
    ) -> tuple[State, list[State | None]]:
        """State of the top layer, and of all, after a frame's features [B,width,H/4,W/4]."""
        new: list[State | None] = []
        for cell, state in zip(self.cells, states, strict=True):
            top: State = cell(features, state)
            new.append(top)
            features = top[0]
        return top, new

    def decode(self, top: State, motion: Tensor | None) -> Tensor:
        """A frame [B,C,H,W]; how much each channel of `motion` counts depends on the cells."""
        features, cell = top
        if self.attention is not None and motion is not None:
            means = torch.cat((cell.mean((2, 3)), motion.mean((2, 3))), 1)
            attended = motion * self.attention(means)[:, :, None, None]
            features = torch.cat((features, attended), 1)
        frame: Tensor = self.decoder(features)
        return frame

    def memorising_loss(
        self,
        clip: Tensor,
        context_frames: int,
        progress: float,
        generator: torch.Generator | None,
    ) -> Tensor:
        """L1 + MSE of the forecast on `clip` [B,T+horizon,C,H,W] with all of it memorised."""
        context, future = clip[:, :context_frames], clip[:, context_frames:]
        motion = None if self.memory is None else self.memory.memorise(clip)
        return _loss(self.continue_with(motion, context, future.shape[1]), future)

    def training_loss(
        self,
        clip: Tensor,
        context_frames: int,
        progress: float,
        generator: torch.Generator | None,
    ) -> Tensor:
        """L1 + MSE of the forecast on `clip` [B,T+horizon,C,H,W], as at test time."""
        context, future = clip[:, :context_frames], clip[:, context_frames:]
        return _loss(self(context, future.shape[1]), future)


def _attention(width: int) -> nn.Sequential:
    """How much each of `width` channels of the motion counts, by the means of cells and motion."""
    return nn.Sequential(
        nn.Linear(2 * width, width // 8), nn.ReLU(), nn.Linear(width // 8, width), nn.Sigmoid()
    )


def _loss(prediction: Tensor, future: Tensor) -> Tensor:
    return F.l1_loss(prediction, future) + F.mse_loss(prediction, future)
