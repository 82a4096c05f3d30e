"""PredNet's size, what it sees and when; `tests/literal/prednet.py` has the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from models.contract import TrainingBatch
from models.prednet import PredNet
from tests.literal import prednet as literal

CONTEXT = 3


@pytest.fixture
def model() -> PredNet:
    torch.manual_seed(0)
    model = PredNet(literal.FRAME, **literal.TINY)
    torch.nn.init.constant_(model.expectations[0].bias, 0.3)  # from 0 on a ReLU may hide all
    return model


def test_frames_are_expected_before_they_are_seen_and_stay_between_0_and_1(model: PredNet) -> None:
    seen, other = torch.rand(2, *literal.FRAME), torch.rand(2, *literal.FRAME)
    with torch.no_grad():
        state = model.at_rest(seen)
        for bias in (0.3, 50.0, -50.0):
            torch.nn.init.constant_(model.expectations[0].bias, bias)
            expected, state = model.step(seen, state)
            assert 0 <= expected.min() <= expected.max() <= 1
            assert torch.equal(expected, model.step(other, state)[0]) == (abs(bias) > 1)
        one, two = (model.step(frame, state) for frame in (seen, other))
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[1][0].error, two[1][0].error)


def test_a_prediction_that_stands_for_its_frame_is_no_error(model: PredNet) -> None:
    frame = torch.rand(2, *literal.FRAME)
    with torch.no_grad():
        _, seen = model.step(frame, model.at_rest(frame))
        _, unseen = model.step(frame, model.at_rest(frame), False)
    assert bool(seen[0].error.any())
    assert not bool(unseen[0].error.any())


def test_in_the_first_half_all_frames_are_seen_and_then_the_context_alone(model: PredNet) -> None:
    clip = torch.rand(2, 6, *literal.FRAME)

    def loss_of(predictions: Tensor) -> Tensor:
        return (predictions - clip[:, 1:]).abs().mean() / 2

    def loss_at(progress: float) -> Tensor:
        return model.training_loss(TrainingBatch(clip, CONTEXT, progress))

    with torch.no_grad():
        next_frames = torch.cat([model(clip[:, :t], 1) for t in range(1, 6)], 1)
        several = torch.cat((next_frames[:, : CONTEXT - 1], model(clip[:, :CONTEXT], 3)), 1)
        assert not torch.isclose(loss_of(next_frames), loss_of(several), rtol=1e-4)
        for progress, predictions in ((0.0, next_frames), (0.49, next_frames), (0.5, several)):
            assert_close(loss_at(progress), loss_of(predictions))


def test_frames_that_cannot_be_halved_for_every_layer_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 16.* not 64 x 72"):
        PredNet((1, 64, 72))


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(1)  # by 0 the frame's ReLU hides all, for good
    learns_by_heart(PredNet((1, 32, 32), width=8, layers=3))
