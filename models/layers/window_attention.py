"""Attention within shifted windows of a map, as in Swin Transformer (Liu et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.precision import narrowed
from models.layers.window_partition import relative_position_index, window_partition, window_side


class WindowAttention(nn.Module):
    """Attention among the tokens of each window of a map, with a bias for each relative position.

    Equation (4) of Liu et al. 2021, "Swin Transformer"; shifted windows as in their section 3.2,
    by rolling the map. A window that does not divide a side of the map grows until it does; one
    that takes the whole side is not shifted along it.

    Args:
        width: channels of the map.
        map_shape: height and width of the map.
        window: tokens to a window, down and across, at least.
        heads: attention heads; must divide `width`.
        shifted: whether the windows lie half a window lower and further to the right.

    Raises:
        ValueError: where `heads` does not divide `width`.
    """

    index: Tensor
    mask: Tensor

    def __init__(
        self, width: int, map_shape: tuple[int, int], window: int, heads: int, *, shifted: bool
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"the width must be a multiple of the {heads} heads, not {width}")
        self.heads = heads
        self.window = window_side(map_shape[0], window), window_side(map_shape[1], window)
        y, x = (
            side // 2 if shifted and side < whole else 0
            for side, whole in zip(self.window, map_shape, strict=True)
        )
        self.shift = (y, x)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        offsets = (2 * self.window[0] - 1) * (2 * self.window[1] - 1)
        self.position_bias = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(heads, offsets), std=0.02)
        )
        mask = attention_mask(map_shape, self.window, self.shift)
        self.register_buffer("index", relative_position_index(self.window), persistent=False)
        self.register_buffer("mask", mask, persistent=False)

    def bias(self) -> Tensor:
        """What is added to the scores, [1,windows*heads,tokens,tokens]; -inf where masked."""
        bias = self.position_bias[:, self.index].masked_fill(self.mask[:, None], float("-inf"))
        return narrowed(bias.flatten(0, 1)[None])

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map [B,H,W,width] for x [B,H,W,width] and what `bias` gave for these weights."""
        batch, height, width, channels = x.shape
        (p, q), (up, left) = self.window, self.shift
        if up or left:
            x = x.roll((-up, -left), (1, 2))
        # Windows count as heads: one bias serves the whole batch, and one copy does both splits.
        heads = self.query_key_value(x).view(
            batch, height // p, p, width // q, q, 3, self.heads, channels // self.heads
        )
        heads = heads.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, batch, bias.shape[1], p * q, -1)
        query, key, value = heads.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, bias)
        mixed = mixed.reshape(batch, height // p, width // q, self.heads, p, q, -1)
        y: Tensor = self.project(mixed.permute(0, 1, 4, 2, 5, 3, 6).reshape(x.shape))
        return y.roll((up, left), (1, 2)) if up or left else y


def attention_mask(
    map_shape: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]
) -> Tensor:
    """Which pairs of a window's tokens must not see each other, bool [windows,tokens,tokens].

    A map rolled up and to the left by `shift` brings rows and columns that left it on one side
    back on the other: those are no neighbours of the ones they meet there.
    """
    # On the CPU: see `relative_position_index`.
    rows, columns = (
        torch.arange(n, device="cpu") >= n - by for n, by in zip(map_shape, shift, strict=True)
    )
    returned = 2 * rows[:, None].long() + columns[None, :].long()
    tokens = window_partition(returned[None, :, :, None], window, "block")[0, :, :, 0]
    mask = tokens[:, :, None] != tokens[:, None, :]
    return mask.to(torch.get_default_device())
