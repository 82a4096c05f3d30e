"""SITH: one log-compressed memory of the frames themselves (Shankar & Howard 2012)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from models.contract import FrameShape, Paper, Recipe, Size, small_recipe
from models.layers.damped import damped
from models.layers.log_memory import LogMemory
from models.layers.memory_stack import MemoryLayer, MemoryStack


class ResidualBlock(nn.Module):
    """x + two convolutions of x, normalised first; starts close to x."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.GroupNorm(1, width),
            nn.Conv2d(width, width, kernel, padding="same"),
            nn.SiLU(),
            damped(nn.Conv2d(width, width, kernel, padding="same")),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,width,h,w]."""
        y: Tensor = x + self.branch(x)
        return y


class SITH(MemoryStack):
    """A log-compressed memory of every pixel, and a convolutional network that reads it.

    The memory holds `nodes` weighted means of the past of each pixel, around delays from 1 to
    `tau_max` frames. They are all that the network sees: a 3x3 convolution of their patches and
    residual blocks make the next frame. Nothing before the network is learnt, and the network runs
    only where a frame is predicted, so that a long context costs next to nothing: each frame of it
    about 150 multiplications a pixel, and no memory after it was read.

    The study that compares ConvLSTM and SITH on Moving MNIST (J-Yash/convlstm-vs-sith) does not
    publish its network; this one is ours, with 3,576,208 parameters at the published size.
    """

    name = "sith"
    paper = Paper(
        "A Scale-Invariant Internal Representation of Time",
        2012,
        "https://doi.org/10.1162/NECO_a_00212",
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
            small_recipe(2e-3, "learning rate by validation MSE after 300 steps"),
            {"width": 66, "blocks": 2},
        ),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 128,
        blocks: int = 4,
        kernel: int = 5,
        patch: int = 4,
        nodes: int = 16,
        tau_max: float = 1000.0,
        k: int = 8,
    ) -> None:
        """Build.

        Args:
            frame_shape: channels, height, width; both sides multiples of `patch`.
            width: channels of the network.
            blocks: residual blocks, of two convolutions each.
            kernel: side of their convolutions, odd.
            patch: side of the squares that become channels.
            nodes: delays that the memory holds.
            tau_max: the longest of them in frames.
            k: their sharpness.

        Raises:
            ValueError: where the frame is not a whole number of patches.
        """
        super().__init__(frame_shape, width=width, patch=patch)
        self.encoder = nn.Identity()
        mix = nn.Sequential(
            nn.Conv2d(nodes * self.patched_shape[0], width, 3, padding="same"),
            *(ResidualBlock(width, kernel) for _ in range(blocks)),
            nn.GroupNorm(1, width),
            nn.SiLU(),
        )
        self.layers = nn.ModuleList([MemoryLayer(LogMemory(nodes, 1.0, tau_max, k), mix)])
