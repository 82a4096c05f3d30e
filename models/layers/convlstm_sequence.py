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
        i, f, g, o = self.gates(drive, hidden).chunk(4, 1)
        return lstm(i, f, g, o, cell)


def lstm(i: Tensor, f: Tensor, g: Tensor, o: Tensor, cell: Tensor | None) -> State:
    """New hidden and cell state for the gates before activation, all [B,width,h,w].

    A cell state of None is all zeros.
    """
    update = i.sigmoid() * g.tanh()
    cell = update if cell is None else torch.addcmul(update, f.sigmoid(), cell)
    return o.sigmoid() * cell.tanh(), cell
