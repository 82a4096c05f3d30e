"""TAU: its loss against its definition, and that it learns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from models.contract import TrainingBatch
from models.simvp import SimVP
from models.tau import TAU, differential_divergence

TINY = {"width": 8, "translator_width": 16, "translator_depth": 2, "window_frames": 3}


def test_divergence_is_that_of_the_softmax_of_changes_averaged_over_pixels() -> None:
    torch.manual_seed(0)
    predicted, true = torch.rand(2, 2, 4, 3, 5, 6).double()
    total = 0.0
    for b in range(2):
        for t in range(3):
            p = ((predicted[b, t + 1] - predicted[b, t]).flatten() / 0.1).softmax(0)
            q = ((true[b, t + 1] - true[b, t]).flatten() / 0.1).softmax(0)
            total += float((p * (p / q).log()).sum())
    expected = total / (2 * 3) / (3 * 5 * 6)
    assert float(differential_divergence(predicted, true)) == pytest.approx(expected)
    assert float(differential_divergence(true, true)) == pytest.approx(0, abs=1e-12)


def test_a_tenth_of_the_divergence_is_added_where_frames_change() -> None:
    torch.manual_seed(0)
    model = TAU((1, 16, 16), **TINY).eval()
    clip = torch.rand(2, 6, 1, 16, 16)
    batch = TrainingBatch(clip, 3, 0.5)
    predicted = model(batch.context, 3)
    mse, divergence = (
        loss(predicted, batch.future) for loss in (F.mse_loss, differential_divergence)
    )
    torch.testing.assert_close(model.training_loss(batch), mse + 0.1 * divergence)
    torch.testing.assert_close(batch.logged["divergence"], divergence.detach())
    one = TrainingBatch(clip[:, :4], 3, 0.5)
    torch.testing.assert_close(
        model.training_loss(one), F.mse_loss(model(one.context, 1), one.future)
    )


def test_tau_is_simvp_with_its_translator() -> None:
    torch.manual_seed(0)
    tau = TAU((1, 16, 16), **TINY).eval()
    torch.manual_seed(0)
    simvp = SimVP((1, 16, 16), translator="tau", **TINY).eval()
    context = torch.rand(1, 3, 1, 16, 16)
    assert torch.equal(tau(context, 2), simvp(context, 2))


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    learns_by_heart(TAU((1, 32, 32), **TINY))
