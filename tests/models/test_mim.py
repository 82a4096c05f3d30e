"""MIM: its size and its first frame; the rest is held against `tests/literal/mim.py`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from models.mim import MIM

TINY = {"width": 4, "layers": 3, "kernel": 3}


def test_published_size_is_openstls_without_what_it_never_uses() -> None:
    with torch.device("meta"):
        model = MIM((1, 64, 64), **MIM.sizes["published"].options)
    unused = 3 * 2 * 128 * 128  # a 1x1 convolution in each MIM-N
    assert sum(p.numel() for p in model.parameters()) == 38_043_648 - unused


def test_nothing_has_changed_at_the_first_frame() -> None:
    torch.manual_seed(0)
    model, frames = MIM((1, 8, 12), **TINY), torch.rand(2, 2, 16, 2, 3)
    _, first = model.step(frames[:, 0], None)
    _, second = model.step(frames[:, 1], first)
    assert not any(bool(tensor.any()) for state in first.changes for tensor in state)
    assert all(bool(tensor.all()) for state in second.changes for tensor in state)


def test_gradients_go_back_through_what_mim_s_remembers() -> None:
    torch.manual_seed(0)
    model, frames = MIM((1, 8, 12), **TINY), torch.rand(2, 2, 16, 2, 3)
    _, first = model.step(frames[:, 0], None)
    remembered = [block[2].detach().requires_grad_() for block in first.blocks]
    blocks = [(*block[:2], s) for block, s in zip(first.blocks, remembered, strict=True)]
    features, _ = model.step(frames[:, 1], first._replace(blocks=blocks))
    gradients = torch.autograd.grad(features.sum(), remembered)
    assert all(bool(gradient.any()) for gradient in gradients)


def test_one_layer_has_no_block() -> None:
    with pytest.raises(ValueError, match="2 layers at least"):
        MIM((1, 8, 12), layers=1)


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    learns_by_heart(MIM((1, 32, 32), width=16, layers=2, kernel=3))
