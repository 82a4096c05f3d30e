"""MaxViT: a pyramid of MBConv, block attention and grid attention (Tu et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import (
    FrameShape,
    Paper,
    Predictor,
    Recipe,
    Size,
    require_multiple,
    small_recipe,
)
from models.layers.drop_path import DropPath
from models.layers.window_partition import (
    Partition,
    relative_position_index,
    window_partition,
    window_reverse,
    window_side,
)
from models.layers.window_rollout import roll_out, window_on

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

NORM_EPSILON = 1e-3  # of batch normalisation, as in the authors' code


def small_init(layer: Layer) -> Layer:
    """`layer`, its initial weights a tenth as large and its bias zero.

    As the last layer of a residual branch it makes a deep network start close to the identity,
    where larger learning rates are stable (De & Smith 2020, "Batch Normalization Biases Residual
    Blocks Towards the Identity Function in Deep Networks").
    """
    with torch.no_grad():
        layer.weight.mul_(0.1)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """The authors' batch normalisation, but for how fast its running statistics follow.

    Theirs follow by 1 % a step, over hundreds of thousands of steps; budgets here may be hundreds,
    after which such statistics would still hold much of where they started.
    """
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON)


class HalvingConv2d(nn.Conv2d):
    """A 3x3 convolution of stride 2, padded by zeros below and to the right alone.

    TensorFlow's "same", by which the authors' model is padded: where PyTorch's padding of 1 centres
    an output on pixel (0, 0) of each square of four, this one does on (1, 1).
    """

    def __init__(self, inputs: int, outputs: int, *, groups: int = 1) -> None:
        super().__init__(inputs, outputs, 3, 2, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,outputs,H/2,W/2] for x [B,inputs,H,W]; H and W are even."""
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate that sees all of them, averaged over the map (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int, *, bias: bool = True) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1, bias=bias)
        self.excite = nn.Conv2d(squeezed, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x [B,C,H,W] times their gates [B,C,1,1] in [0,1]."""
        gate: Tensor = self.excite(F.silu(self.squeeze(x.mean((2, 3), keepdim=True)))).sigmoid()
        return x * gate


class MBConv(nn.Module):
    """Pre-norm MBConv as in the paper's appendix A: x' = shortcut(x) + branch(x).

    The branch normalises, expands by `expansion`, convolves each channel alone (with the stride),
    scales channels by squeeze and excitation to a quarter of `outputs`, and projects. The
    shortcut averages where the stride is 2 and projects where the channels change. In training
    the branch is left out of a share `drop_path` of the sequences.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        expansion: int = 4,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        inner = expansion * outputs
        self.branch = nn.Sequential(
            batch_norm(inputs),
            nn.Conv2d(inputs, inner, 1, bias=False),
            batch_norm(inner),
            nn.GELU(approximate="tanh"),
            HalvingConv2d(inner, inner, groups=inner)
            if stride == 2
            else nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False),
            batch_norm(inner),
            nn.GELU(approximate="tanh"),
            SqueezeExcite(inner, max(1, outputs // 4)),
            small_init(nn.Conv2d(inner, outputs, 1)),
        )
        self.drop_path = DropPath(drop_path)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(nn.AvgPool2d(stride))
        if inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,outputs,H/stride,W/stride] for x [B,inputs,H,W]."""
        y: Tensor = self.shortcut(x) + self.drop_path(self.branch(x))
        return y


class PartitionAttention(nn.Module):
    """Pre-norm attention in each window of a map, then a pre-norm feed-forward layer.

    x' = x + attention(norm(x)); x'' = x' + mlp(norm(x')), with a learnt bias for each head and
    relative position (equation 1).

    Args:
        width: channels of the map.
        map_shape: height and width of the map.
        window: tokens to a window down and across; both must divide the map's.
        partition: "block" or "grid".
        head_width: channels of one attention head; must divide `width`.
        drop_path: share of the sequences that each of the two branches is left out of in training.
    """

    index: Tensor

    def __init__(
        self,
        width: int,
        map_shape: tuple[int, int],
        window: tuple[int, int],
        partition: Partition,
        head_width: int,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.drop_path = DropPath(drop_path)
        self.map_shape, self.window, self.partition = map_shape, window, partition
        self.heads = width // head_width
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = small_init(nn.Linear(width, width))
        offsets = (2 * window[0] - 1) * (2 * window[1] - 1)
        self.position_bias = nn.Parameter(torch.zeros(self.heads, offsets))
        self.register_buffer("index", relative_position_index(window), persistent=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(approximate="tanh"),
            small_init(nn.Linear(4 * width, width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,H,W,width] for x [B,H,W,width]."""
        windows = window_partition(self.norm(x), self.window, self.partition)
        attended = window_reverse(self.attend(windows), self.map_shape, self.window, self.partition)
        x = x + self.drop_path(attended)
        y: Tensor = x + self.drop_path(self.feed_forward(x))
        return y

    def attend(self, windows: Tensor) -> Tensor:
        """Attention among the tokens of each window [B,windows,tokens,width]; same shape."""
        batch, count, tokens, width = windows.shape
        heads = self.query_key_value(windows).view(batch * count, tokens, 3, self.heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.position_bias[:, self.index].to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        y: Tensor = self.project(mixed.transpose(1, 2).reshape(batch, count, tokens, width))
        return y


class MaxViTBlock(nn.Module):
    """MBConv, block attention, grid attention; a stride of 2 halves the map first.

    Args:
        inputs: channels of the map that comes in.
        width: channels of the map that goes out.
        map_shape: its height and width.
        stride: 1 or 2.
        window: tokens to an attention window, down and across, at least.
        head: channels of one attention head.
        drop_path: share of the sequences that each branch is left out of in training.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        map_shape: tuple[int, int],
        stride: int,
        window: int,
        head: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.conv = MBConv(inputs, width, stride, drop_path=drop_path)
        sides = (window_side(map_shape[0], window), window_side(map_shape[1], window))
        self.attention = nn.Sequential(
            PartitionAttention(width, map_shape, sides, "block", head, drop_path),
            PartitionAttention(width, map_shape, sides, "grid", head, drop_path),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,width,H/stride,W/stride] for x [B,inputs,H,W]."""
        y: Tensor = self.attention(self.conv(x).permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)


class DecoderBlock(nn.Module):
    """A deep map at twice its height and width, joined with the encoder's map there."""

    def __init__(self, deep: int, width: int) -> None:
        super().__init__()
        self.upsample = nn.Sequential(nn.Conv2d(deep, 4 * width, 1), nn.PixelShuffle(2))
        self.shortcut = nn.Conv2d(2 * width, width, 1)
        self.branch = nn.Sequential(
            batch_norm(2 * width),
            nn.GELU(approximate="tanh"),
            small_init(nn.Conv2d(2 * width, width, 3, padding=1)),
        )

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Map [B,width,2H,2W] for deep [B,deep,H,W] and skip [B,width,2H,2W]."""
        both = torch.cat((self.upsample(deep), skip), 1)
        y: Tensor = self.shortcut(both) + self.branch(both)
        return y


class MaxViT(Predictor):
    """A MaxViT encoder over stacked frames, and a decoder with skip connections to pixels.

    The network maps `window_frames` context frames, stacked on channels, to the `window_frames`
    that follow in one pass. Before a shorter context its first frame is repeated, of a longer one
    the last frames are used; a longer horizon is predicted in further passes over the predictions
    so far, a shorter one is cut from the first pass.

    The encoder is the paper's: a stem that halves the frame, then stages that each halve it
    again. On maps this small the attention windows are `window` positions a side (paper: 7), more
    where that does not divide the map and the whole map where it is smaller. The decoder (the
    paper has none) doubles the map back stage by stage, joining the encoder's map each time.

    Batch normalisation (but for how fast its statistics follow), padding and stochastic depth, at
    MaxViT-T's rate, are those of the authors' code. Its initial weights, all from N(0, .02), are
    not: here they are PyTorch's, a tenth of these at the end of each branch. After 120 steps of the
    small size, batches of 4 at a rate of 1e-3, validation MSE on Moving MNIST was .0349 and .0347
    (two seeds) from theirs, .0323 and .0331 from these; both without stochastic depth, with which
    it was .0320 and .0339 from these.

    The small size is what did best of five trials (docs/tuning.md): one block a stage, at few
    channels.
    """

    name = "maxvit"
    paper = Paper("MaxViT: Multi-Axis Vision Transformer", 2022, "https://arxiv.org/abs/2204.01697")
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="none for this task; OpenSTL's of its attention models on Moving MNIST",
                origin="borrowed",
                learning_rate=5e-4,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": Size(
            small_recipe(1.5e-3, "best of 5 trials on Moving MNIST"),
            {"stem": 64, "widths": (32, 64, 128), "depths": (1, 1, 1)},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "stem": (32, 64, 96, 160),
        "widths": ((32, 64, 128), (64, 128, 256), (96, 192, 384)),
        "depths": ((1, 1, 1), (2, 2, 2), (2, 2, 4)),
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
        drop_path: float = 0.2,
    ) -> None:
        """MaxViT-T by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of 2**(stages + 1).
            stem: channels of the stem.
            widths: channels of each stage, multiples of `head`.
            depths: blocks of each stage.
            window: positions down and across in an attention window.
            head: channels of an attention head.
            window_frames: frames read, and predicted, in one pass. A suite gives
                it the data set's context, up to 20, unless it is written.
            drop_path: the rate of stochastic depth towards which it rises from block to block.

        Raises:
            ValueError: where the frame cannot be halved that often.
        """
        super().__init__(frame_shape)
        halvings = len(widths) + 1
        require_multiple(
            frame_shape, 2**halvings, f"the stem and each of the {len(widths)} stages halve them"
        )
        channels, height, width = frame_shape
        self.window_frames = window_frames
        self.stem = nn.Sequential(
            HalvingConv2d(window_frames * channels, stem),
            batch_norm(stem),
            nn.GELU(approximate="tanh"),
            nn.Conv2d(stem, stem, 3, 1, 1),
        )
        self.stages, self.decoder = nn.ModuleList(), nn.ModuleList()
        rates = iter([drop_path * place / sum(depths) for place in range(sum(depths))])
        below = stem
        for level, (stage_width, depth) in enumerate(zip(widths, depths, strict=True), start=2):
            map_shape = (height >> level, width >> level)
            self.stages.append(
                nn.Sequential(
                    *(
                        MaxViTBlock(
                            stage_width if place else below,
                            stage_width,
                            map_shape,
                            1 if place else 2,
                            window,
                            head,
                            next(rates),
                        )
                        for place in range(depth)
                    )
                )
            )
            self.decoder.insert(0, DecoderBlock(stage_width, below))
            below = stage_width
        self.output = nn.Sequential(
            small_init(nn.Conv2d(stem, 4 * window_frames * channels, 3, padding=1)),
            nn.PixelShuffle(2),
        )

    @classmethod
    def options_on(cls, context_frames: int, horizon: int) -> Mapping[str, Any]:
        """A window of the whole context."""
        return {"window_frames": window_on(context_frames)}

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
        for block in self.decoder:
            x = block(x, maps.pop())
        predicted: Tensor = self.output(x)
        return predicted.view_as(frames)
