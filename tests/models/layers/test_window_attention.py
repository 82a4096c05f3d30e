"""Attention within windows against loops over tokens."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from models.layers.window_attention import WindowAttention


def window_of(y: int, x: int, attention: WindowAttention) -> tuple[int, int]:
    """The window of token (y, x): the grid of windows starts at the shift, cut at the borders."""
    (p, q), (down, right) = attention.window, attention.shift
    return (y - down) // p, (x - right) // q


def brute_force(attention: WindowAttention, x: Tensor) -> Tensor:
    """Attention of each token of a map x [B,H,W,width] to those of its window, one by one."""
    batch, height, breadth, width = x.shape
    positions = [(y, u) for y in range(height) for u in range(breadth)]
    p, q = attention.window
    bias = attention.position_bias.view(attention.heads, 2 * p - 1, 2 * q - 1)
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
    result: Tensor = attention.project(torch.stack(mixed, 1).view(batch, height, breadth, width))
    return result


def attention_of(map_shape: tuple[int, int], window: int, *, shifted: bool) -> WindowAttention:
    torch.manual_seed(0)
    attention = WindowAttention(4, map_shape, window, heads=2, shifted=shifted).double()
    nn.init.normal_(attention.position_bias)
    return attention


@pytest.mark.parametrize(
    ("map_shape", "window", "shifted", "shift"),
    [
        ((8, 4), 2, False, (0, 0)),
        ((8, 4), 2, True, (1, 1)),
        ((8, 4), 4, True, (2, 0)),  # the window takes the whole width
        ((3, 8), 3, True, (0, 2)),  # and the whole height; across it grows to the divisor 4
        ((6, 9), 3, True, (1, 1)),
    ],
)
def test_tokens_attend_to_their_window_and_no_further(
    map_shape: tuple[int, int], window: int, shifted: bool, shift: tuple[int, int]
) -> None:
    attention = attention_of(map_shape, window, shifted=shifted)
    assert attention.shift == shift
    x = torch.randn(2, *map_shape, 4).double().requires_grad_()
    result, expected = attention(x, attention.bias()), brute_force(attention, x)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-10)
    weights, leaves = torch.randn_like(result), [x, *attention.parameters()]
    ours = torch.autograd.grad((result * weights).sum(), leaves)
    theirs = torch.autograd.grad((expected * weights).sum(), leaves)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_mask_is_the_brute_force_one_token_by_token() -> None:
    map_shape, window = (8, 12), 4
    attention = attention_of(map_shape, window, shifted=True)
    rolled = torch.arange(8 * 12).view(map_shape).roll((-2, -2), (0, 1))
    for n, masked in enumerate(attention.mask):
        top, left = divmod(n, 12 // window)
        square = rolled[4 * top : 4 * top + 4, 4 * left : 4 * left + 4]
        windows = [window_of(*divmod(int(k), 12), attention) for k in square.flatten()]
        assert masked.tolist() == [[mine != yours for yours in windows] for mine in windows]
    assert bool(attention.mask.any())


def test_a_window_as_large_as_the_map_is_the_whole_map_unshifted() -> None:
    attention = attention_of((4, 6), 8, shifted=True)
    assert attention.window == (4, 6)
    assert attention.shift == (0, 0)
    assert not bool(attention.mask.any())


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of the 3 heads, not 4"):
        WindowAttention(4, (4, 4), 2, heads=3, shifted=False)
