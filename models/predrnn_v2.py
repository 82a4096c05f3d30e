"""PredRNN-V2: PredRNN whose two memories are kept from learning the same (Wang et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import (
    FrameShape,
    Paper,
    Recipe,
    Size,
    TrainingBatch,
    require_multiple,
    small_recipe,
)
from models.layers.rollout import TeacherForcing, draw_forcing, to_patches
from models.predrnn import STLSTM, CellState, Increments, PredRNN, StackState

# Steps 25,000, 50,000 and 2,500 of the 80,000 in the authors' script for Moving MNIST.
SAMPLING_BEGINS, SAMPLING_ENDS, SAMPLING_DECAY = 25 / 80, 50 / 80, 2.5 / 80


class ActionCell(STLSTM):
    """One ST-LSTM layer whose hidden state is weighed by actions before it reaches the gates.

    Where the gates of an ST-LSTM have W_h * H, these have V = (W_h * H) o (W_a * A), a product of
    every value: core/layers/SpatioTemporalLSTMCell_v2_action.py, whose convolutions have biases.

    Args:
        width: channels of the input, the encoded actions, the hidden state and both memories.
        kernel: side of the convolutions, odd.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()

        def convolution(outputs: int, inputs: int = width, kernel: int = kernel) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, kernel, padding="same")

        self.of_input, self.of_memory = convolution(7 * width), convolution(3 * width)
        self.of_hidden, self.of_actions = convolution(4 * width), convolution(4 * width)
        self.memories_to_gate = convolution(width, 2 * width)
        self.memories_to_hidden = convolution(width, 2 * width, 1)

    def forward(
        self, x: Tensor, state: CellState, memory: Tensor, actions: Tensor
    ) -> tuple[CellState, Tensor, Increments]:
        """As of an ST-LSTM layer, for x and `actions` [B,width,h,w]."""
        hidden, cell = state
        gates = self.of_input(x)
        width = hidden.shape[1]
        of_v = self.of_hidden(hidden) * self.of_actions(actions)
        temporal = gates[:, : 4 * width] + of_v
        spatial = gates[:, 4 * width :] + self.of_memory(memory)
        return self.updated(temporal, spatial, cell, memory)


class PredRNNV2(PredRNN):
    """PredRNN with a decoupling loss and reverse scheduled sampling; the same when it predicts.

    The loss adds `decoupling` times the mean |cosine| between what each layer adds to its temporal
    and to the zigzag memory, channel by channel, after a 1x1 convolution that all layers share.
    The paper sums over steps, layers and channels; the authors' code, whose weight .1 is used
    here, averages. Training on reversed clips is left out, as in PredRNN.

    With covariates it is the authors' action-conditioned network for BAIR (core/models/
    action_cond_predrnn_v2.py with `conv_on_input` and `res_on_conv`, as their script has it): in
    place of patches two strided convolutions encode the frame, and two more the actions of that
    frame, which every layer is given; two transposed ones decode, each after the features of its
    size were added. Their 33,556,096 parameters are these.

    Args:
        decoupling: weight of the decoupling loss; the others are those of PredRNN.
        covariates: numbers of each frame; with any, `patch` is not used.
    """

    name = "predrnn_v2"
    takes_covariates = True
    paper = Paper(
        "PredRNN: A Recurrent Neural Network for Spatiotemporal Predictive Learning",
        2022,
        "https://arxiv.org/abs/2103.09504",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="predrnn-pytorch, Moving MNIST, PredRNN-V2",
                origin="authors",
                learning_rate=1e-4,
                batch_size=8,
            )
        ),
        "small": Size(
            small_recipe(1.5e-2, "best of 5 trials on Moving MNIST", batch_size=2),
            {"width": 12, "layers": 2},
        ),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 128,
        layers: int = 4,
        kernel: int = 5,
        patch: int = 4,
        decoupling: float = 0.1,
        covariates: int = 0,
    ) -> None:
        if covariates:
            require_multiple(frame_shape, 4, "they are halved twice")
            super().__init__(frame_shape, width=width, layers=0, kernel=kernel, patch=1)
            self._take(covariates, layers, kernel)
        else:
            super().__init__(frame_shape, width=width, layers=layers, kernel=kernel, patch=patch)
        self.adapter = nn.Conv2d(width, width, 1, bias=False)
        self.decoupling = decoupling

    def _take(self, covariates: int, layers: int, kernel: int) -> None:
        """Become the action-conditioned network."""
        channels, half, width = self.frame_shape[0], self.width // 2, self.width
        halved: dict[str, Any] = {"kernel_size": kernel, "stride": 2, "padding": kernel // 2}
        halved["bias"] = False
        self.cells = nn.ModuleList(ActionCell(width, kernel) for _ in range(layers))
        self.to_half = nn.Conv2d(channels, half, **halved)
        self.to_quarter = nn.Conv2d(half, width, **halved)
        self.actions = nn.Sequential(
            nn.Conv2d(covariates, half, **halved), nn.Conv2d(half, width, **halved)
        )
        self.from_quarter = nn.ConvTranspose2d(width, half, output_padding=1, **halved)
        self.output = nn.ConvTranspose2d(half, channels, output_padding=1, **halved)

    def step(self, frame: Tensor, state: StackState | None) -> tuple[Tensor, StackState]:
        """Features that `output` makes the next frame of, and the state of the stack."""
        covariates = frame.shape[1] - self.patched_shape[0]
        if not covariates:
            return super().step(frame, state)
        frame, actions = torch.split(frame, [self.patched_shape[0], covariates], 1)
        half = self.to_half(frame)
        quarter = self.to_quarter(half)
        hidden, state = self.climb(quarter, state, self.actions(actions))
        return self.from_quarter(hidden + quarter) + half, state

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """MSE of all T+horizon-1 next-frame predictions, plus the weighted decoupling loss."""
        frames = to_patches(batch.clip, self.patch)
        forcing = self.teacher_forcing(batch)
        predictions: list[Tensor] = []
        overlaps: list[Tensor] = []
        for prediction, state in self.unroll(frames, forcing, batch.covariates):
            predictions.append(prediction)
            overlaps.append(self.overlap(state.increments))
        error = F.mse_loss(torch.stack(predictions, 1), frames[:, 1:])
        decoupling = torch.stack(overlaps).mean()
        batch.log("decoupling", decoupling)
        return error + self.decoupling * decoupling

    def overlap(self, increments: Sequence[Increments]) -> Tensor:
        """Mean |cosine| in [0,1] between the adapted increments of the layers' two memories."""
        temporal, spatial = zip(*increments, strict=True)
        adapted = self.adapter(torch.cat((*temporal, *spatial))).flatten(2)
        of_temporal, of_spatial = adapted.chunk(2)
        return F.cosine_similarity(of_temporal, of_spatial, dim=2).abs().mean()

    def teacher_forcing(self, batch: TrainingBatch) -> list[TeacherForcing]:
        """Which steps read the true frame, by reverse scheduled sampling: the first always.

        The context is read more and more, the frames after it less and less.
        """
        rates = context_rate(batch.progress), future_rate(batch.progress)
        steps = batch.context_frames - 1, batch.future.shape[1] - 1
        context, future = (
            draw_forcing(batch, count, rate) for count, rate in zip(steps, rates, strict=True)
        )
        return [True, *context, *future]


def context_rate(progress: Tensor) -> Tensor:
    """Probability of reading a true frame of the context: half, then exponentially towards 1."""
    rising = 1.0 - 0.5 * ((SAMPLING_BEGINS - progress) / SAMPLING_DECAY).exp()
    return rising.where(progress < SAMPLING_ENDS, 1.0).where(progress >= SAMPLING_BEGINS, 0.5)


def future_rate(progress: Tensor) -> Tensor:
    """Probability of reading a true frame after the context: half, then linearly towards 0."""
    left = (SAMPLING_ENDS - progress) / (SAMPLING_ENDS - SAMPLING_BEGINS)
    return 0.5 * left.clamp(0.0, 1.0)
