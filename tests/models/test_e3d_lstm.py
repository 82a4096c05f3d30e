"""E3D-LSTM: its size, windows and memories; the rest against `tests/literal/e3d_lstm.py`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from models.e3d_lstm import E3DLSTM, WindowConvolution, recall

TINY = {"width": 4, "layers": 2, "kernel": 3}


def test_published_size_is_the_authors_without_second_biases() -> None:
    with torch.device("meta"):
        model = E3DLSTM((1, 64, 64), **E3DLSTM.sizes["published"].options)
    second_biases = 4 * 64
    assert sum(p.numel() for p in model.parameters()) == 12_898_832 - second_biases


def test_an_earlier_frame_is_convolved_with_the_later_one_and_not_the_other_way_round() -> None:
    torch.manual_seed(0)
    convolution, window = WindowConvolution(3, 4, 3), torch.rand(1, 3, 2, 5, 6)
    for changed, expected in ((0, [True, False]), (1, [True, True])):
        other = window.clone()
        other[:, :, changed] += 1.0
        difference = (convolution(other) - convolution(window)).abs().amax((0, 1, 3, 4))
        assert (difference > 1e-3).tolist() == expected


def test_a_position_recalls_what_it_resembles_however_long_ago() -> None:
    past = 30 * torch.eye(4).repeat(5, 1)[None, None]
    past[0, 0, 2] += torch.tensor([0.0, 0.0, 20.0, 0.0])  # the third position of the oldest map
    query = torch.zeros(1, 4, 2, 1, 2)
    query[0, 2, 1, 0, 1] = 1.0  # the last position resembles it, the others nothing
    recalled = recall(query, past)
    torch.testing.assert_close(recalled[0, :, 1, 0, 1], past[0, 0, 2])
    torch.testing.assert_close(recalled[0, :, 0, 0, 0], past[0, 0].mean(0))


def test_every_frame_adds_a_window_to_the_past_and_the_zigzag_memory_goes_on() -> None:
    torch.manual_seed(0)
    model, frames = E3DLSTM((1, 8, 12), **TINY), torch.rand(2, 3, 16, 2, 3)
    state, positions, memories = None, [], []
    for frame in frames.unbind(1):
        _, state = model.step(frame, state)
        positions.append(state.layers[0].past.shape[2])
        memories.append(state.memory)
    assert positions == [2 * 12, 3 * 12, 4 * 12]
    changed = state._replace(memory=torch.zeros_like(state.memory))
    features = [model.step(frames[:, 0], each)[0] for each in (state, changed)]
    assert all(bool(memory.any()) for memory in memories)
    assert not torch.allclose(*features)


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    learns_by_heart(E3DLSTM((1, 32, 32), width=12, layers=1, kernel=3))
