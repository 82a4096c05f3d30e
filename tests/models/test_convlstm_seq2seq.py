from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch.testing import assert_close

from models.contract import TrainingBatch
from models.convlstm_seq2seq import ConvLSTMSeq2Seq


def test_frames_start_dark_and_stay_between_0_and_1() -> None:
    torch.manual_seed(0)
    model = ConvLSTMSeq2Seq((3, 8, 12), width=4)
    with torch.no_grad():
        context = torch.rand(2, 3, 3, 8, 12)
        assert_close(model(context, 4), torch.full((2, 4, 3, 8, 12), 0.047), rtol=0, atol=0.02)
        model.output.weight *= 1000
        prediction = model(context, 4)
    assert 0 <= prediction.min() < 0.01
    assert 0.99 < prediction.max() <= 1


def test_the_decoder_reads_its_own_hidden_states_and_no_frame() -> None:
    torch.manual_seed(0)
    model = ConvLSTMSeq2Seq((1, 8, 8), width=4)
    context = torch.rand(1, 3, 1, 8, 8)
    with torch.no_grad():
        before = model.autoencoder(context, 3)
        model.output.weight.zero_()
        after = model.autoencoder(context, 3)
    assert_close(before, after)
    assert all(bool((a != b).any()) for a, b in pairwise(before.unbind(1)))


def test_the_loss_is_that_of_the_future_frames() -> None:
    torch.manual_seed(0)
    model = ConvLSTMSeq2Seq((1, 8, 8), width=4)
    clip = torch.rand(2, 5, 1, 8, 8)
    expected = (model(clip[:, :3], 2) - clip[:, 3:]).square().mean()
    assert_close(model.training_loss(TrainingBatch(clip, 3, 0.0)), expected)


def test_four_sequences_are_learnt_by_heart_within_300_steps(
    learns_by_heart: Callable[..., None],
) -> None:
    torch.manual_seed(0)
    learns_by_heart(ConvLSTMSeq2Seq((1, 32, 32), width=8))
