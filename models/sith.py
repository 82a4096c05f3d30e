"""SITH: predictors that see the past through log-compressed memories.

One memory of the frames themselves (Shankar & Howard 2012), and memories in layers, DeepSITH
(Jacques et al. 2021).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Predictor, Recipe, Size, small_recipe
from models.layers.precision import unrounded
from models.layers.rollout import from_patches, patched_shape, to_patches

CHUNK = 64
"""The most frames a memory takes in one product; longer streams are read chunk by chunk."""


def time_constants(nodes: int, tau_min: float, tau_max: float) -> list[float]:
    """`nodes` times in frames from `tau_min` to `tau_max`, in geometric progression."""
    ratio = (tau_max / tau_min) ** (1 / max(1, nodes - 1))
    return [tau_min * ratio**n for n in range(nodes)]


class LogMemory(nn.Module):
    """SITH: for every channel and place, weighted means of the past around log-spaced delays.

    Node n, read after frame t, holds the sum over lags 1, 2, ... of filter_n(lag) x[t+1-lag]: the
    newest frame is one frame old. Its filter is the kernel of Shankar & Howard 2012 (the Post
    approximation of the inverse Laplace transform),

        (1/tau) (k^(k+1) / k!) (lag/tau)^k e^(-k lag/tau),

    of area 1, with its peak at tau and its mean at tau (k+1)/k, sampled at whole frames and scaled
    to sum 1. The public code (compmem/SITH_Layer, DeepSITH) has the power k+1, so that its peaks
    lie at tau (k+1)/k, cuts the filters at a buffer's length, and does not scale them: at k = 50
    its node of tau = 1 frame comes out 2.8 times too large.

    No frames are kept. The functions lag^j e^(-k lag/tau) of the powers j = 0..k are turned into
    sums of each other by a delay (the binomial theorem), so that k+1 such sums a node are all that
    any later reading needs: a state of constant size, exact however long the stream. All weights
    are positive, so nothing cancels; they are computed in float64 from logarithms. Under mixed
    precision the memory stays in float32: in bfloat16 the slowest node would be off by 15 % of its
    deviation after 1,000 frames.

    Args:
        nodes: how many delays.
        tau_min: the shortest, in frames.
        tau_max: the longest, in frames.
        k: the sharpness; a node's spread is about tau / sqrt(k).
    """

    sums: Tensor
    shift: Tensor
    within: Tensor

    def __init__(self, nodes: int, tau_min: float, tau_max: float, k: int) -> None:
        super().__init__()
        self.nodes, self.k = nodes, k
        rate = k / torch.tensor(time_constants(nodes, tau_min, tau_max), dtype=torch.float64)
        rate = rate[:, None, None]
        power = torch.arange(k + 1, dtype=torch.float64)
        # Beyond this lag less than 1e-16 of any filter is left.
        furthest = math.ceil(tau_max * (1 + 9 / math.sqrt(k) + 50 / k))
        lags = torch.arange(1, max(furthest, CHUNK) + 1, dtype=torch.float64)
        logs = power[:, None] * lags.log() - rate * lags
        scale = logs.logsumexp(2, keepdim=True)
        sums = (logs[..., :CHUNK] - scale).exp()

        steps = torch.arange(CHUNK + 1, dtype=torch.float64)[:, None, None, None]
        above = power[:, None] - power
        choose = (
            torch.lgamma(power[:, None] + 1) - torch.lgamma(power + 1) - torch.lgamma(above + 1)
        )
        shift = choose + torch.xlogy(above.clamp(min=0), steps) - rate * steps
        shift = (shift + scale.mT - scale).exp()

        filters = torch.cat((torch.zeros(nodes, CHUNK, dtype=torch.float64), sums[:, k]), 1)
        place = torch.arange(CHUNK)
        within = filters[:, CHUNK + place[:, None] - place].transpose(0, 1)

        dtype = torch.get_default_dtype()
        # [nodes,k+1,CHUNK]: the weight in each sum of the frame that is 1..CHUNK frames old.
        self.register_buffer("sums", sums.to(dtype), persistent=False)
        # [CHUNK+1,nodes,k+1,k+1]: all sums 0..CHUNK frames later, from those now.
        self.register_buffer("shift", shift.to(dtype), persistent=False)
        # [CHUNK,nodes,CHUNK]: the weight, after each frame of a chunk, of each frame of it.
        self.register_buffer("within", within.to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The memory after every frame, [B,T,nodes,...], of x [B,T,...], any T."""
        memories, state = [], None
        chunks = torch.split(x, CHUNK, 1)
        for chunk in chunks:
            memories.append(self.read(chunk, state))
            if len(memories) < len(chunks):
                state = self.absorb(chunk, state)
        return torch.cat(memories, 1)

    @unrounded
    def read(self, x: Tensor, state: Tensor | None) -> Tensor:
        """The memory after every frame, [B,T,nodes,...], of x [B,T,...] with T <= 64.

        The state, from `absorb`, is that before x; None before the first frame.
        """
        steps = x.shape[1]
        weights = self.within[:steps, :, :steps].reshape(-1, steps)
        memories = torch.matmul(weights, x.flatten(2)).view(len(x), steps, self.nodes, *x.shape[2:])
        if state is None:
            return memories
        return memories + self._recall(state, slice(1, steps + 1))

    @unrounded
    def absorb(self, x: Tensor, state: Tensor | None) -> Tensor:
        """The state [B,nodes,k+1,...] after x [B,T,...] with T <= 64; `state` is that before."""
        steps = x.shape[1]
        weights = self.sums[..., :steps].flip(2).flatten(0, 1)
        new = torch.matmul(weights, x.flatten(2)).view(len(x), *self.sums.shape[:2], *x.shape[2:])
        if state is None:
            return new
        return new + torch.matmul(self.shift[steps], state.flatten(3)).view_as(state)

    @unrounded
    def newest(self, x: Tensor) -> Tensor:
        """What is remembered of x [B,T,...] with T <= 64 after its last frame, [B,nodes,...]."""
        steps = x.shape[1]
        weights = self.within[steps - 1, :, :steps]
        return torch.matmul(weights, x.flatten(2)).view(len(x), self.nodes, *x.shape[2:])

    @unrounded
    def ahead(self, state: Tensor, steps: int) -> Tensor:
        """What the memory holds of `state` 0..`steps` <= 64 frames later, [B,steps+1,nodes,...]."""
        return self._recall(state, slice(steps + 1))

    def _recall(self, state: Tensor, steps: slice) -> Tensor:
        weights = self.shift[steps, :, self.k].transpose(0, 1)
        recalled = torch.matmul(weights, state.flatten(3)).transpose(1, 2)
        return recalled.view(*recalled.shape[:3], *state.shape[3:])


class Rollout:
    """A memory that is read again after every frame of a stream that comes one by one.

    Args:
        memory: which memory.
        state: of the frames known beforehand.
        steps: how many frames will come.
    """

    def __init__(self, memory: LogMemory, state: Tensor, steps: int) -> None:
        self.memory, self.steps = memory, steps
        self._look_ahead(state)

    def _look_ahead(self, state: Tensor) -> None:
        # What is known by now is read for all frames to come at once.
        self.state = state
        self.recent: list[Tensor] = []
        self.ahead = self.memory.ahead(state, min(self.steps, CHUNK))

    def now(self) -> Tensor:
        """The memory [B,nodes,...] of the frames known beforehand."""
        return self.ahead[:, 0]

    def push(self, frame: Tensor) -> Tensor:
        """The memory [B,nodes,...] after one more frame [B,...]."""
        if len(self.recent) == CHUNK:
            self.steps -= CHUNK
            self._look_ahead(self.memory.absorb(torch.stack(self.recent, 1), self.state))
        self.recent.append(frame)
        return self.ahead[:, len(self.recent)] + self.memory.newest(torch.stack(self.recent, 1))


class MemoryLayer(nn.Module):
    """A memory of every channel and place, and maps of new features made of what it holds.

    Args:
        memory: of `inputs` channels.
        mix: takes its nodes * inputs channels [B,nodes*inputs,h,w] to features [B,outputs,h,w].
    """

    def __init__(self, memory: LogMemory, mix: nn.Module) -> None:
        super().__init__()
        self.memory, self.mix = memory, mix

    def forward(self, memories: Tensor) -> Tensor:
        """Features [B,outputs,h,w] of memories [B,nodes,inputs,h,w]."""
        features: Tensor = self.mix(memories.flatten(1, 2))
        return features


class MemoryStack(Predictor):
    """Layers of memories on patches of frames; a 1x1 convolution makes the next frame.

    The layers below the last are computed at every frame of the context, 64 frames at a time, the
    last only where a prediction is made. Between frames nothing is kept but the memories' states,
    of constant size; training keeps features of every frame, in proportion to the context.

    The loss is that of the forecast, each prediction read back, from the first step on.
    """

    encoder: nn.Module
    """Takes patches [B,C*patch*patch,h,w] to the input of the first layer."""
    layers: nn.ModuleList
    """Of `MemoryLayer`s."""

    @abstractmethod
    def __init__(self, frame_shape: FrameShape, *, width: int, patch: int) -> None:
        """Build the convolution to pixels; subclasses add `encoder` and `layers`.

        Raises:
            ValueError: where the frame is not a whole number of patches.
        """
        super().__init__(frame_shape)
        self.patch = patch
        self.patched_shape = patched_shape(frame_shape, patch)
        self.output = nn.Conv2d(width, self.patched_shape[0], 1)

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W]: context read once, then each prediction read back."""
        rollouts = self.remember(to_patches(context, self.patch), horizon - 1)
        predictions = [self.output(self.layers[-1](rollouts[-1].now()))]
        for _ in range(horizon - 1):
            features = self.encoder(predictions[-1])
            for layer, rollout in zip(self.layers, rollouts, strict=True):
                features = layer(rollout.push(features))
            predictions.append(self.output(features))
        return from_patches(torch.stack(predictions, 1), self.patch)

    def remember(self, frames: Tensor, steps: int) -> list[Rollout]:
        """Every layer's memory of patches [B,T,c,h,w], to be read after each of `steps` more."""
        layers = [layer for layer in self.layers if isinstance(layer, MemoryLayer)]
        states: list[Tensor | None] = [None] * len(layers)
        for chunk in torch.split(frames, CHUNK, 1):
            features = self.encoder(chunk.flatten(0, 1)).unflatten(0, chunk.shape[:2])
            for i, layer in enumerate(layers):
                before, states[i] = states[i], layer.memory.absorb(features, states[i])
                if layer is not layers[-1]:
                    memories = layer.memory.read(features, before).flatten(0, 1)
                    features = layer(memories).unflatten(0, chunk.shape[:2])
        return [
            Rollout(layer.memory, state, steps)
            for layer, state in zip(layers, states, strict=True)
            if state is not None
        ]


class ResidualBlock(nn.Module):
    """x + two convolutions of x, normalised first; starts close to x."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        first, last = (nn.Conv2d(width, width, kernel, padding="same") for _ in range(2))
        self.branch = nn.Sequential(nn.GroupNorm(1, width), first, nn.SiLU(), last)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.get_parameter("bias").zero_()

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
                origin="borrowed",
                learning_rate=5e-4,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": Size(
            small_recipe(1.5e-3, "best of 5 trials on Moving MNIST"),
            {"width": 16, "blocks": 2},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (16, 24, 32, 48, 66, 96),
        "blocks": (1, 2, 3, 4),
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


class DeepSITH(MemoryStack):
    """Layers of log-compressed memory, each followed by a convolution over its nodes and channels.

    As in the paper, every layer remembers what the layer below made of the frames, and the layers
    reach further back one after the other. In place of the paper's dense layer and batch
    normalisation stand a convolution and group normalisation, so that what is remembered and mixed
    keeps its place in the frame.

    The study that compares ConvLSTM and SITH on Moving MNIST (J-Yash/convlstm-vs-sith) does not
    publish its network; this one is ours, with 3,560,720 parameters at the published size. The
    study's network for Something-Something V2 is `deepsith_classifier`.
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
                origin="borrowed",
                learning_rate=5e-4,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": Size(
            small_recipe(4.74e-4, "best of 5 trials on Moving MNIST", batch_size=2),
            {"width": 16},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {"width": (16, 24, 32, 40, 56, 80)}

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
