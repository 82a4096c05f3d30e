"""PhyDNet's size, moments and teacher forcing; `tests/literal/phydnet.py` has the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from models.contract import TrainingBatch
from models.phydnet import PhyCell, PhyDNet
from tests.literal import phydnet as literal

CONTEXT = 2


@pytest.fixture
def model() -> PhyDNet:
    torch.manual_seed(0)
    return PhyDNet(literal.FRAME, **literal.TINY)


def test_published_size_has_the_published_parameters() -> None:
    with torch.device("meta"):
        model = PhyDNet((1, 64, 64), **PhyDNet.sizes["published"].options)
    assert sum(p.numel() for p in model.physical.parameters()) == 230_803
    assert sum(p.numel() for p in model.residual.parameters()) == 2_508_032
    assert sum(p.numel() for p in model.parameters()) == 3_091_732


def test_moments_of_a_difference_are_those_of_its_taylor_series() -> None:
    second = torch.zeros(7, 7)
    second[2:5, 3] = torch.tensor([1.0, -2.0, 1.0])  # f(y-1) - 2 f(y) + f(y+1)
    expected = torch.zeros(7, 7)
    expected[[2, 4, 6], 0] = torch.tensor([1.0, 2 / 24, 2 / 720])
    assert_close(PhyCell(32).moments(second), expected)
    assert_close(PhyCell(32).moments(second.T), expected.T)


@torch.no_grad()
def make_derivatives(cell: PhyCell) -> None:
    """Give `cell` filters that are derivatives exactly."""
    inverse = torch.linalg.inv(cell.powers.double() / 720)
    moments = torch.eye(49, dtype=torch.double).view(49, 1, 7, 7)
    cell.filters.weight.copy_(inverse @ moments @ inverse.T)


def test_filters_that_are_derivatives_cost_nothing_and_new_ones_much() -> None:
    torch.manual_seed(0)
    cell = PhyCell(64).double()
    with torch.no_grad():
        assert cell.moment_loss().item() == pytest.approx(4.9, rel=0.1)
        make_derivatives(cell)
        assert cell.moment_loss().item() < 1e-20


def test_a_whole_batch_reads_the_truth_at_a_rate_that_ends_after_a_sixth(model: PhyDNet) -> None:
    clip = torch.rand(3, 6, *literal.FRAME)
    with torch.no_grad():
        read = torch.stack([model(clip[:, :t], 1)[:, 0] for t in range(1, 6)], 1)
        own = torch.cat((read[:, :CONTEXT], model(clip[:, :CONTEXT], 4)[:, 1:]), 1)
        moments = model.physical.moment_loss()

        def loss_of(predictions: Tensor) -> Tensor:
            by_step = [F.mse_loss(p, q) for p, q in zip(predictions.unbind(1), frames, strict=True)]
            return torch.stack(by_step).sum() + moments

        frames = clip[:, 1:].unbind(1)
        forced, free = loss_of(read), loss_of(own)
        assert abs(forced - free) > 1e-4

        def share_forced(progress: float, batches: int) -> float:
            generator = torch.Generator().manual_seed(0)
            count = 0
            for _ in range(batches):
                loss = model.training_loss(TrainingBatch(clip, CONTEXT, progress, generator))
                is_forced = torch.isclose(loss, forced, rtol=1e-6, atol=0)
                assert is_forced or torch.isclose(loss, free, rtol=1e-6, atol=0)
                count += int(is_forced)
            return count / batches

        assert share_forced(0.0, 5) == 1
        assert share_forced(1 / 12, 40) == pytest.approx(0.5, abs=0.25)
        assert share_forced(1 / 6, 5) == 0


@pytest.mark.parametrize(
    ("frame", "width", "why"),
    [
        ((1, 64, 70), 64, r"multiples of 4.* not 64 x 70"),
        ((1, 64, 64), 48, "multiple of 32, not 48"),
    ],
)
def test_what_cannot_be_halved_or_grouped_is_refused(
    frame: tuple[int, int, int], width: int, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        PhyDNet(frame, width=width)


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    """From derivatives on: how far filters are from them is what new ones learn the longest."""
    torch.manual_seed(0)
    model = PhyDNet((1, 32, 32), width=32, layers=1)
    make_derivatives(model.physical)
    learns_by_heart(model)
