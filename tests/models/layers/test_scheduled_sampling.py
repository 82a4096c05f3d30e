from __future__ import annotations

import pytest
import torch

from models.layers.scheduled_sampling import draw_truth, truth_rate


def test_rate_falls_linearly_from_one_to_zero_and_stays() -> None:
    rates = [truth_rate(progress, 0.4) for progress in (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)]
    assert rates == pytest.approx([1.0, 0.75, 0.5, 0.0, 0.0, 0.0])


def test_masks_are_true_at_the_rate_for_each_clip_and_step() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = draw_truth(torch.empty(1000, 1), 9, 0.3, generator)
    assert masks is not None
    drawn = torch.stack(masks)
    assert drawn.shape == (9, 1000, 1, 1, 1)
    assert drawn.float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert not torch.equal(drawn[0], drawn[1])


def test_rate_one_is_always_true_and_rate_zero_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    always = draw_truth(torch.empty(50, 1), 9, 1.0, generator)
    assert always is not None
    assert all(bool(mask.all()) for mask in always)
    state = generator.get_state()
    assert draw_truth(torch.empty(50, 1), 9, 0.0, generator) is None
    assert torch.equal(generator.get_state(), state)
