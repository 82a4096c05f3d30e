from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.layers.scheduled_sampling import choose, draw_truth, truth_rate


def test_rate_falls_linearly_from_one_to_zero_and_stays() -> None:
    rates = [truth_rate(progress, 0.4) for progress in (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)]
    assert rates == pytest.approx([1.0, 0.75, 0.5, 0.0, 0.0, 0.0])


def test_masks_are_true_at_the_rate_for_each_clip_and_step() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = draw_truth(torch.empty(1000, 1), 9, 0.3, generator)
    drawn = torch.stack([mask for mask in masks if isinstance(mask, Tensor)])
    assert drawn.shape == (9, 1000, 1, 1, 1)
    assert drawn.float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert not torch.equal(drawn[0], drawn[1])


def test_nothing_is_drawn_where_nothing_is_left_to_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert draw_truth(torch.empty(50, 1), 9, 1.0, generator) == [True] * 9
    assert draw_truth(torch.empty(50, 1), 9, 0.0, generator) == [False] * 9
    assert draw_truth(torch.empty(50, 1), 0, 0.5, generator) == []
    assert torch.equal(generator.get_state(), state)


def test_each_sequence_reads_the_frame_that_its_mask_says() -> None:
    true_frame, own = torch.rand(2, 3, 1, 4, 4)
    mask = torch.tensor([True, False, True]).view(3, 1, 1, 1)
    expected = torch.stack([true_frame[0], own[1], true_frame[2]])
    assert torch.equal(choose(mask, true_frame, own), expected)
    assert choose(True, true_frame, own) is true_frame
    assert choose(False, true_frame, own) is own
