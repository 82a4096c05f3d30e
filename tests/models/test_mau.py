"""MAU's size and attention; what it computes is held against `tests/literal/mau.py`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.testing import assert_close

from models.mau import MAU, MotionAwareUnit


@pytest.mark.parametrize(
    ("frame", "halvings", "published"),
    [((1, 64, 64), 2, 4_483_588), ((1, 128, 128), 1, 20_138_372)],
)
def test_published_sizes_have_the_published_parameters_but_the_dead(
    frame: tuple[int, int, int], halvings: int, published: int
) -> None:
    with torch.device("meta"):
        model = MAU(frame, **MAU.sizes["published"].options, halvings=halvings)
    merge, last = 2 * 64 * 64 + 64, 2 + 1
    assert sum(p.numel() for p in model.parameters()) == published - merge - last


def test_a_cell_recalls_the_temporal_state_whose_step_looked_like_now() -> None:
    torch.manual_seed(0)
    cell = MotionAwareUnit(4, 3, (8, 8))
    with torch.no_grad():
        cell.newest.norm.weight.zero_()
        cell.newest.norm.bias.fill_(-50.0)  # the trend alone is fused
        now, temporals = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 4, 8, 8)
        other = temporals.clone()
        other[:, 1] = torch.randn(1, 4, 8, 8)
        for resembled, is_recalled in ((0, False), (1, True)):
            spatials = torch.zeros(1, 3, 4, 8, 8)
            spatials[:, resembled] = 10 * cell.query(now)
            (one, _), (two, _) = (cell(now, (spatials, past)) for past in (temporals, other))
            assert torch.allclose(one, two, atol=1e-4) != is_recalled


def test_the_past_holds_the_last_steps_the_newest_at_the_end() -> None:
    torch.manual_seed(0)
    cell = MotionAwareUnit(4, 3, (8, 8))
    zeros, entered, left = torch.zeros(1, 3, 4, 8, 8), [], []
    past = zeros, zeros
    with torch.no_grad():
        for _ in range(4):
            entered.append(torch.randn(1, 4, 8, 8))
            _, past = cell(entered[-1], past)
            left.append(past[1][:, -1])
    assert_close(past, (torch.stack(entered[1:], 1), torch.stack(left[1:], 1)))


def test_frames_that_cannot_be_halved_twice_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 4.* not 64 x 70"):
        MAU((1, 64, 70))


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    learns_by_heart(MAU((1, 32, 32), width=8, layers=1, kernel=3))
