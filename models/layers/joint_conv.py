"""One convolution of an input and a state side by side."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class JointConv(nn.Module):
    """Convolution of an input and a state stacked on channels: W_x * x + W_h * h in one product.

    A state that is all zeros is given as None, and its half of the work is left out. Convolving
    the known frames ahead of the time loop instead would take two products a step for one, and
    reach the first layer alone.
    """

    def __init__(self, inputs: int, states: int, outputs: int, kernel: int, *, bias: bool) -> None:
        super().__init__()
        self.inputs = inputs
        self.conv = nn.Conv2d(inputs + states, outputs, kernel, padding="same", bias=bias)

    def forward(self, x: Tensor, state: Tensor | None) -> Tensor:
        """Outputs [B,outputs,H,W] for x [B,inputs,H,W] and state [B,states,H,W]."""
        weight, bias = self.conv.weight, self.conv.bias
        if state is not None:
            # Under autocast the state is narrower than a frame: joining them must not widen it.
            x = torch.cat((x.to(state.dtype), state), 1)
        seen = weight if state is not None else weight[:, : self.inputs]
        return F.conv2d(x, seen, bias, padding="same")
