"""What both SwinLSTMs are made of: the cell, the maps' changes of size, the predictor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import FrameShape, Predictor
from models.layers.patches import patched_shape, to_patches
from models.layers.swin import SwinBlock, WindowAttention, draw_kept

EMBEDDED_AT_ONCE = 32  # frames: enough to fill the machine, bounded for contexts of thousands

CellState = tuple[Tensor, Tensor]
"""Hidden and cell state, each [B,h,w,width]."""


class SwinLSTMCell(nn.Module):
    """An LSTM with a stack of Swin blocks where ConvLSTM has a convolution.

    F = blocks(x, h); g = sigmoid(F); c' = g * (c + tanh(F)); h' = g * tanh(c'): one gate for
    forgetting, input and output (Tang et al. 2023, "SwinLSTM"). As in the authors' code the
    first block reads x and h, those of odd number only the block before, and every further even
    one the block before and x again, not h.

    Args:
        width: channels of the input and of both states.
        size: height and width of the maps.
        window: tokens to an attention window, down and across, at least.
        heads: attention heads; must divide `width`.
        depth: blocks.
    """

    def __init__(
        self, width: int, size: tuple[int, int], window: int, heads: int, depth: int
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(width, size, window, heads, shifted=n % 2 == 1, fuses=n % 2 == 0)
            for n in range(depth)
        )

    def biases(self) -> list[Tensor]:
        """The attention bias of each block, the same for all steps."""
        return [layer.bias() for layer in self.modules() if isinstance(layer, WindowAttention)]

    def forward(
        self, x: Tensor, state: CellState | None, biases: Sequence[Tensor], keep: Tensor | None
    ) -> CellState:
        """New state for x [B,h,w,width]; a state of None is all zeros.

        Args:
            x: the map of this step.
            state: what the last step returned.
            biases: what `biases` returned for these weights.
            keep: factors [blocks,2,B,1,1,1] of the blocks' branches; None for 1.
        """
        hidden, cell = (None, None) if state is None else state
        features, other = x, hidden
        for n, block in enumerate(self.blocks):
            features = block(features, other, biases[n], None if keep is None else keep[n])
            other = x
        gate, update = features.sigmoid(), features.tanh()
        cell = gate * (update if cell is None else cell + update)
        return gate * cell.tanh(), cell


class PatchMerging(nn.Module):
    """A map of half the size and twice the channels: 2x2 tokens normalised and projected."""

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
    """A map of twice the size and half the channels: tokens projected, split in 2x2, normalised."""

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
    gives frames of the wrong size there).

    Training runs free after the context, as testing does, and scores every next frame.
    """

    drop_rates: Tensor

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

        Raises:
            ValueError: where the patch is no power of two from 2 on, or does not tile the frame,
                or the map cannot be halved as often as the stages ask, or heads do not divide
                channels.
        """
        super().__init__(frame_shape)
        if patch < 2 or patch & (patch - 1):
            raise ValueError(f"the patch size must be 2, 4, 8, ... (a power of two), not {patch}")
        channels, height, breadth = patched_shape(frame_shape, patch)
        halved = max(stage.level for stage in stages)
        if height % (1 << halved) or breadth % (1 << halved):
            raise ValueError(
                f"frame height and width must be multiples of {patch << halved} (patches of "
                f"{patch}, halved {halved} times), not {frame_shape[1]} x {frame_shape[2]}"
            )
        self.patch = patch
        self.project = nn.Linear(channels, width)
        self.norm = nn.LayerNorm(width)
        self.cells = nn.ModuleList(
            SwinLSTMCell(width << level, (height >> level, breadth >> level), window, heads, depth)
            for level, depth, heads in stages
        )
        levels = [0, *(stage.level for stage in stages), 0]
        self.resized = nn.ModuleList(
            _resizing(width << level, following - level) for level, following in pairwise(levels)
        )
        self.output = nn.Sequential()
        for _ in range(patch.bit_length() - 2):
            self.output.extend(
                (_doubling(width, width), nn.GroupNorm(16, width), nn.LeakyReLU(0.2))
            )
        self.output.extend((_doubling(width, frame_shape[0]), nn.Sigmoid()))
        self.depths = [stage.depth for stage in stages]
        self.drops = any(drop_rates)
        self.register_buffer("drop_rates", torch.tensor(drop_rates), persistent=False)

    def embed(self, frames: Tensor) -> Tensor:
        """Maps [...,h,w,width] of frames [...,C,H,W]."""
        maps: Tensor = self.norm(self.project(to_patches(frames, self.patch).movedim(-3, -1)))
        return maps

    def read(self, frames: Tensor) -> Iterator[Tensor]:
        """The map [B,h,w,width] of each of the frames [B,T,C,H,W]."""
        for some in torch.split(frames.transpose(0, 1), EMBEDDED_AT_ONCE):
            yield from self.embed(some).unbind(0)

    def write(self, features: Tensor) -> Tensor:
        """Frames [B,C,H,W] of what `step` returned, [B,h,w,width of the last stage]."""
        frames: Tensor = self.output(self.resized[-1](features).permute(0, 3, 1, 2))
        return frames

    def step(
        self,
        x: Tensor,
        state: Sequence[CellState] | None,
        biases: Sequence[Sequence[Tensor]],
        keep: Tensor | None = None,
    ) -> tuple[Tensor, list[CellState]]:
        """Hidden state of the last cell, and the states of all, for the map x [B,h,w,width].

        Args:
            x: the map of a frame.
            state: the states that the last step returned; None before the first.
            biases: what `biases` returned.
            keep: factors [all blocks,2,B,1,1,1] of the blocks' branches; None for 1.
        """
        kept = [None] * len(self.cells) if keep is None else torch.split(keep, self.depths)
        new: list[CellState] = []
        for n, cell in enumerate(self.cells):
            x = self.resized[n](x)
            new.append(cell(x, None if state is None else state[n], biases[n], kept[n]))
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

    def training_loss(
        self,
        clip: Tensor,
        context_frames: int,
        progress: float,
        generator: torch.Generator | None,
    ) -> Tensor:
        """MSE of all T+horizon-1 next-frame predictions on `clip` [B,T+horizon,C,H,W]."""
        steps = clip.shape[1] - 1
        keep: Sequence[Tensor | None] = [None] * steps
        if self.training and self.drops:
            keep = draw_kept(self.drop_rates, steps, len(clip), generator).unbind(0)
        biases, state, known = self.biases(), None, []
        for t, x in enumerate(self.read(clip[:, :context_frames])):
            features, state = self.step(x, state, biases, keep[t])
            known.append(features)
        predictions = [*self.write(torch.cat(known)).chunk(context_frames)]
        for t in range(context_frames, steps):
            features, state = self.step(self.embed(predictions[-1]), state, biases, keep[t])
            predictions.append(self.write(features))
        return F.mse_loss(torch.stack(predictions, 1), clip[:, 1:])


def _resizing(width: int, change: int) -> nn.Module:
    """What takes a map of `width` channels `change` levels down (1), up (-1) or nowhere (0)."""
    if change == 0:
        return nn.Identity()
    return PatchMerging(width) if change > 0 else PatchExpanding(width)


def _doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """A convolution to maps of twice the size."""
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
