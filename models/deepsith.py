"""DeepSITH: log-compressed memories in layers (Jacques et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import nn

from models.contract import FrameShape, Paper, Recipe, Size, small_recipe
from models.layers.log_memory import LogMemory
from models.layers.memory_stack import MemoryLayer, MemoryStack


class DeepSITH(MemoryStack):
    """Layers of log-compressed memory, each followed by a convolution over its nodes and channels.

    As in the paper, every layer remembers what the layer below made of the frames, and the layers
    reach further back one after the other. In place of the paper's dense layer and batch
    normalisation stand a convolution and group normalisation, so that what is remembered and mixed
    keeps its place in the frame.

    The study that compares ConvLSTM and SITH on Moving MNIST (J-Yash/convlstm-vs-sith) does not
    publish its network; this one is ours, with 3,560,720 parameters at the published size. The
    study's network for Something-Something V2 is `deepsith_recogniser`.
    """

    name = "deepsith"
    paper = Paper(
        "DeepSITH: Efficient Learning via Decomposition of What and When Across Time Scales",
        2021,
        "https://arxiv.org/abs/2104.04646",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="none for this task; OpenSTL's of its recurrent models on Moving MNIST",
                learning_rate=5e-4,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": Size(
            small_recipe(3e-3, "learning rate not tuned"),
            {"width": 40},
        ),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 128,
        kernel: int = 3,
        patch: int = 4,
        nodes: int = 8,
        tau_max: Sequence[float] = (10.0, 100.0, 1000.0),
        k: int = 8,
    ) -> None:
        """Build.

        Args:
            frame_shape: channels, height, width; both sides multiples of `patch`.
            width: channels of the features.
            kernel: side of the convolutions, odd.
            patch: side of the squares that become channels.
            nodes: delays that each memory holds, the shortest of one frame.
            tau_max: the longest delay of each layer's memory in frames.
            k: their sharpness.

        Raises:
            ValueError: where the frame is not a whole number of patches.
        """
        super().__init__(frame_shape, width=width, patch=patch)
        self.encoder = nn.Conv2d(self.patched_shape[0], width, 3, padding="same")
        self.layers = nn.ModuleList(
            MemoryLayer(
                LogMemory(nodes, 1.0, longest, k),
                nn.Sequential(
                    nn.Conv2d(nodes * width, width, kernel, padding="same"),
                    nn.GroupNorm(1, width),
                    nn.SiLU(),
                ),
            )
            for longest in tau_max
        )
