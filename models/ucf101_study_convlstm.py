"""The ConvLSTM of the UCF101 study: ReLU for tanh, and batch normalisation after each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Recipe, Size, small_recipe
from models.layers.layer_by_layer import LayerByLayer
from models.layers.sequence_cell import Driven, SequenceCell, State


class ContextNorm(nn.BatchNorm3d):
    """Batch normalisation of all frames of a clip by the statistics of its context.

    In training these are the batch's, over clips, context frames and positions, and the running
    statistics follow them; in evaluation they are the running ones.
    """

    running_mean: Tensor
    running_var: Tensor

    def settle(self, context: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The scale and shift, each [width,1,1], that normalise `context` [B,width,H,W]."""
        mean, variance = self.running_mean, self.running_var
        if self.training:
            frames = torch.stack(tuple(context))
            variance, mean = torch.var_mean(frames, (0, 1, 3, 4), correction=0)
            count = frames.numel() // self.num_features
            with torch.no_grad():
                self.running_mean.lerp_(mean, 0.1)
                self.running_var.lerp_(variance * (count / max(1, count - 1)), 0.1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return scale[:, None, None], (self.bias - mean * scale)[:, None, None]


class ReLUConvLSTMCell(SequenceCell):
    """Equation (3) of Shi et al. 2015 with ReLU for tanh, and normalised outputs.

    The cell state is a sum of terms none of which is negative, so that its own ReLU, in the
    hidden state, never acts: it is left out.

    Args:
        inputs: channels of the input.
        width: channels of the hidden and the cell state.
        kernel: side of the convolutions, odd.
        size: height and width of the maps, which fix the peepholes; these start at zero.
    """

    def __init__(self, inputs: int, width: int, kernel: int, size: tuple[int, int]) -> None:
        super().__init__(inputs, width, 4 * width, kernel, None)
        self.gates = Driven(width, 4 * width, kernel, inputs + width, None)
        self.peephole = nn.Parameter(torch.zeros(3, width, *size))
        self.norm = ContextNorm(width)

    def forward(
        self, frames: Sequence[Tensor] | int, state: State | None
    ) -> tuple[list[Tensor], State]:
        """Normalised hidden states of all steps; the last state, with the scale and the shift."""
        hidden, last = super().forward(frames, None if state is None else state[:2])
        scale, shift = self.norm.settle(hidden) if state is None else state[2:]
        return [torch.addcmul(shift, h, scale) for h in hidden], (*last, scale, shift)

    def step(self, drive: Tensor, state: State | None) -> State:
        """New hidden and cell state."""
        hidden, cell = (None, None) if state is None else state
        i, f, g, o = self.gates(drive, hidden).chunk(4, 1)
        if cell is None:
            cell = i.sigmoid() * g.relu()
        else:
            i, f = i + self.peephole[0] * cell, f + self.peephole[1] * cell
            cell = torch.addcmul(i.sigmoid() * g.relu(), f.sigmoid(), cell)
        return (o + self.peephole[2] * cell).sigmoid() * cell, cell


class UCF101StudyConvLSTM(LayerByLayer):
    """The study's ConvLSTM with peepholes, two layers at full resolution, one frame ahead.

    What differs from the paper's (`convlstm`): ReLU for tanh, so that no state is bounded; batch
    normalisation after each layer; frames not patched; the last hidden state alone gives the
    next frame, by a 3x3 convolution and a sigmoid. In the study's code the peepholes are memory
    that nobody has set (`torch.Tensor(...)`), so that a run starts from whatever lay there; here
    they start at zero.

    The study trains on the one frame after ten. Here the loss is the MSE of the whole horizon, each
    prediction read back, and the layers' states go on; the frames after the context are normalised
    by the context's statistics, which is what the running statistics stand for in evaluation.
    Predictions start dark (see `LayerByLayer`), the study's mid-grey. Over contexts much longer
    than those trained on, states may grow without bound. The study's halving of the learning rate
    on a plateau is left out.

    Frames are not patched, so the small size is narrow, and slow: after 120 s on two CPU cores,
    some 115 steps, it is level with the mean frame on Moving MNIST.
    """

    name = "ucf101_study_convlstm"
    paper = Paper(
        "Comparative Analysis of Video Generation Models: ConvLSTM, PredRNN, and MaxViT",
        2024,
        "https://github.com/hash2004/video-generation-ViT-PredRNN-ConvLSTM",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="the study, UCF101, without its halving on a plateau",
                learning_rate=1e-3,
                batch_size=95,
            )
        ),
        "small": Size(
            small_recipe(1e-2, "learning rate not tuned"),
            {"width": 14},
        ),
    }

    def __init__(
        self, frame_shape: FrameShape, *, width: int = 64, layers: int = 2, kernel: int = 3
    ) -> None:
        channels, *size = frame_shape
        cells = [
            ReLUConvLSTMCell(width if layer else channels, width, kernel, (size[0], size[1]))
            for layer in range(layers)
        ]
        super().__init__(frame_shape, cells, width=width, kernel=kernel)
