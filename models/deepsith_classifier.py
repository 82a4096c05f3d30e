"""DeepSITH classifier: layers of log-compressed memory, and pictures drawn of what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from models.contract import Classifier, FrameShape, Paper, Recipe, Size, small_recipe
from models.layers.padding import repeat_first_frame
from models.sith import LogMemory

NODES, SHARPNESS = 5, 50  # of both memories
LONGEST = (20.0, 200.0)  # frames that each memory reaches back
HIDDEN = (10, 20)  # features after each memory
FRAMES = 3  # that the last convolution spans


class MemoryLinear(nn.Module):
    """ReLU of a weight-normalised linear layer on all nodes of a memory of `inputs` features.

    The sums over features and over time commute. Each frame is therefore first brought down to
    `outputs` numbers a node, and only these are remembered.
    """

    def __init__(self, inputs: int, outputs: int, tau_max: float) -> None:
        super().__init__()
        self.linear = weight_norm(nn.Linear(NODES * inputs, outputs))
        self.memory = LogMemory(NODES, 1.0, tau_max, SHARPNESS)

    def weights(self) -> Tensor:
        """The weights of all outputs of the first node, then of the second, ...: [n*o,inputs]."""
        weight: Tensor = self.linear.weight
        return weight.view(len(weight), NODES, -1).transpose(0, 1).flatten(0, 1)

    def remember(self, x: Tensor) -> Tensor:
        """Features [B,T,outputs] for x [B,T,nodes*outputs], the frames times `weights`."""
        memories = self.memory(x.view(*x.shape[:2], NODES, -1))
        # Of each node's memory only what is meant for it: the diagonal.
        total = torch.einsum("btnno->bto", memories)
        return F.relu(total + self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B,T,outputs] for x [B,T,inputs]."""
        return self.remember(F.linear(x, self.weights()))


class DeepSITHClassifier(Classifier):
    """The DeepSITH of the Something-Something study.

    Each frame passes a 3x3 convolution without padding, all of whose outputs are remembered for
    20 frames and brought down to 10 features, these for 200 frames and to 20. Of them a linear
    layer draws a picture a frame; the logits come from the mean of a convolution over three
    pictures through a sigmoid.

    The convolution, the first linear layer and the memory between are all linear, so that each of
    the first layer's weights is seen through the convolution once a step, as a mask over the frame,
    instead of each frame: the 123,008 features a frame are never made.

    The published memory cuts the filter of 200 frames at 240, which loses 13 % of it, has its
    peaks at 1.02 of the nominal delays, and makes its first node 2.8 times too large; ours is right
    (see `LogMemory`). The first frame of a clip of fewer than three is repeated before it.
    """

    name = "deepsith_classifier"
    paper = Paper(
        "ConvLSTM vs SITH: SITH_something_something",
        2021,
        "https://github.com/J-Yash/convlstm-vs-sith",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="J-Yash/convlstm-vs-sith",
                origin="authors",
                schedule="plateau",
                plateau_factor=0.5,
                plateau_patience=2,
                learning_rate=8e-3,
                batch_size=10,
                optimizer="sgd",
                momentum=0.9,
                weight_decay=1e-5,
            )
        ),
        "small": Size(
            small_recipe(2e-3, "learning rate not tuned"),
            {"width": 16, "features": 64},
        ),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        classes: int,
        *,
        width: int = 32,
        picture: int = 32,
        features: int = 512,
    ) -> None:
        """Build.

        Args:
            frame_shape: channels, height, width; both sides at least 3.
            classes: how many.
            width: channels of the convolution of frames.
            picture: side of the pictures.
            features: channels of the convolution of pictures.

        Raises:
            ValueError: where the frame is smaller than the first convolution's kernel.
        """
        super().__init__(frame_shape, classes)
        channels, height, side = frame_shape
        if min(height, side) < 3:
            raise ValueError(
                f"frame height and width must be at least 3 (the kernel), not {height} x {side}"
            )
        self.seen_shape = (width, height - 2, side - 2)
        self.see = nn.Conv2d(channels, width, 3)
        self.first = MemoryLinear(width * (height - 2) * (side - 2), HIDDEN[0], LONGEST[0])
        self.second = MemoryLinear(*HIDDEN, LONGEST[1])
        self.draw = nn.Sequential(
            nn.Linear(HIDDEN[1], picture * picture), nn.Unflatten(2, (picture, picture))
        )
        self.look = nn.Conv3d(1, features, FRAMES, padding=(0, 1, 1))
        self.classifier = nn.Linear(features, classes)

    def forward(self, clip: Tensor) -> Tensor:
        """Logits [B,classes] of `clip` [B,T,C,H,W] in [0,1]; any T."""
        clip = repeat_first_frame(clip, FRAMES)
        hidden = self.second(self.first.remember(self.measure(clip)))
        looks = self.look(self.draw(hidden)[:, None]).sigmoid()
        logits: Tensor = self.classifier(looks.mean((2, 3, 4)))
        return logits

    def measure(self, clip: Tensor) -> Tensor:
        """The first layer's weights times every frame's convolution, [B,T,nodes*outputs]."""
        weights = self.first.weights().view(-1, *self.seen_shape)
        masks = F.conv_transpose2d(weights, self.see.weight)
        bias = None if self.see.bias is None else weights.sum((2, 3)) @ self.see.bias
        return F.linear(clip.flatten(2), masks.flatten(1), bias)
