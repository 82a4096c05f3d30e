from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from models.layers.mbconv import MBConv


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(8, 8, 1), (8, 12, 1), (8, 16, 2)])
def test_block_is_a_pre_norm_bottleneck_beside_a_shortcut(
    inputs: int, outputs: int, stride: int
) -> None:
    torch.manual_seed(0)
    block = MBConv(inputs, outputs, stride).double().eval()
    x = torch.randn(2, inputs, 6, 8).double()
    norm, expand, norm2, _, depthwise, norm3, _, excite, project = block.branch

    inner = F.conv2d(norm(x), expand.weight)
    assert inner.shape[1] == 4 * outputs
    inner = F.gelu(norm2(inner), approximate="tanh")
    inner = torch.cat(  # each channel by itself
        [
            F.conv2d(inner[:, [c]], depthwise.weight[[c]], stride=stride, padding=1)
            for c in range(inner.shape[1])
        ],
        1,
    )
    inner = F.gelu(norm3(inner), approximate="tanh")
    squeezed = F.silu(excite.squeeze(F.adaptive_avg_pool2d(inner, 1)))
    assert squeezed.shape[1] == outputs // 4
    branch = project(inner * torch.sigmoid(excite.excite(squeezed)))

    shortcut = F.avg_pool2d(x, stride) if stride > 1 else x
    if inputs != outputs:
        shortcut = F.conv2d(shortcut, block.shortcut[-1].weight, block.shortcut[-1].bias)
    assert block(x).shape == (2, outputs, 6 // stride, 8 // stride)
    torch.testing.assert_close(block(x), shortcut + branch, rtol=0, atol=1e-10)
