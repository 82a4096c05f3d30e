"""Moving MNIST behind a curtain: what is predicted does not depend on the delay."""

from __future__ import annotations

import pytest
import torch

from datasets.moving_mnist import MovingMNIST
from datasets.moving_mnist_recall import RecallMovingMNIST

SEEN, HORIZON = 4, 3


@pytest.mark.usefixtures("on_substitute")
@pytest.mark.parametrize("delay", [0, 1, 50])
def test_seen_and_predicted_frames_are_those_without_a_curtain(delay: int) -> None:
    plain, hidden = MovingMNIST(SEEN, HORIZON), RecallMovingMNIST(delay, SEEN, HORIZON)
    assert hidden.spec.context_frames == SEEN + delay
    drawn = [it.train_clips(3, torch.Generator().manual_seed(0)) for it in (plain, hidden)]
    tests = [it.held_out("test") for it in (plain, hidden)]
    for there, here in (drawn, [clips[5:8] for clips in tests]):
        assert torch.equal(here[:, :SEEN], there[:, :SEEN])
        assert torch.equal(here[:, SEEN + delay :], there[:, SEEN:])
        assert not here[:, SEEN : SEEN + delay].any()
    assert len(tests[1]) == len(tests[0])


@pytest.mark.parametrize("options", [{"delay": -1}, {"delay": 2001}, {"seen_frames": 0}])
def test_a_delay_that_is_none_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="whole number"):
        RecallMovingMNIST(**options)
