"""What the UCF101 study calls PredRNN: an LSTM with a second, slower memory in each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Recipe, Size, small_recipe
from models.layers.layer_by_layer import LayerByLayer
from models.layers.sequence_cell import Driven, SequenceCell, State


class TwoMemoryCell(SequenceCell):
    """A convolutional LSTM with five gates, whose second memory follows its cell state.

    i, f, o, g, r from convolutions of input, hidden state and memory;
    c' = f c + i relu(g);  m' = r m + (1 - r) c';  h' = o relu(c' + m').

    Neither c nor m is ever negative, so that the last ReLU never acts: it is left out. Hidden
    state and memory are convolved side by side in one product.

    Args:
        inputs: channels of the input.
        width: channels of the hidden state, the cell state and the memory.
        kernel: side of the convolutions, odd.
    """

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__(inputs, width, 5 * width, kernel, None)
        # The study convolves input, hidden state and memory apart: so are they initialised.
        self.read = nn.Sequential(nn.Conv2d(inputs, 5 * width, kernel, padding="same"))
        self.gates = Driven(2 * width, 5 * width, kernel, width, None)

    def step(self, drive: Tensor, state: State | None) -> State:
        """New hidden state, cell state and memory."""
        if state is None:
            i, _, o, g, r = drive.chunk(5, 1)
            cell = i.sigmoid() * g.relu()
            memory = (1 - r.sigmoid()) * cell
        else:
            hidden, cell, memory = state
            i, f, o, g, r = self.gates(drive, torch.cat((hidden, memory), 1)).chunk(5, 1)
            cell = torch.addcmul(i.sigmoid() * g.relu(), f.sigmoid(), cell)
            memory = cell.lerp(memory, r.sigmoid())
        return o.sigmoid() * (cell + memory), cell, memory


class UCF101StudyPredRNN(LayerByLayer):
    """The study's "PredRNN", two layers at full resolution, one frame ahead. It is not PredRNN.

    What differs from the paper's (`predrnn`): each layer keeps a memory of its own, which mixes
    in the new cell state through one gate, where PredRNN has one memory that zigzags through all
    layers and steps, with input, forget and candidate gates of its own; cell state and memory are
    added, not merged by a 1x1 convolution, and not seen by the output gate; no forget bias; ReLU
    for tanh, so that no state is bounded; frames not patched; a 3x3 convolution and a sigmoid
    turn the last hidden state into the next frame.

    The study trains on the one frame after ten. Here the loss is the MSE of the whole horizon,
    each prediction read back, and the layers' states go on. Predictions start dark (see
    `LayerByLayer`), the study's mid-grey. Over contexts much longer than those trained on, states
    may grow without bound. The study's halving of the learning rate on a plateau is left out.

    Frames are not patched, so the small size is narrow.
    """

    name = "ucf101_study_predrnn"
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
                batch_size=160,
            )
        ),
        "small": Size(
            small_recipe(3e-3, "learning rate not tuned"),
            {"width": 10},
        ),
    }

    def __init__(
        self, frame_shape: FrameShape, *, width: int = 64, layers: int = 2, kernel: int = 3
    ) -> None:
        cells = [
            TwoMemoryCell(width if layer else frame_shape[0], width, kernel)
            for layer in range(layers)
        ]
        super().__init__(frame_shape, cells, width=width, kernel=kernel)
