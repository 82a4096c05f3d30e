"""ConvLSTM over a sequence, with or without group normalisation of its gates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers.sequence_cell import Driven, SequenceCell, State


class ConvLSTMSequence(SequenceCell):
    """Equation (3) of Shi et al. 2015 without peepholes; gates in the order i, f, g, o.

    Args:
        inputs: channels of the input; 0 for a cell without.
        width: channels of the hidden and the cell state.
        kernel: side of the convolutions, odd.
        group: channels of the gates that are normalised together; None for no norm.
        before: the layer that frames pass on their way in; None for none.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        kernel: int,
        *,
        group: int | None = None,
        before: nn.Module | None = None,
    ) -> None:
        super().__init__(inputs, width, 4 * width, kernel, before)
        self.gates = Driven(width, 4 * width, kernel, inputs + width, group)

    def step(self, drive: Tensor, state: State | None) -> State:
        """New hidden and cell state."""
        hidden, cell = (None, None) if state is None else state
        return lstm(self.gates(drive, hidden), cell)


def lstm(gates: Tensor, cell: Tensor | None) -> State:
    """New hidden and cell state [B,width,h,w] for gates [B,4*width,h,w] in the order i, f, g, o.

    A cell state of None is all zeros.
    """
    i, f, g, o = gates.chunk(4, 1)
    update = i.sigmoid() * g.tanh()
    cell = update if cell is None else torch.addcmul(update, f.sigmoid(), cell)
    return o.sigmoid() * cell.tanh(), cell
