"""PredRNN-V2: PredRNN whose two memories are kept from learning the same (Wang et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Recipe, Size, TrainingBatch, small_recipe
from models.layers.rollout import TeacherForcing, draw_forcing, to_patches
from models.predrnn import Increments, PredRNN

# Steps 25,000, 50,000 and 2,500 of the 80,000 in the authors' script for Moving MNIST.
SAMPLING_BEGINS, SAMPLING_ENDS, SAMPLING_DECAY = 25 / 80, 50 / 80, 2.5 / 80


class PredRNNV2(PredRNN):
    """PredRNN with a decoupling loss and reverse scheduled sampling; the same when it predicts.

    The loss adds `decoupling` times the mean |cosine| between what each layer adds to its temporal
    and to the zigzag memory, channel by channel, after a 1x1 convolution that all layers share.
    The paper sums over steps, layers and channels; the authors' code, whose weight .1 is used
    here, averages. Training on reversed clips is left out, as in PredRNN.

    Args:
        decoupling: weight of the decoupling loss; the others are those of PredRNN.
    """

    name = "predrnn_v2"
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
            small_recipe(5e-3, "learning rate by validation MSE after 300 steps; 1e-2 is unstable"),
            {"width": 20, "layers": 2},
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
    ) -> None:
        super().__init__(frame_shape, width=width, layers=layers, kernel=kernel, patch=patch)
        self.adapter = nn.Conv2d(width, width, 1, bias=False)
        self.decoupling = decoupling

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """MSE of all T+horizon-1 next-frame predictions, plus the weighted decoupling loss."""
        frames = to_patches(batch.clip, self.patch)
        forcing = self.teacher_forcing(batch)
        predictions: list[Tensor] = []
        overlaps: list[Tensor] = []
        for prediction, state in self.unroll(frames, forcing):
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
