"""Attention inside small groups of a map's positions: MaxViT's block and grid attention."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.damped import damped

Partition = Literal["block", "grid"]


def window_side(side: int, window: int) -> int:
    """The smallest divisor of `side` that is at least `window`; all of it where it is smaller."""
    return next(
        (divisor for divisor in range(window, side) if side % divisor == 0),
        side,
    )


def group(x: Tensor, window: tuple[int, int], partition: Partition) -> Tensor:
    """Positions [B,groups,tokens,C] of a map x [B,H,W,C], `window` = (p, q) tokens to a group.

    A block holds p x q neighbours. A grid group holds p x q positions spread evenly over the
    whole map, H/p rows and W/q columns apart (Tu et al. 2022, section 3.2).
    """
    batch, height, width, channels = x.shape
    p, q = window
    if partition == "block":
        x = x.view(batch, height // p, p, width // q, q, channels).permute(0, 1, 3, 2, 4, 5)
    else:
        x = x.view(batch, p, height // p, q, width // q, channels).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(batch, -1, p * q, channels)


def ungroup(
    x: Tensor, size: tuple[int, int], window: tuple[int, int], partition: Partition
) -> Tensor:
    """The map [B,H,W,C] of `size` = (H, W) whose groups are x [B,groups,tokens,C]."""
    (height, width), (p, q) = size, window
    x = x.view(len(x), height // p, width // q, p, q, x.shape[-1])
    order = (0, 1, 3, 2, 4, 5) if partition == "block" else (0, 3, 1, 4, 2, 5)
    return x.permute(order).reshape(len(x), height, width, x.shape[-1])


def relative_index(window: tuple[int, int]) -> Tensor:
    """For each pair of a window's tokens [tokens,tokens] the number of their offset.

    Offsets (dy, dx) count from 0 to (2p-1)(2q-1)-1, row by row.
    """
    p, q = window
    y, x = (
        axis.flatten() for axis in torch.meshgrid(torch.arange(p), torch.arange(q), indexing="ij")
    )
    dy, dx = y[:, None] - y[None, :], x[:, None] - x[None, :]
    return (dy + p - 1) * (2 * q - 1) + dx + q - 1


class PartitionAttention(nn.Module):
    """Pre-norm attention in each group of a map, then a pre-norm feed-forward layer.

    x' = x + attention(norm(x)); x'' = x' + mlp(norm(x')), with a learnt bias for each head and
    relative position (Tu et al. 2022, equation 1).

    Args:
        width: channels of the map.
        size: height and width of the map.
        window: tokens to a group down and across; both must divide the map's size.
        partition: "block" or "grid".
        head_width: channels of one attention head; must divide `width`.
    """

    index: Tensor

    def __init__(
        self,
        width: int,
        size: tuple[int, int],
        window: tuple[int, int],
        partition: Partition,
        head_width: int,
    ) -> None:
        super().__init__()
        self.size, self.window, self.partition = size, window, partition
        self.heads = width // head_width
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.merge = damped(nn.Linear(width, width))
        offsets = (2 * window[0] - 1) * (2 * window[1] - 1)
        self.bias = nn.Parameter(torch.zeros(self.heads, offsets))
        self.register_buffer("index", relative_index(window), persistent=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(approximate="tanh"),
            damped(nn.Linear(4 * width, width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,H,W,width] for x [B,H,W,width]."""
        groups = group(self.norm(x), self.window, self.partition)
        x = x + ungroup(self.attend(groups), self.size, self.window, self.partition)
        y: Tensor = x + self.feed_forward(x)
        return y

    def attend(self, groups: Tensor) -> Tensor:
        """Attention among the tokens of each group [B,groups,tokens,width]; same shape."""
        batch, count, tokens, width = groups.shape
        heads = self.query_key_value(groups).view(batch * count, tokens, 3, self.heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias[:, self.index].to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        merged: Tensor = self.merge(mixed.transpose(1, 2).reshape(batch, count, tokens, width))
        return merged
