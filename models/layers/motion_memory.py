"""A memory of motions: written by those who see a long clip, recalled from a short one."""

from __future__ import annotations

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.window_rollout import led_in

SHORTEST = 9  # frames: their eight differences can be halved three times


def motion_encoder(channels: int, width: int) -> nn.Sequential:
    """C3D without its head (Tran et al. 2015): differences to motions an eighth as often.

    [B,channels,T,H,W] becomes [B,width,T/8,H/16,W/16], T rounded down.
    """

    def convolution(inputs: int, outputs: int) -> nn.Conv3d:
        return nn.Conv3d(inputs, outputs, 3, padding=1)

    def relu() -> nn.ReLU:
        return nn.ReLU(inplace=True)

    half, quarter, eighth = width // 2, width // 4, width // 8
    # The authors pool after each ReLU: the same numbers, but the ReLU has more to do.
    return nn.Sequential(
        convolution(channels, eighth), nn.MaxPool3d((1, 2, 2)), relu(),
        convolution(eighth, quarter), nn.MaxPool3d(2), relu(),
        convolution(quarter, half), relu(), convolution(half, half), nn.MaxPool3d(2), relu(),
        convolution(half, width), relu(), convolution(width, width), nn.MaxPool3d(2), relu(),
    )  # fmt: skip


class MotionMemory(nn.Module):
    """Motions in slots, recalled for each place of a clip by itself (Lee et al. 2021, section 3).

    The differences of a clip's frames are encoded, and averaged over what is left of time. Each
    place is a query: it recalls the mean of the slots, weighted by a softmax over their cosine
    similarity to it. As in the authors' code there is no temperature: of two slots one can weigh
    at most e^2 = 7.4 times as much as the other, so that 100 slots are always mixed nearly evenly.

    Args:
        channels: of a frame.
        width: channels of the motion recalled; slots are 4 times as wide.
        slots: how many motions there are.
    """

    def __init__(self, channels: int, width: int, slots: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(slots, 4 * width))
        self.matching_encoder = motion_encoder(channels, 4 * width)
        self.context_encoder = deepcopy(self.matching_encoder)
        self.embedder = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, padding=1, output_padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * width, width, 3, 2, padding=1, output_padding=1),
            nn.ReLU(inplace=True),
        )

    def memorise(self, clip: Tensor) -> Tensor:
        """Motion [B,width,H/4,W/4] of a long clip [B,T,C,H,W]; its gradient reaches the slots."""
        return self._recall(self.context_encoder(_differences(clip)), self.slots)

    def recall(self, context: Tensor) -> Tensor:
        """Motion [B,width,H/4,W/4] that a short clip [B,T,C,H,W] brings to mind; slots stay."""
        return self._recall(self.matching_encoder(_differences(context)), self.slots.detach())

    def _recall(self, motions: Tensor, slots: Tensor) -> Tensor:
        queries = motions.mean(2)
        places = queries.flatten(2).transpose(1, 2)
        similarity = F.normalize(places, dim=-1) @ F.normalize(slots, dim=-1).T
        recalled = similarity.softmax(-1) @ slots
        motion: Tensor = self.embedder(recalled.transpose(1, 2).reshape(queries.shape))
        return motion


def _differences(clip: Tensor) -> Tensor:
    """Differences [B,C,T-1,H,W] of successive frames of a clip [B,T,C,H,W].

    A clip of fewer than `SHORTEST` frames is led in by its first frame.
    """
    return led_in(clip, SHORTEST).diff(dim=1).transpose(1, 2)
