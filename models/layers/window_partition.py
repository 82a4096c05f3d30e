"""Maps divided into windows of tokens that attend to one another, as in Swin and MaxViT."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Partition = Literal["block", "grid"]


def window_side(side: int, window: int) -> int:
    """The smallest divisor of `side` that is at least `window`; all of it where it is smaller."""
    return next(
        (divisor for divisor in range(window, side) if side % divisor == 0),
        side,
    )


def window_partition(x: Tensor, window: tuple[int, int], partition: Partition) -> Tensor:
    """Windows [B,windows,tokens,C] of a map x [B,H,W,C], `window` = (p, q) tokens each.

    A block holds p x q neighbours. A grid window holds p x q positions spread evenly over the
    whole map, H/p rows and W/q columns apart (Tu et al. 2022, section 3.2).
    """
    batch, height, width, channels = x.shape
    p, q = window
    if partition == "block":
        x = x.view(batch, height // p, p, width // q, q, channels).permute(0, 1, 3, 2, 4, 5)
    else:
        x = x.view(batch, p, height // p, q, width // q, channels).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(batch, -1, p * q, channels)


def window_reverse(
    x: Tensor, map_shape: tuple[int, int], window: tuple[int, int], partition: Partition
) -> Tensor:
    """The map [B,H,W,C] of `map_shape` = (H, W) whose windows are x [B,windows,tokens,C]."""
    (height, width), (p, q) = map_shape, window
    x = x.view(len(x), height // p, width // q, p, q, x.shape[-1])
    order = (0, 1, 3, 2, 4, 5) if partition == "block" else (0, 3, 1, 4, 2, 5)
    return x.permute(order).reshape(len(x), height, width, x.shape[-1])


def relative_position_index(window: tuple[int, int]) -> Tensor:
    """For each pair of a window's tokens [tokens,tokens] the number of their offset.

    Offsets (dy, dx) count from 0 to (2p-1)(2q-1)-1, row by row.
    """
    p, q = window
    # Numbers, also where a model is built on `meta` to be counted: there PyTorch would import its
    # compiler for them.
    token = torch.arange(p * q, device="cpu")
    y, x = token // q, token % q
    dy, dx = y[:, None] - y[None, :], x[:, None] - x[None, :]
    index = (dy + p - 1) * (2 * q - 1) + dx + q - 1
    return index.to(torch.get_default_device())
