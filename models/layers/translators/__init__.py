"""The translators of the SimVP family: one file a paper, one table from name to block."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from models.layers.translators.convmixer import ConvMixerBlock
from models.layers.translators.convnext import ConvNeXtBlock
from models.layers.translators.gsta import GSTABlock
from models.layers.translators.hornet import HorNetBlock
from models.layers.translators.incepu import IncepU
from models.layers.translators.mlpmixer import MLPMixerBlock
from models.layers.translators.moganet import MogaNetBlock
from models.layers.translators.parts import Place
from models.layers.translators.poolformer import PoolFormerBlock
from models.layers.translators.swin import SwinBlock
from models.layers.translators.tau import TAUBlock
from models.layers.translators.uniformer import uniformer_block
from models.layers.translators.van import VANBlock
from models.layers.translators.vit import ViTBlock

__all__ = ["BLOCKS", "IncepU", "Place"]

BLOCKS: dict[str, Callable[[Place], nn.Module]] = {
    "gsta": GSTABlock,
    "tau": TAUBlock,
    "convnext": ConvNeXtBlock,
    "convmixer": ConvMixerBlock,
    "mlpmixer": MLPMixerBlock,
    "poolformer": PoolFormerBlock,
    "vit": ViTBlock,
    "swin": SwinBlock,
    "uniformer": uniformer_block,
    "van": VANBlock,
    "hornet": HorNetBlock,
    "moganet": MogaNetBlock,
}
"""What a translator of so many equal blocks is made of. IncepU is none: it is a U-net."""
