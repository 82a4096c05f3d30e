"""A memory of a whole stream: sharp for the last frames, ever coarser for older ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

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
    are positive, so nothing cancels; they are computed in float64 from logarithms.

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

    def absorb(self, x: Tensor, state: Tensor | None) -> Tensor:
        """The state [B,nodes,k+1,...] after x [B,T,...] with T <= 64; `state` is that before."""
        steps = x.shape[1]
        weights = self.sums[..., :steps].flip(2).flatten(0, 1)
        new = torch.matmul(weights, x.flatten(2)).view(len(x), *self.sums.shape[:2], *x.shape[2:])
        if state is None:
            return new
        return new + torch.matmul(self.shift[steps], state.flatten(3)).view_as(state)

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
        self.state, self.recent = state, list[Tensor]()
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
        steps = len(self.recent)
        weights = self.memory.within[steps - 1, :, :steps]
        new = torch.matmul(weights, torch.stack(self.recent, 1).flatten(2))
        return self.ahead[:, steps] + new.view_as(self.ahead[:, steps])
