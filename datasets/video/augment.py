"""Augmentation of clips on their device: every frame of a clip is treated alike."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def random_turned_crops(
    clips: Tensor, side: int, most_degrees: float, generator: torch.Generator
) -> Tensor:
    """Squares of `clips` [B,T,C,H,W] from random places, turned by random angles [B,T,C,side,side].

    Angles and places are drawn evenly, on the generator's device, which is that of the clips.
    """
    count, device = len(clips), generator.device
    turn = torch.rand(count, generator=generator, device=device) * 2 - 1
    corners = [
        torch.randint(length - side + 1, (count,), generator=generator, device=device)
        for length in clips.shape[3:]
    ]
    return turned_crops(clips, turn * math.radians(most_degrees), torch.stack(corners, 1), side)


def turned_crops(clips: Tensor, angles: Tensor, corners: Tensor, side: int) -> Tensor:
    """Squares of `clips` [B,T,C,H,W], turned about the frame's centre: [B,T,C,side,side].

    Bilinear, whole numbers rounded to the nearest; what lies beyond the frame is black.

    Args:
        clips: uint8, uint16 or float16.
        angles: of each clip, counterclockwise in radians [B].
        corners: top-left pixels (y, x) of the squares in the turned frames [B,2].
        side: of the squares, in pixels.
    """
    size = torch.tensor(clips.shape[3:], device=clips.device)
    steps = torch.arange(side, device=clips.device)
    # Of each pixel the distance from the frame's centre, [B,side] and [B,side,side].
    y, x = (corners[:, :, None] + steps - (size[:, None] - 1) / 2).unbind(1)
    y, x = y[:, :, None], x[:, None, :]
    sine, cosine = angles.sin()[:, None, None], angles.cos()[:, None, None]
    # Where it was before the turn, in halves of the frame's sides, as grid_sample counts.
    grid = torch.stack((cosine * x - sine * y, sine * x + cosine * y), -1) * (2 / size.flip(0))
    pixels = F.grid_sample(clips.flatten(1, 2).float(), grid, align_corners=False)
    if not clips.is_floating_point():
        pixels.round_()
    return pixels.to(clips.dtype).view(*clips.shape[:3], side, side)


def random_flips(
    clips: Tensor, labels: Tensor, mirrored: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Clips [B,T,C,H,W], each mirrored with probability 1/2, and their labels [B].

    Args:
        clips: any type.
        labels: their classes, int64 [B].
        mirrored: the class that a mirrored clip of each class shows, int64 [classes]; -1 where that
            is none, so that its clips are never mirrored.
        generator: the source of random numbers, on the clips' device.
    """
    drawn = torch.rand(len(clips), generator=generator, device=generator.device) < 0.5
    others = mirrored[labels]
    flip = drawn & (others >= 0)
    # By index: torch does not flip uint16.
    backwards = torch.arange(clips.shape[-1] - 1, -1, -1, device=clips.device)
    turned = clips.index_select(-1, backwards)
    clips = torch.where(flip[:, None, None, None, None], turned, clips)
    return clips, torch.where(flip, others, labels)
