"""Block and grid attention against a loop over positions."""

from __future__ import annotations

import math

import pytest
import torch

from models.layers.partition_attention import (
    Partition,
    PartitionAttention,
    group,
    ungroup,
    window_side,
)

SIZE, WINDOW = (6, 8), (3, 2)


def members(y: int, x: int, partition: Partition) -> list[tuple[int, int]]:
    """The positions that (y, x) shares a group with, straight from the paper's definitions."""
    (height, width), (p, q) = SIZE, WINDOW
    positions = [(v, u) for v in range(height) for u in range(width)]
    if partition == "block":
        return [(v, u) for v, u in positions if (v // p, u // q) == (y // p, x // q)]
    rows, columns = height // p, width // q
    return [(v, u) for v, u in positions if (v % rows, u % columns) == (y % rows, x % columns)]


@pytest.mark.parametrize("partition", ["block", "grid"])
def test_groups_are_the_papers(partition: Partition) -> None:
    numbers = torch.arange(SIZE[0] * SIZE[1]).view(1, *SIZE, 1)
    groups = group(numbers, WINDOW, partition)
    assert groups.shape == (1, 8, 6, 1)
    for tokens in groups[0, :, :, 0].tolist():
        y, x = divmod(tokens[0], SIZE[1])
        assert tokens == [v * SIZE[1] + u for v, u in members(y, x, partition)]
    assert torch.equal(ungroup(groups, SIZE, WINDOW, partition), numbers)


@pytest.mark.parametrize("partition", ["block", "grid"])
def test_layer_is_attention_among_the_members_of_each_group(partition: Partition) -> None:
    torch.manual_seed(0)
    layer = PartitionAttention(8, SIZE, WINDOW, partition, head_width=4).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, *SIZE, 8).double().requires_grad_()

    query, key, value = layer.query_key_value(layer.norm(x)).split(8, -1)
    bias = layer.bias.view(layer.heads, 2 * WINDOW[0] - 1, 2 * WINDOW[1] - 1)
    # A grid group's positions stand apart: offsets between them count in whole strides.
    strides = (1, 1) if partition == "block" else (SIZE[0] // WINDOW[0], SIZE[1] // WINDOW[1])
    mixed = []
    for y in range(SIZE[0]):
        for u in range(SIZE[1]):
            group_of = members(y, u, partition)
            for head in (slice(0, 4), slice(4, 8)):
                scores = torch.stack(
                    [
                        (query[:, y, u, head] * key[:, v, w, head]).sum(-1) / math.sqrt(4)
                        + bias[
                            head.start // 4,
                            (y - v) // strides[0] + WINDOW[0] - 1,
                            (u - w) // strides[1] + WINDOW[1] - 1,
                        ]
                        for v, w in group_of
                    ],
                    -1,
                )
                values = torch.stack([value[:, v, w, head] for v, w in group_of], 1)
                mixed.append((scores.softmax(-1)[..., None] * values).sum(1))
    attended = torch.stack(mixed, 1).view(2, *SIZE, 8)
    expected = x + layer.merge(attended)
    expected = expected + layer.feed_forward(expected)

    result = layer(x)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-10)
    weights = torch.randn_like(result)
    leaves = [x, *layer.parameters()]
    ours = torch.autograd.grad((result * weights).sum(), leaves)
    theirs = torch.autograd.grad((expected * weights).sum(), leaves)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_window_is_the_next_divisor_or_the_whole_map() -> None:
    sides = {side: window_side(side, 4) for side in (2, 3, 4, 6, 7, 8, 10, 12, 16, 28)}
    assert sides == {2: 2, 3: 3, 4: 4, 6: 6, 7: 7, 8: 4, 10: 5, 12: 4, 16: 4, 28: 4}
