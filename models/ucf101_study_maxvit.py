"""What the UCF101 study calls MaxViT: its blocks on one resolution, without the pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Predictor, Recipe, Size, small_recipe
from models.layers.partition_attention import Partition, group, relative_index, ungroup
from models.layers.window_rollout import roll_out


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate that sees all of them, averaged over the map; no biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.excite = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x [B,C,H,W] times their gates [B,C,1,1] in [0,1]."""
        gate: Tensor = self.excite(F.silu(self.squeeze(x.mean((2, 3), keepdim=True)))).sigmoid()
        return x * gate


class PostNormMBConv(nn.Module):
    """An inverted bottleneck normalised after each convolution; a shortcut where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = 4 * outputs
        self.shortcut = inputs == outputs and stride == 1
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, inner, 1),
            nn.BatchNorm2d(inner),
            nn.GELU(),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner),
            nn.BatchNorm2d(inner),
            nn.GELU(),
            SqueezeExcite(inner),
            nn.Conv2d(inner, outputs, 1),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,outputs,H/stride,W/stride] for x [B,inputs,H,W]."""
        y: Tensor = self.branch(x)
        return x + y if self.shortcut else y


class GroupAttention(nn.Module):
    """Pre-norm attention without biases in each group of a map, then a feed-forward layer.

    Args:
        width: channels of the map, a multiple of `head`.
        window: tokens to a group down and across.
        partition: "block" or "grid".
        head: channels of one attention head.
        dropout: share of attention weights and of each layer's outputs left out in training.
    """

    index: Tensor

    def __init__(
        self, width: int, window: int, partition: Partition, head: int, dropout: float
    ) -> None:
        super().__init__()
        self.window, self.partition, self.dropout = (window, window), partition, dropout
        self.heads = width // head
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.merge = nn.Sequential(nn.Linear(width, width, bias=False), nn.Dropout(dropout))
        self.bias = nn.Parameter(torch.randn((2 * window - 1) ** 2, self.heads))
        self.register_buffer("index", relative_index(self.window), persistent=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,H,W,width] for x [B,H,W,width]."""
        size = (x.shape[1], x.shape[2])
        groups = group(self.norm(x), self.window, self.partition)
        x = x + ungroup(self.attend(groups), size, self.window, self.partition)
        y: Tensor = x + self.feed_forward(x)
        return y

    def attend(self, groups: Tensor) -> Tensor:
        """Attention among the tokens of each group [B,groups,tokens,width]; same shape."""
        batch, count, tokens, width = groups.shape
        heads = self.query_key_value(groups).view(batch * count, tokens, 3, self.heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias[self.index].permute(2, 0, 1).to(query.dtype)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, bias, dropout)
        merged: Tensor = self.merge(mixed.transpose(1, 2).reshape(batch, count, tokens, width))
        return merged


class Block(nn.Module):
    """MBConv, block attention, grid attention."""

    def __init__(
        self, inputs: int, width: int, stride: int, window: int, head: int, dropout: float
    ) -> None:
        super().__init__()
        self.conv = PostNormMBConv(inputs, width, stride)
        self.attention = nn.Sequential(
            GroupAttention(width, window, "block", head, dropout),
            GroupAttention(width, window, "grid", head, dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,width,H/stride,W/stride] for x [B,inputs,H,W]."""
        y: Tensor = self.attention(self.conv(x).permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)


class UCF101StudyMaxViT(Predictor):
    """The study's "MaxViT": ten frames stacked on channels, five predicted at once.

    What differs from the paper's (see `maxvit`): only the first block halves the map, so that all
    stages work at half the frame's resolution and there is no pyramid; the stem keeps the
    resolution and has neither norm nor activation; MBConv normalises after its convolutions, has
    a shortcut only where shapes agree and squeezes to a quarter of the expanded width; windows
    and grids are 4x4; no biases in attention; no stochastic depth, but dropout. One transposed
    convolution and a sigmoid give the frames, without skip connections, and nothing but the
    order of the channels tells one time from another.

    A shorter context is led in by repeats of its first frame, of a longer one the last frames
    are used; a longer horizon is predicted in further passes over the predictions so far. The
    loss is the MSE of the whole horizon.

    The study fed it shuffled time: it sorts frames by file name as text (0, 1, 10, 100, ...), so
    that its published figures, far behind those of its recurrent models, do not compare.
    """

    name = "ucf101_study_maxvit"
    paper = Paper(
        "Comparative Analysis of Video Generation Models: ConvLSTM, PredRNN, and MaxViT",
        2024,
        "https://github.com/hash2004/video-generation-ViT-PredRNN-ConvLSTM",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(source="the study, UCF101", learning_rate=1e-4, batch_size=64),
            {"dropout": 0.1},
        ),
        "small": Size(
            small_recipe(1e-3, "learning rate not tuned"),
            {"stem": 32, "widths": (32, 64, 128), "depths": (1, 1, 1)},
        ),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        stem: int = 64,
        widths: Sequence[int] = (64, 128, 256, 512),
        depths: Sequence[int] = (2, 2, 2, 2),
        window: int = 4,
        head: int = 32,
        dropout: float = 0.0,
        window_frames: int = 10,
        pass_frames: int = 5,
    ) -> None:
        """The study's by default, without dropout.

        Args:
            frame_shape: channels, height, width; both sides multiples of 2 * `window`.
            stem: channels of the stem.
            widths: channels of each stage, multiples of `head`.
            depths: blocks of each stage.
            window: positions down and across in an attention group.
            head: channels of an attention head.
            dropout: share of activations left out in training.
            window_frames: frames read in one pass.
            pass_frames: frames predicted in one pass.

        Raises:
            ValueError: where the windows do not tile half the frame.
        """
        super().__init__(frame_shape)
        channels, height, width = frame_shape
        if height % (2 * window) or width % (2 * window):
            raise ValueError(
                f"frame height and width must be multiples of {2 * window} (windows of {window} "
                f"on maps of half the size), not {height} x {width}"
            )
        self.window_frames = window_frames
        self.stem = nn.Sequential(
            nn.Conv2d(window_frames * channels, stem, 3, padding=1),
            nn.Conv2d(stem, stem, 3, padding=1),
        )
        ends = [w for w, depth in zip(widths, depths, strict=True) for _ in range(depth)]
        self.blocks = nn.Sequential(
            *(
                Block(below, above, 1 if place else 2, window, head, dropout)
                for place, (below, above) in enumerate(zip([stem, *ends], ends, strict=False))
            )
        )
        self.output = nn.ConvTranspose2d(widths[-1], pass_frames * channels, 3, 2, 1, 1)

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next `horizon` frames [B,horizon,C,H,W], `pass_frames` to a pass."""
        return roll_out(self.next_frames, context, horizon, self.window_frames)

    def next_frames(self, frames: Tensor) -> Tensor:
        """The frames [B,pass_frames,C,H,W] after `frames` [B,window_frames,C,H,W], in [0,1]."""
        # Attention wants channels last; with all maps so laid out, nothing is copied between.
        stacked = frames.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        predicted: Tensor = self.output(self.blocks(self.stem(stacked))).sigmoid()
        return predicted.reshape(len(frames), -1, *frames.shape[2:])
