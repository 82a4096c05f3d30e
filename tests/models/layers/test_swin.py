"""Shifted-window attention and the Swin block against loops over tokens."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from models.layers.swin import SwinBlock, WindowAttention, draw_kept


def window_of(y: int, x: int, attention: WindowAttention) -> tuple[int, int]:
    """The window of token (y, x): the grid of windows starts at the shift, cut at the borders."""
    (p, q), (down, right) = attention.window, attention.shift
    return (y - down) // p, (x - right) // q


def brute_force(attention: WindowAttention, x: Tensor) -> Tensor:
    """Attention of each token of a map x [B,H,W,width] to those of its window, one by one."""
    batch, height, breadth, width = x.shape
    positions = [(y, u) for y in range(height) for u in range(breadth)]
    p, q = attention.window
    bias = attention.offset_bias.view(attention.heads, 2 * p - 1, 2 * q - 1)
    per_head = width // attention.heads
    query, key, value = attention.query_key_value(x).split(width, -1)
    mixed = []
    for y, u in positions:
        here = window_of(y, u, attention)
        seen = [(v, w) for v, w in positions if window_of(v, w, attention) == here]
        for head in range(attention.heads):
            part = slice(head * per_head, (head + 1) * per_head)
            scores = torch.stack(
                [
                    (query[:, y, u, part] * key[:, v, w, part]).sum(-1) / math.sqrt(per_head)
                    + bias[head, y - v + p - 1, u - w + q - 1]
                    for v, w in seen
                ],
                -1,
            )
            values = torch.stack([value[:, v, w, part] for v, w in seen], 1)
            mixed.append((scores.softmax(-1)[..., None] * values).sum(1))
    result: Tensor = attention.merge(torch.stack(mixed, 1).view(batch, height, breadth, width))
    return result


def attention_of(size: tuple[int, int], window: int, *, shifted: bool) -> WindowAttention:
    torch.manual_seed(0)
    attention = WindowAttention(4, size, window, heads=2, shifted=shifted).double()
    nn.init.normal_(attention.offset_bias)
    return attention


@pytest.mark.parametrize(
    ("size", "window", "shifted", "shift"),
    [
        ((8, 4), 2, False, (0, 0)),
        ((8, 4), 2, True, (1, 1)),
        ((8, 4), 4, True, (2, 0)),  # the window takes the whole width
        ((3, 8), 3, True, (0, 2)),  # and the whole height; across it grows to the divisor 4
        ((6, 9), 3, True, (1, 1)),
    ],
)
def test_tokens_attend_to_their_window_and_no_further(
    size: tuple[int, int], window: int, shifted: bool, shift: tuple[int, int]
) -> None:
    attention = attention_of(size, window, shifted=shifted)
    assert attention.shift == shift
    x = torch.randn(2, *size, 4).double().requires_grad_()
    result, expected = attention(x, attention.bias()), brute_force(attention, x)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-10)
    weights, leaves = torch.randn_like(result), [x, *attention.parameters()]
    ours = torch.autograd.grad((result * weights).sum(), leaves)
    theirs = torch.autograd.grad((expected * weights).sum(), leaves)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_mask_is_the_brute_force_one_token_by_token() -> None:
    size, window = (8, 12), 4
    attention = attention_of(size, window, shifted=True)
    rolled = torch.arange(8 * 12).view(size).roll((-2, -2), (0, 1))
    for n, apart in enumerate(attention.apart):
        top, left = divmod(n, 12 // window)
        square = rolled[4 * top : 4 * top + 4, 4 * left : 4 * left + 4]
        windows = [window_of(*divmod(int(k), 12), attention) for k in square.flatten()]
        assert apart.tolist() == [[mine != yours for yours in windows] for mine in windows]
    assert bool(attention.apart.any())


def test_a_window_as_large_as_the_map_is_the_whole_map_unshifted() -> None:
    attention = attention_of((4, 6), 8, shifted=True)
    assert attention.window == (4, 6)
    assert attention.shift == (0, 0)
    assert not bool(attention.apart.any())


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of the 3 heads, not 4"):
        WindowAttention(4, (4, 4), 2, heads=3, shifted=False)


def block_of(*, fuses: bool) -> tuple[SwinBlock, Tensor, Tensor]:
    torch.manual_seed(0)
    block = SwinBlock(4, (4, 6), 2, heads=2, shifted=True, fuses=fuses).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    return block, torch.randn(2, 4, 6, 4).double(), torch.randn(2, 4, 6, 4).double()


def test_block_fuses_both_normalised_maps_beside_the_shortcut_of_the_first() -> None:
    block, x, other = block_of(fuses=True)
    assert block.fuse is not None
    fused = block.fuse(torch.cat((block.norm(x), block.norm(other)), -1))
    bias = block.attention.bias()
    middle = x + block.attention(fused, bias)
    expected = middle + block.feed_forward(middle)
    torch.testing.assert_close(block(x, other, bias, None), expected, rtol=0, atol=1e-10)


def test_no_second_map_is_one_of_zeros() -> None:
    block, x, other = block_of(fuses=True)
    bias = block.attention.bias()
    zeros = block(x, torch.zeros_like(other), bias, None)
    torch.testing.assert_close(block(x, None, bias, None), zeros, rtol=0, atol=1e-10)


def test_a_block_that_does_not_fuse_reads_one_map_only() -> None:
    block, x, other = block_of(fuses=False)
    bias = block.attention.bias()
    assert torch.equal(block(x, other, bias, None), block(x, None, bias, None))


def test_factors_scale_the_branches_of_each_sequence() -> None:
    block, x, _ = block_of(fuses=False)
    bias = block.attention.bias()
    keep = torch.tensor([[0.0, 2.0], [0.0, 0.5]]).double().view(2, 2, 1, 1, 1)
    result = block(x, None, bias, keep)
    assert torch.equal(result[0], x[0])
    middle = x + 2 * block.attention(block.norm(x), bias)
    expected = middle + 0.5 * block.feed_forward(middle)
    torch.testing.assert_close(result[1], expected[1], rtol=0, atol=1e-10)


def test_branches_are_dropped_at_their_rate_and_keep_their_mean() -> None:
    rates = torch.tensor([0.0, 0.2, 0.5])
    keep = draw_kept(rates, 50, 40, torch.Generator().manual_seed(0))
    assert keep.shape == (50, 3, 2, 40, 1, 1, 1)
    assert bool((keep[:, 0] == 1).all())
    assert sorted(keep[:, 1].unique().tolist()) == pytest.approx([0.0, 1.25])
    dropped = (keep == 0).float().mean((0, 2, 3)).flatten()
    torch.testing.assert_close(dropped, rates, rtol=0, atol=0.03)
    assert not torch.equal(keep[0], keep[1])
    again = draw_kept(rates, 50, 40, torch.Generator().manual_seed(0))
    assert torch.equal(keep, again)
