from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close

from models.layers.convlstm_sequence import ConvLSTMSequence
from models.layers.sequence_cell import joint_half, over_frames


def test_frames_go_through_a_layer_in_one_call() -> None:
    frames = list(torch.rand(3, 2, 1, 4, 4).unbind())
    calls: list[int] = []
    outputs = over_frames(lambda x: (calls.append(len(x)), 2 * x)[1], frames)
    assert calls == [6]
    assert_close(list(outputs), [2 * frame for frame in frames])


def test_halves_start_as_the_joint_convolution_would() -> None:
    torch.manual_seed(0)
    joint = nn.Conv2d(20, 30, 3)
    for inputs in (4, 16):
        half = joint_half(inputs, 30, 3, 20, bias=True)
        assert half.bias is not None
        assert joint.bias is not None
        assert_close(half.weight.abs().max(), joint.weight.abs().max(), rtol=0.01, atol=0)
        assert_close(half.weight.std(), joint.weight.std(), rtol=0.05, atol=0)
        assert half.bias.abs().max() < 180**-0.5


def test_a_state_is_carried_on() -> None:
    torch.manual_seed(0)
    cell = ConvLSTMSequence(2, 3, 3, before=nn.Conv2d(1, 2, 3, 2, 1))
    frames = list(torch.rand(4, 2, 1, 8, 6).unbind())
    hidden, last = cell(frames, None)
    first, state = cell(frames[:1], None)
    rest, carried = cell(frames[1:], state)
    assert hidden[0].shape == (2, 3, 4, 3)
    assert_close(hidden, first + rest)
    assert_close(last, carried)


def test_a_cell_without_inputs_goes_on_from_its_state() -> None:
    torch.manual_seed(0)
    cell = ConvLSTMSequence(0, 3, 3, group=3)
    state = tuple(torch.rand(2, 2, 3, 4, 6))
    hidden, last = cell(3, state)
    for expected in hidden:
        state = cell(1, state)[1]
        assert_close(expected, state[0])
    assert_close(last, state)
