"""The translators of the SimVP family: one file a paper, one table from name to block."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from models.layers.translators.gsta import GSTABlock
from models.layers.translators.incepu import IncepU
from models.layers.translators.parts import Place
from models.layers.translators.tau import TAUBlock
from models.layers.translators.van import VANBlock

__all__ = ["BLOCKS", "IncepU", "Place"]

BLOCKS: dict[str, Callable[[Place], nn.Module]] = {
    "gsta": GSTABlock,
    "tau": TAUBlock,
    "van": VANBlock,
}
"""What a translator of so many equal blocks is made of. IncepU is none: it is a U-net."""
