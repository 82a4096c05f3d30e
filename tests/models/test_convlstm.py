"""ConvLSTM's cell, with peepholes too, against Shi et al. 2015, equation (3); its size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.convlstm import ConvLSTM, ConvLSTMCell


def literal_cell(cell: ConvLSTMCell, inputs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Hidden states and the last cell state, one product of equation (3) at a time."""
    kernel, bias = cell.gates.weight, cell.gates.bias
    width, channels = len(kernel) // 4, inputs[0].shape[1]
    w_x = dict(zip("ifco", kernel[:, :channels].split(width), strict=True))
    w_h = dict(zip("ifco", kernel[:, channels:].split(width), strict=True))
    biases = torch.zeros(4 * width).double() if bias is None else bias
    b = dict(zip("ifco", biases.split(width), strict=True))
    shape = (len(inputs[0]), width, *inputs[0].shape[2:])
    peep = torch.zeros(3, *shape[1:]).double() if cell.peephole is None else cell.peephole
    w_ci, w_cf, w_co = peep

    def convolve(x: Tensor, w: Tensor) -> Tensor:
        return F.conv2d(x, w, padding=kernel.shape[-1] // 2)

    h, c = torch.zeros(shape).double(), torch.zeros(shape).double()
    hidden = []
    for x in inputs:
        add = {
            g: convolve(x, w_x[g]) + convolve(h, w_h[g]) + b[g].view(1, -1, 1, 1) for g in "ifco"
        }
        i = torch.sigmoid(add["i"] + w_ci * c)
        f = torch.sigmoid(add["f"] + w_cf * c)
        c = f * c + i * torch.tanh(add["c"])
        o = torch.sigmoid(add["o"] + w_co * c)
        h = o * torch.tanh(c)
        hidden.append(h)
    return hidden, c


@pytest.mark.parametrize("peephole", [None, (6, 7)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_cell_is_equation_3_forward_and_backward(
    peephole: tuple[int, int] | None, kernel: int
) -> None:
    torch.manual_seed(0)
    cell = ConvLSTMCell(3, 4, kernel, bias=peephole is not None, peephole=peephole).double()
    if cell.peephole is not None:
        torch.nn.init.normal_(cell.peephole)
    inputs = [torch.randn(2, 3, 6, 7).double().requires_grad_() for _ in range(4)]
    leaves = [*inputs, *cell.parameters()]

    state, hidden = None, []
    for x in inputs:
        state = cell(x, state)
        hidden.append(state[0])
    assert state is not None
    expected_hidden, expected_cell = literal_cell(cell, inputs)

    torch.testing.assert_close(hidden, expected_hidden, rtol=0, atol=1e-10)
    torch.testing.assert_close(state[1], expected_cell, rtol=0, atol=1e-10)
    weights = torch.randn_like(torch.stack(hidden))
    ours = torch.autograd.grad((torch.stack(hidden) * weights).sum(), leaves)
    theirs = torch.autograd.grad((torch.stack(expected_hidden) * weights).sum(), leaves)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_published_size_is_openstls_without_its_unused_parameters() -> None:
    with torch.device("meta"):
        model = ConvLSTM((1, 64, 64), **ConvLSTM.sizes["published"].options)
    # Each of 4 cells there also holds a 5x5 and a 1x1 convolution of 256 to 128 channels.
    unused = 4 * (256 * 128 * 5 * 5 + 256 * 128)
    assert unused == 3_407_872
    assert sum(p.numel() for p in model.parameters()) == 15_083_520 - unused


def test_peepholes_need_no_square_frame() -> None:
    model = ConvLSTM((3, 16, 24), width=4, layers=1, kernel=3, peephole=True)
    assert model(torch.rand(1, 2, 3, 16, 24), 3).shape == (1, 3, 3, 16, 24)
