"""The small sizes cost about the same, and learn."""

from __future__ import annotations

import pytest
import torch

from bench.flops import Cost
from datasets.contract import Spec
from models.contract import Predictor
from models.convlstm import ConvLSTM
from models.maxvit import MaxViT
from models.predrnn import PredRNN

TRAINED: list[type[Predictor]] = [ConvLSTM, PredRNN, MaxViT]


def forward_flops(model_class: type[Predictor], size: str) -> float:
    """FLOPs to predict 10 frames from 10 of one grey 64x64 sequence."""
    options = model_class.sizes[size].options
    flops = Cost(model_class, options, Spec((1, 64, 64), 10, 10)).predict_flops
    assert flops is not None
    return flops


def test_small_sizes_cost_the_same_within_a_fifth() -> None:
    flops = [forward_flops(model_class, "small") for model_class in TRAINED]
    assert max(flops) < 1.2 * min(flops)
    assert 1e9 < min(flops) < 4e9


@pytest.mark.parametrize(("model_class", "published_gmacs"), [(ConvLSTM, 56.8), (PredRNN, 116.0)])
def test_published_sizes_cost_what_is_published(
    model_class: type[Predictor], published_gmacs: float
) -> None:
    # A little less here: nothing is convolved with the zero state of the first step.
    gmacs = forward_flops(model_class, "published") / 2e9
    assert 0.96 * published_gmacs < gmacs < published_gmacs


@pytest.mark.parametrize("model_class", TRAINED, ids=lambda model: model.name)
def test_four_sequences_are_learnt_by_heart(model_class: type[Predictor]) -> None:
    """The loss falls twentyfold within 300 steps on four sequences of a moving square."""
    torch.manual_seed(0)
    options: dict[str, object] = {"width": 16, "layers": 2, "kernel": 3}
    if model_class is MaxViT:
        options = {"stem": 16, "widths": (32, 32), "depths": (1, 1), "head": 16}
    model = model_class((1, 32, 32), **options)
    clip = torch.zeros(4, 8, 1, 32, 32)
    for b in range(4):
        for t in range(8):
            clip[b, t, 0, 2 * t + b : 2 * t + b + 8, 6 * b : 6 * b + 6] = 1.0
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, fused=True)
    first = loss = model.training_loss(clip, 4, 1.0, None)
    for _ in range(300):
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss = model.training_loss(clip, 4, 1.0, None)
        if loss.item() < first.item() / 20:
            return
    pytest.fail(f"the loss went from {first.item():.4f} to {loss.item():.4f} only")
