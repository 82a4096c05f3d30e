"""What models add up over many frames stays exact under mixed precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import (
    convlstm,
    e3d_lstm,
    encoder_forecaster,
    lmc_memory,
    mau,
    mim,
    phydnet,
    prednet,
    predrnn,
    predrnn_pp,
    swinlstm,
    ucf101_study,
    vmrnn,
)
from models.layers.precision import widened, zero_state
from models.sith import LogMemory, Rollout

WIDTH, SIDE = 4, 8


def lmc(x: Tensor, state: Any) -> Any:
    return lmc_memory.ConvLSTMCell(WIDTH)(x, state or (zero_state(x, WIDTH),) * 2)


def st_lstm(x: Tensor, state: Any) -> Any:
    (hidden, cell), memory = state or ((zero_state(x, WIDTH),) * 2, zero_state(x, WIDTH))
    (hidden, cell), memory, _ = predrnn.STLSTMCell(WIDTH, WIDTH, 3)(x, (hidden, cell), memory)
    return (hidden, cell), memory


def motion_aware(x: Tensor, state: Any) -> Any:
    past = state or (zero_state(x, 3 * WIDTH).unflatten(1, (3, WIDTH)),) * 2
    return mau.MotionAwareUnit(WIDTH, 3, (SIDE, SIDE))(x, past)[1]


def physical(x: Tensor, state: Any) -> Any:
    (hidden,) = state or (zero_state(x, WIDTH),)
    return (phydnet.PhyCell(WIDTH)(x, hidden),)


def represented(x: Tensor, state: Any) -> Any:
    hidden, cell = state or (zero_state(x, WIDTH),) * 2
    return prednet.Representation(2 * WIDTH, WIDTH)(torch.cat((x, hidden), 1), cell)


def causal_lstm(x: Tensor, state: Any) -> Any:
    (hidden, cell), memory = state or ((zero_state(x, WIDTH),) * 2, zero_state(x, WIDTH))
    (hidden, cell), memory = predrnn_pp.CausalLSTMCell(WIDTH, WIDTH, 3)(x, (hidden, cell), memory)
    return (hidden, cell), memory


def highway(x: Tensor, state: Any) -> Any:
    (z,) = state or (zero_state(x, WIDTH),)
    return (predrnn_pp.GradientHighway(WIDTH, 3)(x, z),)


def mim_block(x: Tensor, state: Any) -> Any:
    *block, memory = state or (zero_state(x, WIDTH),) * 4
    block, memory = mim.MIMBlock(WIDTH, 3, (SIDE, SIDE))(x, x, block, memory)
    return (*block, memory)


def eidetic(x: Tensor, state: Any) -> Any:
    window = torch.stack((x, x), 2)
    hidden, cell, memory = state or (zero_state(window, WIDTH),) * 3
    old = e3d_lstm.EideticState(hidden, cell, e3d_lstm.positions(cell))
    new, memory = e3d_lstm.EideticLSTMCell(WIDTH, WIDTH, 3)(window, old, memory)
    return new.hidden, new.cell, memory


def swin(x: Tensor, state: Any) -> Any:
    cell = swinlstm.SwinLSTMCell(WIDTH, (SIDE, SIDE), 4, 2, 2)
    return cell(x, state, cell.biases(), None)


def mamba(x: Tensor, state: Any) -> Any:
    return vmrnn.VMRNNCell(WIDTH, 2, [0.0])(x, state)


def normalised(cell: type[nn.Module]) -> Callable[[Tensor, Any], Any]:
    return lambda x, state: cell(WIDTH, WIDTH, 3, 2)(x, state)


# Each takes an input and a state to the next state; what it adds up in begins at that place.
CELLS: dict[str, tuple[Callable[[Tensor, Any], Any], int]] = {
    "convlstm": (convlstm.ConvLSTMCell(WIDTH, WIDTH, 3, bias=True), 1),
    "peephole": (convlstm.ConvLSTMCell(WIDTH, WIDTH, 3, bias=True, peephole=(SIDE, SIDE)), 1),
    "convlstm_forecaster": (normalised(encoder_forecaster.ConvLSTMCell), 1),
    "convgru_forecaster": (normalised(encoder_forecaster.ConvGRUCell), 0),
    "e3d_lstm": (eidetic, 1),
    "lmc_memory": (lmc, 1),
    "mau": (motion_aware, 0),
    "phydnet": (physical, 0),
    "prednet": (represented, 1),
    "mim": (mim_block, 1),
    "predrnn": (st_lstm, 1),
    "predrnn_pp": (causal_lstm, 1),
    "highway": (highway, 0),
    "swinlstm": (swin, 1),
    "vmrnn": (mamba, 1),
    "study_convlstm": (
        ucf101_study.ReLUConvLSTMLayer(WIDTH, WIDTH, 3, (SIDE, SIDE)).step,
        1,
    ),
    "study_predrnn": (ucf101_study.TwoMemoryLayer(WIDTH, WIDTH, 3).step, 1),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_what_a_cell_remembers_is_float32_from_the_first_step_on(
    name: str, given: torch.dtype
) -> None:
    cell, first = CELLS[name]
    state = None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):
            state = cell(torch.rand(1, *shape_of(name), dtype=given), state)
            assert isinstance(state, Sequence)
            assert [memory.dtype for memory in state[first:]] == [torch.float32] * len(
                state[first:]
            )


def shape_of(name: str) -> tuple[int, int, int]:
    return (SIDE, SIDE, WIDTH) if name in ("swinlstm", "vmrnn") else (WIDTH, SIDE, SIDE)


def test_a_cell_that_fills_slowly_gets_full_under_mixed_precision() -> None:
    # c <- .99 c + .01: in bfloat16 it would end at .69.
    cell = convlstm.ConvLSTMCell(1, 1, 1, bias=True)
    gates = torch.logit(torch.tensor([0.01, 0.99]))
    with torch.no_grad():
        cell.gates.weight.zero_()
        cell.gates.bias.copy_(torch.tensor([gates[0], gates[1], 20.0, 0.0]))
    state = None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(1500):
            state = cell(torch.zeros(1, 1, 1, 1), state)
    assert state is not None
    # The gates themselves are rounded: .01 by up to a 256th, 1 - .99 by up to a fifth.
    forget = (gates[1:].bfloat16().sigmoid()).float()
    gain = gates[:1].bfloat16().sigmoid().float()
    torch.testing.assert_close(state[1].flatten(), gain / (1 - forget), rtol=0.02, atol=0)


@pytest.mark.parametrize("frames", [30, 100])
def test_log_memory_is_the_same_under_mixed_precision(frames: int) -> None:
    memory, x = LogMemory(4, 1.0, 100.0, 8), torch.rand(1, frames, 2, 3, 3)
    x = x.bfloat16().float()

    def readings() -> list[Tensor]:
        state = memory.absorb(x[:, :20], None)
        rollout = Rollout(memory, state, 2)
        return [memory(x), state, rollout.now(), rollout.push(x[:, 20])]

    expected = readings()
    with torch.autocast("cpu", torch.bfloat16):
        for ours, theirs in zip(readings(), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        narrow = memory(x.bfloat16())
    torch.testing.assert_close(narrow, expected[0], rtol=0, atol=0)


def test_nothing_is_narrowed_by_widening() -> None:
    for dtype, wide in [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ]:
        assert widened(torch.rand(2, dtype=dtype)).dtype == wide
        assert zero_state(torch.rand(1, 2, 3, 3, dtype=dtype), 4).dtype == wide
