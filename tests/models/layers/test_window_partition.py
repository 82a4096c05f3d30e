"""Windows of a map against the papers' definitions."""

from __future__ import annotations

import pytest
import torch

from models.layers.window_partition import (
    Partition,
    relative_position_index,
    window_partition,
    window_reverse,
    window_side,
)
from tests.models.windows import MAP_SHAPE, WINDOW, members


@pytest.mark.parametrize("partition", ["block", "grid"])
def test_windows_hold_the_positions_that_the_papers_say(partition: Partition) -> None:
    numbers = torch.arange(MAP_SHAPE[0] * MAP_SHAPE[1]).view(1, *MAP_SHAPE, 1)
    windows = window_partition(numbers, WINDOW, partition)
    assert windows.shape == (1, 8, 6, 1)
    for tokens in windows[0, :, :, 0].tolist():
        y, x = divmod(tokens[0], MAP_SHAPE[1])
        assert tokens == [v * MAP_SHAPE[1] + u for v, u in members(y, x, partition)]
    assert torch.equal(window_reverse(windows, MAP_SHAPE, WINDOW, partition), numbers)


def test_window_is_the_next_divisor_or_the_whole_map() -> None:
    sides = {side: window_side(side, 4) for side in (2, 3, 4, 6, 7, 8, 10, 12, 16, 28)}
    assert sides == {2: 2, 3: 3, 4: 4, 6: 6, 7: 7, 8: 4, 10: 5, 12: 4, 16: 4, 28: 4}


def test_pairs_of_tokens_share_an_offset_where_they_lie_alike() -> None:
    index = relative_position_index(WINDOW)
    tokens = [divmod(n, WINDOW[1]) for n in range(WINDOW[0] * WINDOW[1])]
    offsets = {
        (y - v, x - u): index[a, b].item()
        for a, (y, x) in enumerate(tokens)
        for b, (v, u) in enumerate(tokens)
    }
    assert [offsets[offset] for offset in sorted(offsets)] == list(range(5 * 3))
    for a, (y, x) in enumerate(tokens):
        for b, (v, u) in enumerate(tokens):
            assert index[a, b].item() == offsets[y - v, x - u]
