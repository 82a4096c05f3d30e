"""SwinLSTM-D: SwinLSTM cells at three resolutions, down and up again (Tang et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from models.contract import FrameShape, Paper, Recipe, Size, small_recipe
from models.layers.swinlstm import Stage, SwinLSTM


class SwinLSTMD(SwinLSTM):
    """SwinLSTM cells, each followed by patch merging on the way down, by expanding on the way up.

    There are no skip connections. As in the authors' code the way up begins on the smallest maps
    and takes the heads of the way down in reverse: 128 channels of 4 heads and 256 of 8, then 512
    of 8 and 256 of 4. That code counts 20,191,969 parameters, of which 1,346,560 never take part
    (the fusing layers of the odd blocks and a second patch embedding); they are left out here.

    The small size has patches of 4, as that of SwinLSTM-B. After 120 s on two CPU cores, some 170
    steps, it does not beat the mean frame on Moving MNIST yet: without skip connections all that
    reaches the pixels has passed maps of 4x4, and to learn that takes it longer.
    """

    name = "swinlstm_d"
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
            {
                "width": 48,
                "depths_down": (2, 3),
                "depths_up": (2, 3),
                "heads": (2, 4),
                "patch": 4,
            },
        ),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 128,
        depths_down: Sequence[int] = (2, 6),
        depths_up: Sequence[int] = (2, 6),
        heads: Sequence[int] = (4, 8),
        window: int = 4,
        patch: int = 2,
        drop_path: float = 0.1,
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of patch * 2**(cells down).
            width: channels of the largest maps; they double with each halving.
            depths_down: blocks of each cell on the way down.
            depths_up: blocks of each cell on the way up, from the smallest maps on.
            heads: attention heads of each cell on the way down; in reverse, on the way up.
            window: tokens to an attention window, down and across.
            patch: side of the squares of pixels that become tokens: 2, 4, 8, ...
            drop_path: rate at which the branches of the deepest blocks are dropped; it rises from
                0 on the way down and falls back to it on the way up.
        """
        down = [
            Stage(level, depth, head)
            for level, (depth, head) in enumerate(zip(depths_down, heads, strict=True))
        ]
        up = [
            Stage(len(heads) - n, depth, head)
            for n, (depth, head) in enumerate(zip(depths_up, reversed(heads), strict=True))
        ]
        super().__init__(
            frame_shape,
            stages=[*down, *up],
            drop_rates=[
                *_rising(sum(depths_down), drop_path),
                *reversed(_rising(sum(depths_up), drop_path)),
            ],
            width=width,
            window=window,
            patch=patch,
        )


def _rising(blocks: int, highest: float) -> list[float]:
    """The drop rates of as many blocks, evenly from 0 to `highest`."""
    return [highest * n / max(1, blocks - 1) for n in range(blocks)]
