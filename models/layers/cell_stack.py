"""Recurrent cells on top of one another, read layer by layer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from models.layers.sequence_cell import SequenceCell, State

FRAMES_AT_ONCE = 16
"""How much of a clip is read in one go: all of a usual one, while a long one's drives fit."""


class CellStack(nn.Module):
    """Cells that read a clip, each the hidden states of the one below."""

    def __init__(self, cells: Iterable[SequenceCell]) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)

    def forward(self, clip: Tensor) -> list[State]:
        """The last state of each cell, from the bottom up, after `clip` [B,T,C,H,W]."""
        states: list[State | None] = [None] * len(self.cells)
        for piece in torch.split(clip, FRAMES_AT_ONCE, 1):
            frames = piece.unbind(1)
            for layer, cell in enumerate(self.cells):
                frames, states[layer] = cell(frames, states[layer])
        return [state for state in states if state is not None]
