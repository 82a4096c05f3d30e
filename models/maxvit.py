"""MaxViT: a pyramid of MBConv, block attention and grid attention (Tu et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Predictor, Recipe, Size, small_recipe
from models.layers.damped import damped
from models.layers.mbconv import MBConv
from models.layers.partition_attention import PartitionAttention, window_side
from models.layers.window_rollout import roll_out


class MaxViTBlock(nn.Module):
    """MBConv, block attention, grid attention; a stride of 2 halves the map first."""

    def __init__(
        self, inputs: int, width: int, size: tuple[int, int], stride: int, window: int, head: int
    ) -> None:
        super().__init__()
        self.conv = MBConv(inputs, width, stride)
        sides = (window_side(size[0], window), window_side(size[1], window))
        self.attention = nn.Sequential(
            PartitionAttention(width, size, sides, "block", head),
            PartitionAttention(width, size, sides, "grid", head),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,width,H/stride,W/stride] for x [B,inputs,H,W]."""
        y: Tensor = self.attention(self.conv(x).permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)


class Rise(nn.Module):
    """One step up the decoder: a deep map doubled in size, joined with the encoder's map there."""

    def __init__(self, deep: int, width: int) -> None:
        super().__init__()
        self.grow = nn.Conv2d(deep, 4 * width, 1)
        self.shortcut = nn.Conv2d(2 * width, width, 1)
        self.branch = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.GELU(approximate="tanh"),
            damped(nn.Conv2d(2 * width, width, 3, padding=1)),
        )

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Map [B,width,2H,2W] for deep [B,deep,H,W] and skip [B,width,2H,2W]."""
        both = torch.cat((F.pixel_shuffle(self.grow(deep), 2), skip), 1)
        y: Tensor = self.shortcut(both) + self.branch(both)
        return y


class MaxViT(Predictor):
    """A MaxViT encoder over stacked frames, and a decoder with skip connections to pixels.

    The network maps `window_frames` context frames, stacked on channels, to the `window_frames`
    that follow in one pass. A shorter context is led in by repeats of its first frame, of a longer
    one the last frames are used; a longer horizon is predicted in further passes over the
    predictions so far, a shorter one is cut from the first pass.

    The encoder is the paper's: a stem that halves the frame, then stages that each halve it
    again. On maps this small the attention windows are `window` positions a side (paper: 7), more
    where that does not divide the map and the whole map where it is smaller. The decoder (the
    paper has none) doubles the map back stage by stage, joining the encoder's map each time.

    The small size is fewer layers at more channels: on 64x64 frames MaxViT-T costs 1.3 GFLOP a
    sequence, less than the 3 GFLOP that the small sizes of all models share.
    """

    name = "maxvit"
    paper = Paper("MaxViT: Multi-Axis Vision Transformer", 2022, "https://arxiv.org/abs/2204.01697")
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="none for this task; OpenSTL's of its attention models on Moving MNIST",
                learning_rate=5e-4,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": Size(
            small_recipe(1e-3, "learning rate by validation MSE after 400 to 600 steps"),
            {"stem": 160, "widths": (96, 192, 384), "depths": (2, 2, 2)},
        ),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        stem: int = 64,
        widths: Sequence[int] = (64, 128, 256, 512),
        depths: Sequence[int] = (2, 2, 5, 2),
        window: int = 4,
        head: int = 32,
        window_frames: int = 10,
    ) -> None:
        """MaxViT-T by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of 2**(stages + 1).
            stem: channels of the stem.
            widths: channels of each stage, multiples of `head`.
            depths: blocks of each stage.
            window: positions down and across in an attention group.
            head: channels of an attention head.
            window_frames: frames read, and predicted, in one pass.

        Raises:
            ValueError: where the frame cannot be halved that often.
        """
        super().__init__(frame_shape)
        channels, height, width = frame_shape
        shrink = 2 ** (len(widths) + 1)
        if height % shrink or width % shrink:
            raise ValueError(
                f"frame height and width must be multiples of {shrink} (the stem and each of the "
                f"{len(widths)} stages halve them), not {height} x {width}"
            )
        self.window_frames = window_frames
        self.stem = nn.Sequential(
            nn.Conv2d(window_frames * channels, stem, 3, 2, 1, bias=False),
            nn.BatchNorm2d(stem),
            nn.GELU(approximate="tanh"),
            nn.Conv2d(stem, stem, 3, 1, 1),
        )
        self.stages, self.rises = nn.ModuleList(), nn.ModuleList()
        below = stem
        for level, (stage_width, depth) in enumerate(zip(widths, depths, strict=True), start=2):
            size = (height >> level, width >> level)
            self.stages.append(
                nn.Sequential(
                    MaxViTBlock(below, stage_width, size, 2, window, head),
                    *(
                        MaxViTBlock(stage_width, stage_width, size, 1, window, head)
                        for _ in range(depth - 1)
                    ),
                )
            )
            self.rises.insert(0, Rise(stage_width, below))
            below = stage_width
        self.head = damped(nn.Conv2d(stem, 4 * window_frames * channels, 3, padding=1))

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next `horizon` frames [B,horizon,C,H,W], `window_frames` to a pass."""
        return roll_out(self.next_window, context, horizon, self.window_frames)

    def next_window(self, frames: Tensor) -> Tensor:
        """The frames after `frames`, both [B,window_frames,C,H,W]."""
        # Attention wants channels last; with all maps so laid out, nothing is copied between.
        stacked = frames.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        maps = [self.stem(stacked)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        x = maps.pop()
        for rise in self.rises:
            x = rise(x, maps.pop())
        return F.pixel_shuffle(self.head(x), 2).view_as(frames)
