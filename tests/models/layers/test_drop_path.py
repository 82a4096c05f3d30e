"""Stochastic depth drops whole sequences and keeps their mean."""

from __future__ import annotations

import pytest
import torch

from models.layers.drop_path import DropPath


def test_a_branch_is_dropped_by_sequence_and_keeps_its_mean() -> None:
    torch.manual_seed(0)
    dropped = DropPath(0.25)(torch.ones(4000, 2, 3))
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert bool((dropped == dropped[:, :1, :1]).all())
    assert float(dropped.mean()) == pytest.approx(1.0, abs=5 * (1 / 3 / 4000) ** 0.5)
