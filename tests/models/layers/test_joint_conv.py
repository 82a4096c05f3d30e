from __future__ import annotations

import torch
import torch.nn.functional as F

from models.layers.joint_conv import JointConv


def test_joint_convolution_is_the_sum_of_two() -> None:
    joint = JointConv(3, 4, 6, kernel=5, bias=True).double()
    x, state = torch.randn(2, 3, 8, 8).double(), torch.randn(2, 4, 8, 8).double()
    weight = joint.conv.weight
    apart = F.conv2d(x, weight[:, :3], joint.conv.bias, padding=2) + F.conv2d(
        state, weight[:, 3:], padding=2
    )
    torch.testing.assert_close(joint(x, state), apart, rtol=0, atol=1e-12)


def test_no_state_is_a_state_of_zeros() -> None:
    joint = JointConv(3, 4, 6, kernel=3, bias=True).double()
    x = torch.randn(2, 3, 8, 8).double()
    zeros = torch.zeros(2, 4, 8, 8).double()
    torch.testing.assert_close(joint(x, None), joint(x, zeros), rtol=0, atol=1e-12)
