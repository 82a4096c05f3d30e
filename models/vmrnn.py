"""VMRNN: SwinLSTM with Vision Mamba blocks in place of attention (Tang et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

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
from models.layers.drop_path import DropPath
from models.layers.precision import unrounded, widened
from models.swinlstm import CellState, resampling, rising, upsampling

ORDERS = 4  # in which a map is gone through: by rows, by columns, and both backwards
GROUPS = 16  # of channels that are normalised together between upsamplings
SLOWEST, FASTEST = 0.001, 0.1  # step sizes that the scan starts from


class LinearRecurrence(torch.autograd.Function):
    """h[t] = decay[t] h[t-1] + inputs[t] along the first two of four or more dimensions.

    Both are [rows,columns,...], t counts columns first, and h[-1] is zero. All rows are gone
    through at once, as if each were the first, and then what each inherits is added: rows + columns
    steps instead of their product. The gradient is the same recurrence backwards in time.
    """

    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor) -> Tensor:
        """All h, of the shape of both."""
        h = _recur(decay, inputs)
        ctx.save_for_backward(decay, h)
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the decay and the inputs."""
        decay, h = ctx.saved_tensors
        first = torch.zeros_like(h[:1, 0])
        later = torch.cat((decay.flatten(0, 1)[1:], first)).flip(0).view_as(decay)
        backwards = _recur(later, gradients[0].flatten(0, 1).flip(0).view_as(h))
        of_inputs = backwards.flatten(0, 1).flip(0).view_as(h)
        earlier = torch.cat((first, h.flatten(0, 1)[:-1])).view_as(h)
        return of_inputs * earlier, of_inputs


def _recur(decay: Tensor, inputs: Tensor) -> Tensor:
    h, inherited = inputs.clone(), decay.clone()
    for t in range(1, h.shape[1]):
        h[:, t].addcmul_(decay[:, t], h[:, t - 1])
        inherited[:, t].mul_(inherited[:, t - 1])
    for row in range(1, h.shape[0]):
        h[row].addcmul_(inherited[row], h[row - 1, -1:])
    return h


class SelectiveScan(nn.Module):
    """A map whose every position has read all others, along four ways through it ("SS2D").

    Half of a linear layer is convolved and scanned, the other half gates the result. Along a way
    with values x_t a state of `states` numbers for each channel goes by

        h_t = exp(d_t A) h_(t-1) + d_t B_t x_t,    y_t = C_t h_t + D x_t

    where d, B and C are linear in x_t, d through softplus (Gu and Dao 2023, "Mamba"; Liu et al.
    2024, "VMamba"). The four y are added up.

    Args:
        width: channels of the map; inside there are twice as many.
        states: numbers of state to a channel.
    """

    def __init__(self, width: int, states: int) -> None:
        super().__init__()
        inner, rank = 2 * width, math.ceil(width / 16)
        self.split = [rank, states, states]
        self.read = nn.Linear(width, 2 * inner, bias=False)
        self.mix = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.select = nn.Parameter(_uniform(inner**-0.5, ORDERS, inner, sum(self.split)))
        self.pace = nn.Parameter(_uniform(rank**-0.5, ORDERS, rank, inner))
        steps = torch.empty(ORDERS, 1, inner).uniform_(math.log(SLOWEST), math.log(FASTEST)).exp()
        self.pace_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))  # softplus undone
        decays = torch.arange(1.0, states + 1).log()[:, None]
        self.decay = nn.Parameter(decays.repeat(ORDERS, 1, inner))
        self.skip = nn.Parameter(torch.ones(ORDERS, inner))
        self.norm = nn.LayerNorm(inner)
        self.write = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,h,w,width] for x of the same shape."""
        x, gate = self.read(x).chunk(2, -1)
        x = F.silu(self.mix(x.permute(0, 3, 1, 2)))
        y: Tensor = self.write(self.norm(self.scan(x)) * F.silu(gate))
        return y

    def scan(self, x: Tensor) -> Tensor:
        """The sum [B,h,w,inner] of what four scans make of x [B,inner,h,w]."""
        batch, _, height, width = x.shape
        ways = torch.stack([x.permute(*axes, 0, 1).flatten(0, 1) for axes in ((2, 3), (3, 2))])
        ways = torch.cat((ways, ways.flip(1))).flatten(1, 2)  # [orders,h*w*B,inner]
        pace, into, out = torch.split(ways @ self.select, self.split, -1)
        # Time first: a step of the recurrence is then one stretch of memory.
        read = (
            torch.unflatten(of, 1, (height, width, batch)).movedim(0, 2)
            for of in (ways, pace @ self.pace, into, out)
        )
        y = self.follow(*read)
        rows, columns = (y[:, :2] + y[:, 2:].flip(0)).unbind(1)
        rows = torch.unflatten(rows, 0, (height, width))
        summed = rows + torch.unflatten(columns, 0, (width, height)).transpose(0, 1)
        return summed.permute(2, 0, 1, 3)

    @unrounded
    def follow(self, x: Tensor, pace: Tensor, into: Tensor, out: Tensor) -> Tensor:
        """All y [h*w,orders,B,inner] of scans in float32.

        Args:
            x: what is scanned, [h,w,orders,B,inner], along the second dimension first.
            pace: of the same shape, before its bias and softplus.
            into: [h,w,orders,B,states], what of x enters each number of the state.
            out: of the same shape, what of each number leaves.
        """
        pace, into, out = widened(pace), widened(into), widened(out)
        pace = F.softplus(pace + self.pace_bias)
        decay = torch.exp(pace[..., None, :] * -self.decay.exp()[:, None])
        inputs = (pace * x)[..., None, :] * into[..., None]
        h: Tensor = LinearRecurrence.apply(decay, inputs)  # type: ignore[no-untyped-call]
        y = (out[..., None, :] @ h).squeeze(-2) + self.skip[:, None] * x
        return y.flatten(0, 1)


class MambaBlock(nn.Module):
    """x + scan(fuse(norm(x), norm(other))); a block that does not fuse reads x alone ("VSB").

    Args:
        width: channels of the map.
        states: numbers of state to a channel of the scan.
        drop_path: share of the sequences that the scan is left out of in training.
        fuses: whether it reads a second map.
    """

    def __init__(self, width: int, states: int, drop_path: float, *, fuses: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fuse = nn.Linear(2 * width, width) if fuses else None
        self.scan = SelectiveScan(width, states)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Map [B,h,w,width] for the maps x and `other`, both [B,h,w,width]."""
        y = self.norm(x)
        if self.fuse is not None:
            y = self.fuse(torch.cat((y, self.norm(other)), -1))
        new: Tensor = x + self.drop_path(self.scan(y))
        return new


class VMRNNCell(nn.Module):
    """An LSTM with a stack of Mamba blocks, of which the first reads the hidden state, too.

    F = blocks(x, h); g = sigmoid(F); c' = g (c + tanh(F)); h' = g tanh(c').

    Args:
        width: channels of the input and of both states.
        states: numbers of state to a channel of the scans.
        drop_rates: of its blocks, one each.
    """

    def __init__(self, width: int, states: int, drop_rates: Sequence[float]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            MambaBlock(width, states, rate, fuses=n == 0) for n, rate in enumerate(drop_rates)
        )

    def forward(self, x: Tensor, state: CellState | None) -> CellState:
        """New state for x [B,h,w,width]; a state of None is all zeros."""
        x = widened(x)  # the blocks add to it one after another, the cell from step to step
        hidden, cell = state or (torch.zeros_like(x), torch.zeros_like(x))
        for block in self.blocks:
            x = block(x, hidden)
        gate = x.sigmoid()
        cell = gate * (cell + x.tanh())
        return gate * cell.tanh(), cell


class VMRNN(Predictor):
    """Cells on patches, each followed by patch merging on the way down, by expanding on the way up.

    All but the blocks is as in SwinLSTM: frames are embedded, cells go down and up without skip
    connections, and transposed convolutions and a sigmoid make frames of the last cell's output.
    Training runs free after the context, as testing does, and scores every next frame.

    The default is VMRNN-D as configs/mmnist/VMRNN-D.py of the authors' code has it; the script that
    the recipe is of has `down=(2, 6), up=(2, 6)`. VMRNN-B, one cell, is `down=(6,), up=()`.

    Of the parameters of that code (D 9,674,113, B 1,214,721) the fusing layers of all blocks but a
    cell's first never take part, and of D neither does a second patch embedding; they are left out
    here (D 821,248, B 164,480 fewer). It has no upsampling for patches of 8: here every doubling of
    the patch above 2 is undone by one more, as for patches of 4.

    Stochastic depth rises from block to block on the way down and falls back on the way up; a
    single cell drops all of its blocks alike.

    The scan is in plain PyTorch: exact, but slower than the compiled one of the authors' code. It
    takes far more time than its few FLOPs suggest, hence the small size: one cell on patches of 8.
    """

    name = "vmrnn"
    paper = Paper(
        "VMRNN: Integrating Vision Mamba and LSTM for Efficient and Accurate Spatiotemporal "
        "Forecasting",
        2024,
        "https://arxiv.org/abs/2403.16536",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="yyyujintang/VMRNN-PyTorch, Moving_MNIST_VMRNN/configs.py",
                origin="authors",
                learning_rate=1e-4,
                batch_size=16,
            )
        ),
        "small": Size(
            small_recipe(5e-3, "learning rate not tuned"),
            {"width": 160, "down": (3,), "up": (), "states": 2, "patch": 8},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (64, 96, 128, 160),
        "down": ((2,), (3,), (4,), (6,)),
        "states": (2, 4, 8, 16),
        "patch": (4, 8),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 128,
        down: Sequence[int] = (2, 2),
        up: Sequence[int] = (2, 2),
        states: int = 16,
        patch: int = 2,
        drop_path: float = 0.1,
    ) -> None:
        """VMRNN-D at its published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of patch * 2**(cells up).
            width: channels of the largest maps; they double with each halving.
            down: blocks of each cell on the way down.
            up: blocks of each cell on the way up, from the smallest maps on; none of a single cell.
            states: numbers of state to a channel of the scans.
            patch: side of the squares of pixels that become tokens: 2, 4, 8, ...
            drop_path: rate at which the deepest blocks are dropped in training.

        Raises:
            UnfitFrame: the patches do not tile a frame, or the maps cannot be halved.
            ValueError: the patch is no power of two from 2 on, `width` cannot be divided into
                groups to normalise, or the ways down and up differ in length.
        """
        super().__init__(frame_shape)
        if patch < 2 or patch & (patch - 1):
            raise ValueError(f"the patch must be 2, 4, 8, ... (a power of two), not {patch}")
        if patch > 2 and width % GROUPS:
            raise ValueError(f"the width must be a multiple of {GROUPS}, not {width}")
        one_cell = len(down) == 1 and not up
        if not down or (len(down) != len(up) and not one_cell):
            raise ValueError(
                f"there must be as many cells up as down, or one alone, not {len(down)} and "
                f"{len(up)}"
            )
        levels = len(up)
        require_multiple(frame_shape, patch << levels, f"patches of {patch}, halved {levels} times")
        channels = frame_shape[0]
        self.patch = patch
        self.project = nn.Linear(channels * patch**2, width)
        self.norm = nn.LayerNorm(width)
        if one_cell:
            rates = _split([drop_path] * down[0], down)
        else:
            rates = _split(rising(sum(down), drop_path), down)
            rates += _split(rising(sum(up), drop_path)[::-1], up)
        levels_of_cells = [*range(len(down)), *range(len(up), 0, -1)]
        self.cells = nn.ModuleList(
            VMRNNCell(width << level, states, cell_rates)
            for level, cell_rates in zip(levels_of_cells, rates, strict=True)
        )
        self.resampled = nn.ModuleList(
            resampling(width << level, after - level)
            for level, after in pairwise([*levels_of_cells, 0])
        )
        self.output = nn.Sequential()
        for _ in range(patch.bit_length() - 2):
            self.output.extend(
                (upsampling(width, width), nn.GroupNorm(GROUPS, width), nn.LeakyReLU(0.2))
            )
        self.output.extend((upsampling(width, channels), nn.Sigmoid()))

    def step(
        self, frame: Tensor, state: Sequence[CellState] | None
    ) -> tuple[Tensor, list[CellState]]:
        """The last cell's map [B,h,w,width] after `frame` [B,C,H,W], and the states of all.

        The state is None before the first frame.
        """
        patches = F.pixel_unshuffle(frame, self.patch).permute(0, 2, 3, 1)
        x = self.norm(self.project(patches))
        new: list[CellState] = []
        for n, (cell, resample) in enumerate(zip(self.cells, self.resampled, strict=True)):
            new.append(cell(x, state[n] if state else None))
            x = resample(new[-1][0])
        return x, new

    def write(self, features: Tensor) -> Tensor:
        """Frames [B,C,H,W] of maps [B,h,w,width] that `step` returned."""
        frames: Tensor = self.output(features.permute(0, 3, 1, 2))
        return frames

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W]: context read once, then each prediction read back."""
        state = None
        for frame in context.unbind(1):
            features, state = self.step(frame, state)
        predictions = [self.write(features)]
        for _ in range(horizon - 1):
            features, state = self.step(predictions[-1], state)
            predictions.append(self.write(features))
        return torch.stack(predictions, 1)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """MSE of all T+horizon-1 next-frame predictions."""
        state, predictions = None, list[Tensor]()
        for t in range(batch.clip.shape[1] - 1):
            frame = batch.clip[:, t] if t < batch.context_frames else predictions[-1]
            features, state = self.step(frame, state)
            predictions.append(self.write(features))
        return F.mse_loss(torch.stack(predictions, 1), batch.clip[:, 1:])


def _uniform(bound: float, *shape: int) -> Tensor:
    return torch.empty(shape).uniform_(-bound, bound)


def _split(rates: Sequence[float], depths: Sequence[int]) -> list[Sequence[float]]:
    """The rates of each cell's blocks, of which it has as many as `depths` says."""
    ends = [sum(depths[: n + 1]) for n in range(len(depths))]
    return [rates[end - depth : end] for end, depth in zip(ends, depths, strict=True)]
