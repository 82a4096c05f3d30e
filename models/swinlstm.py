"""SwinLSTM: LSTM cells made of Swin transformer blocks (Tang et al. 2023).

SwinLSTM-B has one cell, SwinLSTM-D cells at three resolutions, down and up again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import (
    FrameShape,
    Paper,
    Predictor,
    Recipe,
    Size,
    TrainingBatch,
    require_multiple,
    small_recipe,
)
from models.layers.precision import widened
from models.layers.window_attention import WindowAttention

EMBEDDED_AT_ONCE = 32  # frames: enough to fill the machine, bounded for contexts of thousands

CellState = tuple[Tensor, Tensor]
"""Hidden and cell state, each [B,h,w,width]."""


class SwinBlock(nn.Module):
    """Pre-norm window attention, then a pre-norm feed-forward layer; it may read a second map.

    x' = x + attention(fuse(norm(x), norm(other))); x'' = x' + mlp(norm(x')). Both maps go through
    the same first norm and one linear layer back to `width`; the residual is x alone. A block that
    is never given a second map has no such layer.

    Args:
        width: channels of the map.
        map_shape: height and width of the map.
        window: tokens to an attention window, down and across, at least.
        heads: attention heads; must divide `width`.
        shifted: whether the windows are moved by half.
        fuses: whether it reads a second map.
    """

    def __init__(
        self,
        width: int,
        map_shape: tuple[int, int],
        window: int,
        heads: int,
        *,
        shifted: bool,
        fuses: bool,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fuse = nn.Linear(2 * width, width) if fuses else None
        self.attention = WindowAttention(width, map_shape, window, heads, shifted=shifted)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor, other: Tensor, bias: Tensor, drop_path: Tensor | None) -> Tensor:
        """Map [B,H,W,width] for the maps x and `other`, both [B,H,W,width].

        Args:
            x: the map that is passed on.
            other: the map read beside it by a block that fuses.
            bias: of the attention, as its `bias()` gives it.
            drop_path: factors [2,B,1,1,1] of the two branches (`draw_drop_path`); None for 1.
        """
        if self.fuse is None:
            y: Tensor = self.norm(x)
        else:
            y = self.fuse(self.norm(torch.stack((x, other), 3)).flatten(3))
        y = self.attention(y, bias)
        x = x + (y if drop_path is None else drop_path[0] * y)
        y = self.feed_forward(x)
        return x + (y if drop_path is None else drop_path[1] * y)


def require_rates(rates: Sequence[float]) -> None:
    """Raise ValueError where a branch would always be dropped, or one is no rate."""
    if not all(0 <= rate < 1 for rate in rates):
        raise ValueError(f"drop_path is a rate from 0 to below 1, not {max(rates, key=abs)}")


def draw_drop_path(rates: Tensor, steps: int, batch: TrainingBatch) -> Tensor:
    """Factors [steps,blocks,2,B,1,1,1] of the branches of blocks that are dropped at `rates`.

    Stochastic depth (Huang et al. 2016): each branch is left out of each sequence and step with
    its block's rate [blocks], and else scaled up so that its mean stays.
    """
    rates = rates.view(-1, 1, 1, 1, 1, 1)
    draws = batch.uniform(steps, len(rates), 2, len(batch.clip), 1, 1, 1, clips=3)
    return (draws >= rates) / (1 - rates)


class SwinLSTMCell(nn.Module):
    """An LSTM with a stack of Swin blocks where ConvLSTM has a convolution.

    F = blocks(x, h); g = sigmoid(F); c' = g * (c + tanh(F)); h' = g * tanh(c'): one gate for
    forgetting, input and output. As in the authors' code the first block reads x and h, those of
    odd number only the block before, and every further even one the block before and x again,
    not h.

    Args:
        width: channels of the input and of both states.
        map_shape: height and width of the maps.
        window: tokens to an attention window, down and across, at least.
        heads: attention heads; must divide `width`.
        depth: blocks.
    """

    def __init__(
        self, width: int, map_shape: tuple[int, int], window: int, heads: int, depth: int
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(width, map_shape, window, heads, shifted=n % 2 == 1, fuses=n % 2 == 0)
            for n in range(depth)
        )

    def biases(self) -> list[Tensor]:
        """The attention bias of each block, the same for all steps."""
        return [layer.bias() for layer in self.modules() if isinstance(layer, WindowAttention)]

    def forward(
        self, x: Tensor, state: CellState | None, biases: Sequence[Tensor], drop_path: Tensor | None
    ) -> CellState:
        """New state for x [B,h,w,width]; a state of None is all zeros.

        Args:
            x: the map of this step.
            state: what the last step returned.
            biases: what `biases` returned for these weights.
            drop_path: factors [blocks,2,B,1,1,1] of the blocks' branches; None for 1.
        """
        x = widened(x)  # the blocks add to it one after another, the cell from step to step
        hidden, cell = (torch.zeros_like(x), None) if state is None else state
        features, other = x, hidden
        for n, block in enumerate(self.blocks):
            factors = None if drop_path is None else drop_path[n]
            features = block(features, other, biases[n], factors)
            other = x
        gate, update = features.sigmoid(), features.tanh()
        cell = gate * (update if cell is None else cell + update)
        return gate * cell.tanh(), cell


class PatchMerging(nn.Module):
    """A map of half the height and width: 2x2 tokens normalised and projected to twice as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.project = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,h/2,w/2,2*width] of x [B,h,w,width]."""
        batch, height, width, channels = x.shape
        squares = x.view(batch, height // 2, 2, width // 2, 2, channels).transpose(2, 3)
        y: Tensor = self.project(self.norm(squares.flatten(3)))
        return y


class PatchExpanding(nn.Module):
    """A map of twice the height and width: tokens projected, split in 2x2, normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(width // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,2*h,2*w,width/2] of x [B,h,w,width]."""
        batch, height, width, channels = x.shape
        squares = self.project(x).view(batch, height, width, 2, 2, channels // 2)
        y: Tensor = self.norm(squares.transpose(2, 3).reshape(batch, 2 * height, 2 * width, -1))
        return y


class Stage(NamedTuple):
    """One cell: `depth` blocks of `heads` heads on maps that were halved `level` times."""

    level: int
    depth: int
    heads: int


class SwinLSTM(Predictor):
    """SwinLSTM cells one after another on patches, predicting frame by frame.

    A stage whose level differs by one from that of the stage before gets its map merged (down,
    twice the channels) or expanded (up, half of them); after the last stage the map returns to
    level 0. From there one transposed convolution of stride 2 and a sigmoid make pixels of
    patches of 2x2, the published ones; every further doubling of the patch is undone by one more
    transposed convolution before that, with GroupNorm and LeakyReLU as in VMRNN (the authors' code
    gives frames of the wrong height and width there).

    Training runs free after the context, as testing does, and scores every next frame.
    """

    paper = Paper(
        "SwinLSTM: Improving Spatiotemporal Prediction Accuracy using Swin Transformer and LSTM",
        2023,
        "https://arxiv.org/abs/2308.09891",
    )
    drop_rates: Tensor

    @abstractmethod
    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        stages: Sequence[Stage],
        drop_rates: Sequence[float],
        width: int,
        window: int,
        patch: int,
    ) -> None:
        """Build `stages`, whose blocks in their order are dropped at `drop_rates` in training.

        Args:
            frame_shape: channels, height, width; both sides multiples of `patch` and of what the
                stages halve further.
            stages: the cells in their order.
            drop_rates: of all blocks.
            width: channels of the maps at level 0; they double with each halving.
            window: tokens to an attention window, down and across.
            patch: side of the squares of pixels that become tokens.

        Raises:
            ValueError: where the patch is no power of two from 2 on, or does not tile the frame,
                or the map cannot be halved as often as the stages ask, or heads do not divide
                channels.
        """
        super().__init__(frame_shape)
        if patch < 2 or patch & (patch - 1):
            raise ValueError(f"the patch must be 2, 4, 8, ... (a power of two), not {patch}")
        channels, height, breadth = frame_shape
        halvings = max(stage.level for stage in stages)
        require_multiple(
            frame_shape, patch << halvings, f"patches of {patch}, halved {halvings} times"
        )
        height, breadth = height // patch, breadth // patch
        self.patch = patch
        self.project = nn.Linear(channels * patch * patch, width)
        self.norm = nn.LayerNorm(width)
        self.cells = nn.ModuleList(
            SwinLSTMCell(width << level, (height >> level, breadth >> level), window, heads, depth)
            for level, depth, heads in stages
        )
        levels = [0, *(stage.level for stage in stages), 0]
        self.resampled = nn.ModuleList(
            resampling(width << level, following - level) for level, following in pairwise(levels)
        )
        self.output = nn.Sequential()
        for _ in range(patch.bit_length() - 2):
            self.output.extend(
                (upsampling(width, width), nn.GroupNorm(16, width), nn.LeakyReLU(0.2))
            )
        self.output.extend((upsampling(width, channels), nn.Sigmoid()))
        self.depths = [stage.depth for stage in stages]
        require_rates(drop_rates)
        self.drops = any(drop_rates)
        self.register_buffer("drop_rates", torch.tensor(drop_rates), persistent=False)

    def embed(self, frames: Tensor) -> Tensor:
        """Maps [...,h,w,width] of frames [...,C,H,W]: each patch projected and normalised."""
        patches = F.pixel_unshuffle(frames, self.patch)
        maps: Tensor = self.norm(self.project(patches.movedim(-3, -1)))
        return maps

    def read(self, frames: Tensor) -> Iterator[Tensor]:
        """The map [B,h,w,width] of each of the frames [B,T,C,H,W]."""
        for some in torch.split(frames.transpose(0, 1), EMBEDDED_AT_ONCE):
            yield from self.embed(some).unbind(0)

    def write(self, features: Tensor) -> Tensor:
        """Frames [B,C,H,W] of what `step` returned, [B,h,w,width of the last stage]."""
        frames: Tensor = self.output(self.resampled[-1](features).permute(0, 3, 1, 2))
        return frames

    def step(
        self,
        x: Tensor,
        state: Sequence[CellState] | None,
        biases: Sequence[Sequence[Tensor]],
        drop_path: Tensor | None = None,
    ) -> tuple[Tensor, list[CellState]]:
        """Hidden state of the last cell, and the states of all, for the map x [B,h,w,width].

        Args:
            x: the map of a frame.
            state: the states that the last step returned; None before the first.
            biases: what `biases` returned.
            drop_path: factors [all blocks,2,B,1,1,1] of the blocks' branches; None for 1.
        """
        factors: Sequence[Tensor | None] = [None] * len(self.cells)
        if drop_path is not None:
            factors = torch.split(drop_path, self.depths)
        new: list[CellState] = []
        for n, cell in enumerate(self.cells):
            x = self.resampled[n](x)
            new.append(cell(x, None if state is None else state[n], biases[n], factors[n]))
            x = new[-1][0]
        return x, new

    def biases(self) -> list[list[Tensor]]:
        """The attention biases of all cells, gathered once for all steps."""
        return [cell.biases() for cell in self.cells if isinstance(cell, SwinLSTMCell)]

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W]: context read once, then each prediction read back."""
        biases, state = self.biases(), None
        for x in self.read(context):
            features, state = self.step(x, state, biases)
        predictions = [self.write(features)]
        for _ in range(horizon - 1):
            features, state = self.step(self.embed(predictions[-1]), state, biases)
            predictions.append(self.write(features))
        return torch.stack(predictions, 1)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """MSE of all T+horizon-1 next-frame predictions."""
        clip, context_frames = batch.clip, batch.context_frames
        steps = clip.shape[1] - 1
        drop_path: Sequence[Tensor | None] = [None] * steps
        if self.training and self.drops:
            drop_path = draw_drop_path(self.drop_rates, steps, batch).unbind(0)
        biases, state, known = self.biases(), None, []
        for t, x in enumerate(self.read(batch.context)):
            features, state = self.step(x, state, biases, drop_path[t])
            known.append(features)
        predictions = [*self.write(torch.cat(known)).chunk(context_frames)]
        for t in range(context_frames, steps):
            features, state = self.step(self.embed(predictions[-1]), state, biases, drop_path[t])
            predictions.append(self.write(features))
        return F.mse_loss(torch.stack(predictions, 1), clip[:, 1:])


def resampling(width: int, change: int) -> nn.Module:
    """What takes a map of `width` channels `change` levels down (1), up (-1) or nowhere (0)."""
    if change == 0:
        return nn.Identity()
    return PatchMerging(width) if change > 0 else PatchExpanding(width)


def upsampling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """A convolution to maps of twice the height and width."""
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)


PUBLISHED_RECIPE = Recipe(
    source="SongTang-x/SwinLSTM, configs.py, Moving MNIST",
    origin="authors",
    learning_rate=1e-4,
    batch_size=16,
)


class SwinLSTMB(SwinLSTM):
    """One SwinLSTM cell between a patch embedding and a transposed convolution.

    The authors' code counts 2,778,417 parameters, of which 197,376 never take part (the fusing
    layers of the odd blocks, which read no second map); they are left out here.

    The small size has patches of 4: tokens are fewer and wider, and at the same FLOPs a training
    step on a CPU takes less than half the time of one on patches of 2.
    """

    name = "swinlstm_b"
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(PUBLISHED_RECIPE),
        "small": Size(
            small_recipe(1.5e-3, "best of 5 trials on Moving MNIST"),
            {"width": 32, "depth": 2, "heads": 2, "patch": 4},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (32, 48, 64, 96),
        "depth": (1, 2, 3, 5, 7),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 128,
        depth: int = 12,
        heads: int = 4,
        window: int = 4,
        patch: int = 2,
        drop_path: float = 0.1,
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of `patch`.
            width: channels of the maps.
            depth: blocks of the cell.
            heads: attention heads.
            window: tokens to an attention window, down and across.
            patch: side of the squares of pixels that become tokens: 2, 4, 8, ...
            drop_path: rate at which every branch of the blocks is dropped.
        """
        super().__init__(
            frame_shape,
            stages=[Stage(0, depth, heads)],
            drop_rates=[drop_path] * depth,
            width=width,
            window=window,
            patch=patch,
        )


class SwinLSTMD(SwinLSTM):
    """SwinLSTM cells, each followed by patch merging on the way down, by expanding on the way up.

    There are no skip connections. As in the authors' code the way up begins on the smallest maps
    and takes the heads of the way down in reverse: 128 channels of 4 heads and 256 of 8, then 512
    of 8 and 256 of 4. That code counts 20,191,969 parameters, of which 1,346,560 never take part
    (the fusing layers of the odd blocks and a second patch embedding); they are left out here.

    The small size has patches of 4, as that of SwinLSTM-B. After 120 s on two CPU cores, some 170
    steps, it does not beat the mean frame on Moving MNIST yet: without skip connections all that
    reaches the pixels has passed maps of 4x4, and to learn that takes it longer.
    """

    name = "swinlstm_d"
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(PUBLISHED_RECIPE),
        "small": Size(
            small_recipe(1.5e-2, "best of 5 trials on Moving MNIST", batch_size=2),
            {
                "width": 48,
                "depths_down": (2, 3),
                "depths_up": (2, 3),
                "heads": (2, 4),
                "patch": 4,
            },
        ),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 128,
        depths_down: Sequence[int] = (2, 6),
        depths_up: Sequence[int] = (2, 6),
        heads: Sequence[int] = (4, 8),
        window: int = 4,
        patch: int = 2,
        drop_path: float = 0.1,
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of patch * 2**(cells down).
            width: channels of the largest maps; they double with each halving.
            depths_down: blocks of each cell on the way down.
            depths_up: blocks of each cell on the way up, from the smallest maps on.
            heads: attention heads of each cell on the way down; in reverse, on the way up.
            window: tokens to an attention window, down and across.
            patch: side of the squares of pixels that become tokens: 2, 4, 8, ...
            drop_path: rate at which the branches of the deepest blocks are dropped; it rises from
                0 on the way down and falls back to it on the way up.
        """
        down = [
            Stage(level, depth, head)
            for level, (depth, head) in enumerate(zip(depths_down, heads, strict=True))
        ]
        up = [
            Stage(len(heads) - n, depth, head)
            for n, (depth, head) in enumerate(zip(depths_up, reversed(heads), strict=True))
        ]
        super().__init__(
            frame_shape,
            stages=[*down, *up],
            drop_rates=[
                *rising(sum(depths_down), drop_path),
                *reversed(rising(sum(depths_up), drop_path)),
            ],
            width=width,
            window=window,
            patch=patch,
        )


def rising(blocks: int, highest: float) -> list[float]:
    """The drop rates of as many blocks, evenly from 0 to `highest`."""
    return [highest * n / max(1, blocks - 1) for n in range(blocks)]
