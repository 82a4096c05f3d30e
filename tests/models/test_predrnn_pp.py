"""PredRNN++: its size, its highway; the rest is held against `tests/literal/predrnn_pp.py`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from models.predrnn_pp import GradientHighway, PredRNNPP


def test_published_size_is_openstls_without_what_it_never_uses() -> None:
    with torch.device("meta"):
        model = PredRNNPP((1, 64, 64), **PredRNNPP.sizes["published"].options)
    unused = 4 * 25 * 256 * 128  # a convolution of both memories in each cell
    assert sum(p.numel() for p in model.parameters()) == 38_584_320 - unused
    cells = [sum(p.numel() for p in cell.parameters()) for cell in model.cells]
    assert cells == [7_354_368 - unused // 4, *[9_863_168 - unused // 4] * 3]
    assert sum(p.numel() for p in model.highway.parameters()) == 1_638_400


def test_the_highway_leaks_by_its_gate() -> None:
    highway = GradientHighway(1, 1)
    with torch.no_grad():
        highway.gates.weight.zero_()
        highway.gates.weight[1, 0] = 1.0  # the gate reads x, what is let in is 0
        open_, shut = (
            highway(torch.full((1, 1, 2, 2), x), torch.ones(1, 1, 2, 2)) for x in (30.0, -30.0)
        )
    torch.testing.assert_close(open_, torch.zeros(1, 1, 2, 2))
    torch.testing.assert_close(shut, torch.ones(1, 1, 2, 2))


def test_the_second_layer_sees_the_first_through_the_highway_alone() -> None:
    torch.manual_seed(0)
    model = PredRNNPP((1, 8, 12), width=4, layers=2, kernel=3)
    with torch.no_grad():
        model.highway.gates.weight.zero_()  # it stays at zero
        model.cells[1].from_memory.weight.zero_()
        first, second = (model(torch.rand(1, 3, 1, 8, 12), 1) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_one_layer_has_no_place_for_the_highway() -> None:
    with pytest.raises(ValueError, match="2 layers at least"):
        PredRNNPP((1, 8, 12), layers=1)


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    learns_by_heart(PredRNNPP((1, 32, 32), width=16, layers=2, kernel=3))
