"""DMVFN: its size, how frames are warped, which blocks take part, and its pyramids."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from models.contract import TrainingBatch, UnfitFrame
from models.dmvfn import DMVFN, FlowBlock, pyramid_distances


def tiny(channels: int = 1) -> DMVFN:
    torch.manual_seed(0)
    return DMVFN((channels, 16, 32), widths=(8, 4), scales=(4, 1), repeats=2)


def test_the_published_size_has_the_published_parameters() -> None:
    with torch.device("meta"):
        model = DMVFN((3, 64, 64))
    assert sum(p.numel() for p in model.parameters()) == 3_559_930
    blocks = [block for block in model.blocks if isinstance(block, FlowBlock)]
    assert [block.scale for block in blocks] == [4, 4, 4, 2, 2, 2, 1, 1, 1]


def test_frames_are_warped_by_pixels_across_and_down_and_end_as_at_their_border() -> None:
    model = tiny()
    older, newer = torch.rand(2, 1, 1, 16, 32)
    flow = torch.zeros(1, 4, 16, 32)
    flow[:, 0], flow[:, 1] = 3, -2
    flow[:, 2] = 0.5
    one, other = model.warped(older, newer, flow)
    rows = (torch.arange(16) - 2).clamp(0, 15)
    columns = (torch.arange(32) + 3).clamp(0, 31)
    assert_close(one, older[..., rows[:, None], columns], rtol=1e-4, atol=1e-5)
    right = newer[..., (torch.arange(32) + 1).clamp(max=31)]
    assert_close(other, (newer + right) / 2, rtol=1e-4, atol=1e-5)


def by_definition(model: DMVFN, older: Tensor, newer: Tensor, chosen: list[bool]) -> Tensor:
    """The prediction of one sequence, blocks that do not take part left out."""
    flow, mask = torch.zeros(1, 4, 16, 32), torch.zeros(1, 1, 16, 32)
    for block, takes_part in zip(model.blocks, chosen, strict=True):
        if takes_part:
            warped = model.warped(older, newer, flow)
            changes = block(torch.cat((older, newer, *warped, mask), 1), flow)
            flow, mask = flow + changes[0], mask + changes[1]
    one, other = model.warped(older, newer, flow)
    return mask.sigmoid() * one + (1 - mask.sigmoid()) * other


@pytest.mark.parametrize(
    "chosen",
    [[True] * 4, [True, False, False, True], [False, True, True, False], [False] * 4],
)
def test_blocks_that_are_not_chosen_change_nothing(chosen: list[bool]) -> None:
    model = tiny(3)
    older, newer = torch.rand(2, 1, 3, 16, 32)
    last = model.stages(older, newer, torch.tensor([chosen]).float())[-1]
    assert_close(last, by_definition(model, older, newer, chosen))


def test_every_stage_but_the_last_is_predicted_as_if_its_block_took_part() -> None:
    model = tiny()
    older, newer = torch.rand(2, 1, 1, 16, 32)
    stages = model.stages(older, newer, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    for n in range(3):
        chosen = [m in (0, n) for m in range(4)]
        assert_close(stages[n], by_definition(model, older, newer, chosen))
    assert_close(stages[3], by_definition(model, older, newer, [True, False, False, False]))


def test_half_of_the_blocks_take_part_and_at_test_always_one() -> None:
    model = tiny()
    older, newer = torch.rand(2, 5, 1, 16, 32)
    assert_close(model.probabilities(older, newer).mean(1), torch.full((5,), 0.5))
    last = model.routing[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    assert bool((model.probabilities(older, newer) >= 0.5).any(1).all())
    with torch.no_grad():
        last.bias.copy_(torch.tensor([2.0, -2.0, 3.0, -3.0]))
    expected = by_definition(model, older[:1], newer[:1], [True, False, True, False])
    context = torch.stack((older, newer), 1)
    assert_close(model(context, 1)[:1, 0], expected)


def test_each_prediction_is_made_of_the_two_frames_before_it() -> None:
    model = tiny()
    context = torch.rand(2, 4, 1, 16, 32)
    with torch.no_grad():
        first = model(context[:, 2:], 1)
        second = model(torch.cat((context[:, 3:], first), 1), 1)
        assert_close(model(context, 2), torch.cat((first, second), 1))
        assert_close(model(context[:, :1], 1), model(context[:, :1].repeat(1, 2, 1, 1, 1), 1))


def test_predictions_lie_between_the_values_of_the_context() -> None:
    context = 0.2 + 0.5 * torch.rand(2, 2, 1, 16, 32)
    predicted = tiny()(context, 3)
    assert context.min() - 1e-5 <= predicted.min()
    assert predicted.max() <= context.max() + 1e-5


def level_by_level(x: Tensor, levels: int) -> float:
    """The pyramid's distance of one map [H,W] from zeros, straight from its definition."""
    taps = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    kernel = torch.outer(taps, taps)[None, None]
    total, x = 0.0, x[None, None]
    for _ in range(levels):
        small = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel)[..., ::2, ::2]
        spread = torch.zeros_like(x)
        spread[..., ::2, ::2] = small
        up = 4 * F.conv2d(F.pad(spread, (2, 2, 2, 2), mode="reflect"), kernel)
        total += float((x - up).abs().mean())
        x = small
    return total


@pytest.mark.parametrize(("side", "levels"), [(64, 5), (32, 4), (48, 4), (128, 5)])
def test_pyramids_have_five_levels_or_as_many_as_fit(side: int, levels: int) -> None:
    torch.manual_seed(0)
    apart = torch.randn(2, 1, 1, side, side)
    expected = [level_by_level(apart[n, 0, 0], levels) for n in range(2)]
    assert pyramid_distances(apart).tolist() == pytest.approx(expected, rel=1e-4)


def test_the_loss_weighs_stages_and_predicts_all_frames_but_two_from_true_ones() -> None:
    model = tiny()
    last = model.routing[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    with torch.no_grad():  # so sure that nothing is left to draw
        last.bias.copy_(torch.tensor([90.0, -90.0, 90.0, -90.0]))
    clip = torch.rand(2, 5, 1, 16, 32)
    chosen = torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 2)
    total = torch.zeros(4)
    for t in range(2, 5):
        stages = torch.stack(model.stages(clip[:, t - 2], clip[:, t - 1], chosen))
        total += pyramid_distances(stages - clip[:, t]) / 3
    expected = sum(0.8 ** (3 - n) * total[n] for n in range(4))
    assert_close(model.training_loss(TrainingBatch(clip, 3, 0.5)), expected)


def test_the_routing_learns_although_it_is_drawn() -> None:
    model = tiny()
    clip = torch.rand(2, 5, 1, 16, 32)
    model.training_loss(TrainingBatch(clip, 3, 0.5, torch.Generator().manual_seed(0))).backward()  # type: ignore[no-untyped-call]
    last = model.routing[-1]
    assert isinstance(last, nn.Linear)
    assert last.weight.grad is not None
    assert bool(last.weight.grad.any())


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(UnfitFrame, match=r"multiples of 16 .*not 64 x 72"):
        DMVFN((1, 64, 72))
    with pytest.raises(ValueError, match="as many widths as scales, not 2 and 3"):
        DMVFN((1, 64, 64), widths=(8, 8))
    with pytest.raises(ValueError, match=r"widths must be multiples of 4, not \(8, 6\)"):
        DMVFN((1, 64, 64), widths=(8, 6), scales=(2, 1))


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    model = DMVFN((1, 32, 32), widths=(32, 24, 16), repeats=1)
    learns_by_heart(model, learning_rate=3e-3)
