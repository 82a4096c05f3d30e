from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from models.layers import cell_stack
from models.layers.cell_stack import CellStack
from models.layers.convlstm_sequence import ConvLSTMSequence


def stack() -> CellStack:
    torch.manual_seed(0)
    return CellStack((ConvLSTMSequence(1, 3, 3), ConvLSTMSequence(3, 4, 3, group=4))).double()


def test_each_cell_reads_the_hidden_states_of_the_one_below() -> None:
    model, clip = stack(), torch.rand(2, 3, 1, 4, 6).double()
    lower, lower_state = model.cells[0](clip.unbind(1), None)
    _, upper_state = model.cells[1](lower, None)
    assert [s.shape for s in upper_state] == [(2, 4, 4, 6)] * 2
    assert_close(model(clip), [lower_state, upper_state])


def test_a_long_clip_is_read_in_pieces_to_the_same_end(monkeypatch: pytest.MonkeyPatch) -> None:
    model, clip = stack(), torch.rand(2, 7, 1, 4, 6).double()
    at_once = model(clip)
    monkeypatch.setattr(cell_stack, "FRAMES_AT_ONCE", 3)
    pieces: list[int] = []
    model.cells[0].register_forward_pre_hook(lambda _, given: pieces.append(len(given[0])))
    assert_close(model(clip), at_once, rtol=0, atol=1e-12)
    assert pieces == [3, 3, 1]
