"""The Swin transformer block: attention inside windows that move by half from block to block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.partition_attention import group, relative_index, window_side


def torn_apart(size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """Which pairs of a window's tokens must not see each other, bool [windows,tokens,tokens].

    A map of `size` rolled up and to the left by `shift` brings rows and columns that left it on
    one side back on the other: those are no neighbours of the ones they meet there.
    """
    rows, columns = (torch.arange(n) >= n - by for n, by in zip(size, shift, strict=True))
    returned = 2 * rows[:, None].long() + columns[None, :].long()
    tokens = group(returned[None, :, :, None], window, "block")[0, :, :, 0]
    return tokens[:, :, None] != tokens[:, None, :]


class WindowAttention(nn.Module):
    """Attention among the tokens of each window of a map, with a bias for each relative position.

    Equation (4) of Liu et al. 2021, "Swin Transformer"; shifted windows as in their section 3.2,
    by rolling the map. A window that does not divide a side of the map grows until it does; one
    that takes the whole side is not shifted along it.

    Args:
        width: channels of the map.
        size: height and width of the map.
        window: tokens to a window, down and across, at least.
        heads: attention heads; must divide `width`.
        shifted: whether the windows lie half a window lower and further to the right.

    Raises:
        ValueError: where `heads` does not divide `width`.
    """

    index: Tensor
    apart: Tensor

    def __init__(
        self, width: int, size: tuple[int, int], window: int, heads: int, *, shifted: bool
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"the width must be a multiple of the {heads} heads, not {width}")
        self.heads = heads
        self.window = window_side(size[0], window), window_side(size[1], window)
        y, x = (
            side // 2 if shifted and side < whole else 0
            for side, whole in zip(self.window, size, strict=True)
        )
        self.shift = (y, x)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        offsets = (2 * self.window[0] - 1) * (2 * self.window[1] - 1)
        self.offset_bias = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(heads, offsets), std=0.02)
        )
        self.register_buffer("index", relative_index(self.window), persistent=False)
        self.register_buffer("apart", torn_apart(size, self.window, self.shift), persistent=False)

    def bias(self) -> Tensor:
        """What is added to the scores, [windows*heads,tokens,tokens]; -inf for what is not seen."""
        seen = self.offset_bias[:, self.index].masked_fill(self.apart[:, None], float("-inf"))
        return seen.flatten(0, 1)

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
        heads = heads.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, batch, len(bias), p * q, -1)
        query, key, value = heads.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, bias.to(query.dtype)[None])
        mixed = mixed.reshape(batch, height // p, width // q, self.heads, p, q, -1)
        y: Tensor = self.merge(mixed.permute(0, 1, 4, 2, 5, 3, 6).reshape(x.shape))
        return y.roll((up, left), (1, 2)) if up or left else y


class SwinBlock(nn.Module):
    """Pre-norm window attention, then a pre-norm feed-forward layer; it may read a second map.

    x' = x + attention(fuse(norm(x), norm(other))); x'' = x' + mlp(norm(x')). Both maps go through
    the same first norm and one linear layer back to `width`; the residual is x alone (Tang et al.
    2023, "SwinLSTM"). A block that is never given a second map has no such layer.

    Args:
        width: channels of the map.
        size: height and width of the map.
        window: tokens to an attention window, down and across, at least.
        heads: attention heads; must divide `width`.
        shifted: whether the windows are moved by half.
        fuses: whether it reads a second map.
    """

    def __init__(
        self,
        width: int,
        size: tuple[int, int],
        window: int,
        heads: int,
        *,
        shifted: bool,
        fuses: bool,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fuse = nn.Linear(2 * width, width) if fuses else None
        self.attention = WindowAttention(width, size, window, heads, shifted=shifted)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor, other: Tensor | None, bias: Tensor, keep: Tensor | None) -> Tensor:
        """Map [B,H,W,width] for the maps x and `other`, both [B,H,W,width].

        Args:
            x: the map that is passed on.
            other: the map read beside it by a block that fuses; None for all zeros.
            bias: of the attention, as its `bias()` gives it.
            keep: factors [2,B,1,1,1] of the two branches, as `draw_kept` gives them; None for 1.
        """
        attention, feed_forward = (None, None) if keep is None else keep.unbind(0)
        y: Tensor = self.norm(x)
        if self.fuse is not None:
            own, others = self.fuse.weight.chunk(2, 1)
            # The norm of zeros is its bias, the same at every position.
            fused = F.linear(self.norm.bias if other is None else self.norm(other), others)
            y = F.linear(y, own, self.fuse.bias) + fused
        x = x + _scaled(self.attention(y, bias), attention)
        return x + _scaled(self.feed_forward(x), feed_forward)


def _scaled(branch: Tensor, factor: Tensor | None) -> Tensor:
    return branch if factor is None else factor * branch


def draw_kept(rates: Tensor, steps: int, batch: int, generator: torch.Generator | None) -> Tensor:
    """Factors [steps,blocks,2,B,1,1,1] of the branches of blocks that are dropped at `rates`.

    Stochastic depth (Huang et al. 2016): each branch is left out of each sequence and step with
    its block's rate [blocks], and else scaled up so that its mean stays.
    """
    rates = rates.view(-1, 1, 1, 1, 1, 1)
    draws = torch.rand(
        steps, len(rates), 2, batch, 1, 1, 1, generator=generator, device=rates.device
    )
    return (draws >= rates) / (1 - rates)
