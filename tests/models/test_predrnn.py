"""PredRNN's size; what it computes is held against `tests/literal/predrnn.py`."""

from __future__ import annotations

import torch

from models.predrnn import PredRNN


def test_published_size_has_the_published_parameters() -> None:
    with torch.device("meta"):
        model = PredRNN((1, 64, 64), **PredRNN.sizes["published"].options)
    assert sum(p.numel() for p in model.parameters()) == 23_838_720
