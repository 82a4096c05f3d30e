from __future__ import annotations

import torch
from torch import nn

from models.layers.damped import damped


def test_a_damped_layer_starts_a_tenth_as_large_and_without_bias() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(5, 3)
    weight = layer.weight.detach().clone()
    assert damped(layer) is layer
    torch.testing.assert_close(layer.weight.detach(), 0.1 * weight)
    assert not layer.bias.any()
    assert damped(nn.Conv2d(2, 2, 1, bias=False)).bias is None
