"""SwinLSTM-B: one LSTM cell made of Swin transformer blocks (Tang et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from models.contract import FrameShape, Paper, Recipe, Size, small_recipe
from models.layers.swinlstm import Stage, SwinLSTM


class SwinLSTMB(SwinLSTM):
    """One SwinLSTM cell between a patch embedding and a transposed convolution.

    The authors' code counts 2,778,417 parameters, of which 197,376 never take part (the fusing
    layers of the odd blocks, which read no second map); they are left out here.

    The small size has patches of 4: tokens are fewer and wider, and at the same FLOPs a training
    step on a CPU takes less than half the time of one on patches of 2.
    """

    name = "swinlstm_b"
    paper = Paper(
        "SwinLSTM: Improving Spatiotemporal Prediction Accuracy using Swin Transformer and LSTM",
        2023,
        "https://arxiv.org/abs/2308.09891",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="SongTang-x/SwinLSTM, configs.py, Moving MNIST",
                learning_rate=1e-4,
                batch_size=16,
            )
        ),
        "small": Size(
            small_recipe(5e-3, "learning rate not tuned"),
            {"width": 64, "depth": 5, "heads": 2, "patch": 4},
        ),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 128,
        depth: int = 12,
        heads: int = 4,
        window: int = 4,
        patch: int = 2,
        drop_path: float = 0.1,
    ) -> None:
        """The published size by default; every branch of its blocks is dropped at `drop_path`."""
        super().__init__(
            frame_shape,
            stages=[Stage(0, depth, heads)],
            drop_rates=[drop_path] * depth,
            width=width,
            window=window,
            patch=patch,
        )
