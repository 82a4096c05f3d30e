"""PredRNN against a literal transcription of the ST-LSTM equations, Wang et al. 2017."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.contract import TrainingBatch
from models.predrnn import PredRNN, STLSTMCell


def literal_cell(cell: STLSTMCell, x: Tensor, h: Tensor, c: Tensor, m: Tensor) -> list[Tensor]:
    """New h, c and m, one product of the paper's equations at a time."""
    width, channels = h.shape[1], x.shape[1]
    temporal, spatial = cell.temporal.weight, cell.spatial.weight
    w_xi, w_xf, w_xg, w_xo = temporal[:, :channels].split(width)
    w_hi, w_hf, w_hg, w_ho = temporal[:, channels:].split(width)
    v_xi, v_xf, v_xg = spatial[:, :channels].split(width)
    v_mi, v_mf, v_mg = spatial[:, channels:].split(width)
    w_co, w_mo = cell.memories_to_gate.weight.split(width, 1)

    def convolve(x: Tensor, w: Tensor) -> Tensor:
        return F.conv2d(x, w, padding=w.shape[-1] // 2)

    g = torch.tanh(convolve(x, w_xg) + convolve(h, w_hg))
    i = torch.sigmoid(convolve(x, w_xi) + convolve(h, w_hi))
    f = torch.sigmoid(convolve(x, w_xf) + convolve(h, w_hf) + 1.0)
    c = f * c + i * g
    g_ = torch.tanh(convolve(x, v_xg) + convolve(m, v_mg))
    i_ = torch.sigmoid(convolve(x, v_xi) + convolve(m, v_mi))
    f_ = torch.sigmoid(convolve(x, v_xf) + convolve(m, v_mf) + 1.0)
    m = f_ * m + i_ * g_
    o = torch.sigmoid(convolve(x, w_xo) + convolve(h, w_ho) + convolve(c, w_co) + convolve(m, w_mo))
    h = o * torch.tanh(convolve(torch.cat((c, m), 1), cell.memories_to_hidden.weight))
    return [h, c, m]


def literal_predictions(model: PredRNN, frames: list[Tensor], steps: int) -> list[Tensor]:
    """The prediction of each step: memory up through the layers, from the top to the next step."""
    zero = torch.zeros(len(frames[0]), model.output.in_channels, *frames[0].shape[2:]).double()
    h, c = [zero] * len(model.cells), [zero] * len(model.cells)
    m, predictions = zero, []
    for t in range(steps):
        x = frames[t] if t < len(frames) else predictions[-1]
        for layer, cell in enumerate(model.cells):
            assert isinstance(cell, STLSTMCell)
            h[layer], c[layer], m = literal_cell(cell, x, h[layer], c[layer], m)
            x = h[layer]
        predictions.append(F.conv2d(x, model.output.weight))
    return predictions


def test_cell_is_the_papers_forward_and_backward() -> None:
    torch.manual_seed(0)
    cell = STLSTMCell(3, 4, 5).double()
    x = torch.randn(2, 3, 6, 7).double().requires_grad_()
    h, c, m = (torch.randn(2, 4, 6, 7).double().requires_grad_() for _ in range(3))
    leaves = [x, h, c, m, *cell.parameters()]

    (new_h, new_c), new_m, _ = cell(x, (h, c), m)
    expected = literal_cell(cell, x, h, c, m)

    torch.testing.assert_close([new_h, new_c, new_m], expected, rtol=0, atol=1e-10)
    weights = torch.randn(3, *h.shape).double()
    ours = torch.autograd.grad((torch.stack([new_h, new_c, new_m]) * weights).sum(), leaves)
    theirs = torch.autograd.grad((torch.stack(expected) * weights).sum(), leaves)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_memory_zigzags_through_layers_and_steps() -> None:
    torch.manual_seed(0)
    model = PredRNN((1, 8, 12), width=4, layers=3, kernel=3).double()
    clip = torch.rand(2, 5, 1, 8, 12).double()
    frames = list(F.pixel_unshuffle(clip, 4).unbind(1))
    expected = literal_predictions(model, frames[:3], 4)
    prediction = F.pixel_unshuffle(model(clip[:, :3], 2), 4)
    torch.testing.assert_close(prediction, torch.stack(expected[2:], 1), rtol=0, atol=1e-10)

    expected_loss = F.mse_loss(torch.stack(expected, 1), torch.stack(frames[1:], 1))
    loss = model.training_loss(TrainingBatch(clip, 3, 1.0))
    torch.testing.assert_close(loss, expected_loss, rtol=0, atol=1e-10)
    leaves = list(model.parameters())
    ours = torch.autograd.grad(loss, leaves)
    theirs = torch.autograd.grad(expected_loss, leaves)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_published_size_has_the_published_parameters() -> None:
    with torch.device("meta"):
        model = PredRNN((1, 64, 64), **PredRNN.sizes["published"].options)
    assert sum(p.numel() for p in model.parameters()) == 23_838_720
