"""SimVP: frames encoded one by one, translated together and decoded one by one (Gao et al. 2022).

The translator of the first paper is IncepU; the second (Tan et al. 2022) replaces it by gSTA, and
its authors' OpenSTL by blocks of other vision models: see `models/layers/translators`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn

from models.contract import (
    FrameShape,
    Paper,
    Predictor,
    Recipe,
    Size,
    require_multiple,
    small_recipe,
)
from models.layers.translators import BLOCKS, IncepU, Place
from models.layers.window_rollout import roll_out, window_on

NORM_GROUPS = 2
MULTIPLE = 8  # of a translator's channels: heads, groups, shares of them


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution whose map is smaller by `stride`; weights from N(0, .02^2), biases 0."""
    layer = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer


def encoding(inputs: int, width: int, *, halves: bool) -> nn.Sequential:
    """A layer of the encoder; it may halve the map."""
    return nn.Sequential(
        convolution(inputs, width, 2 if halves else 1), nn.GroupNorm(NORM_GROUPS, width), nn.SiLU()
    )


def decoding(width: int, *, doubles: bool) -> nn.Sequential:
    """A layer of the decoder; it may double the map."""
    grown = [convolution(width, 4 * width), nn.PixelShuffle(2)]
    return nn.Sequential(
        *(grown if doubles else [convolution(width, width)]),
        nn.GroupNorm(NORM_GROUPS, width),
        nn.SiLU(),
    )


class Blocks(nn.Sequential):
    """A translator of equal blocks.

    The first works on all `channels` of the map, the others on `width`, also the last, after which
    the map has `channels` again; 1x1 convolutions stand between where the two differ.

    Args:
        name: of the blocks, one of `BLOCKS`.
        channels: of the map that comes in and goes out.
        width: channels from the first block on.
        depth: blocks; at least 2.
        map_shape: height and width of the map.
        drop_path: the rate of stochastic depth in the last block, to which it rises evenly from 0.
    """

    def __init__(
        self,
        name: str,
        channels: int,
        width: int,
        depth: int,
        map_shape: tuple[int, int],
        drop_path: float,
    ) -> None:
        super().__init__()
        widths = [channels, *[width] * (depth - 1), channels]
        for number, (before, after) in enumerate(pairwise(widths)):
            rate = drop_path * number / (depth - 1)
            self.append(BLOCKS[name](Place(before, map_shape, rate, number, before != after)))
            if before != after:
                self.append(nn.Conv2d(before, after, 1))


class SimVP(Predictor):
    """An encoder and a decoder of single frames, and a translator between over all frames at once.

    The network maps `window_frames` context frames to the `window_frames` that follow in one pass:
    the encoder's maps of all frames are stacked on channels, frame by frame, translated, and taken
    apart again. The decoder of each future frame adds the encoder's full-sized map of the context
    frame at the same place in the window.

    Before a shorter context its first frame is repeated, of a longer one the last frames are used.
    A shorter horizon is cut from the first pass; a longer one is predicted in further passes over
    the predictions so far, and training goes through the same passes, as in the authors' code.

    Published is the size of OpenSTL, by the same authors. Its skeleton has SiLU, pixel shuffling
    and a sum with the skip where the first paper's has leaky ReLU, transposed convolutions and
    concatenation. A block's feed-forward layer is 8 times as wide as the block. OpenSTL trains
    `vit` and `uniformer` at a rate of 5e-4, `convmixer` and `convnext` at 1e-2.

    What differs from OpenSTL: stochastic depth rises from 0, where its rates begin at .01 even if
    the last is 0 (`incepu` and `convmixer` have none, as there). Windows of `swin` are masked where
    a shift brings together what are no neighbours, as in that paper; its own let them mix.
    """

    name = "simvp"
    paper = Paper(
        "SimVP: Towards Simple yet Powerful Spatiotemporal Predictive Learning",
        2022,
        "https://arxiv.org/abs/2211.12509",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="chengtan9907/OpenSTL (its authors), configs/mmnist/simvp/SimVP_gSTA.py",
                origin="authors",
                learning_rate=1e-3,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": Size(
            small_recipe(1.5e-3, "best of 5 trials on Moving MNIST"),
            {"width": 8, "translator_width": 96, "translator_depth": 6},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (8, 16, 32),
        "translator_width": (96, 176, 256),
        "translator_depth": (4, 6, 8),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        translator: str = "gsta",
        width: int = 64,
        depth: int = 4,
        translator_width: int = 512,
        translator_depth: int = 8,
        window_frames: int = 10,
        drop_path: float = 0.0,
    ) -> None:
        """The published size on Moving MNIST by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of 2**(depth // 2).
            translator: what translates: "incepu" or the name of a block (`BLOCKS`).
            width: channels of each frame's maps.
            depth: layers of the encoder, every second of which halves the map, and of the decoder.
            translator_width: channels of the translator.
            translator_depth: its blocks; of "incepu" modules down, and up.
            window_frames: frames read, and predicted, in one pass. A suite gives
                it the data set's context, up to 20, unless it is written.
            drop_path: the rate of stochastic depth towards which it rises from block to block.

        Raises:
            ValueError: where there is no such translator, where a width is no multiple of what it
                is divided into, or the depth of the translator is below 2.
        """
        super().__init__(frame_shape)
        require_multiple(
            frame_shape, 2 ** (depth // 2), f"the encoder halves them {depth // 2} times"
        )
        names = ("incepu", *BLOCKS)
        if translator not in names:
            raise ValueError(f"translator is one of {', '.join(names)}, not {translator!r}")
        if translator_depth < 2:
            raise ValueError(f"translator_depth is at least 2, not {translator_depth}")
        if width % NORM_GROUPS:
            raise ValueError(f"width must be a multiple of {NORM_GROUPS}, not {width}")
        channels, height, breadth = frame_shape
        stacked = window_frames * width
        for what, value in (
            ("window_frames * width", stacked),
            ("translator_width", translator_width),
        ):
            if value % MULTIPLE:
                raise ValueError(f"{what} must be a multiple of {MULTIPLE}, not {value}")
        self.window_frames = window_frames
        halves = [n % 2 == 1 for n in range(depth)]
        self.first = encoding(channels, width, halves=False)
        self.encoder = nn.Sequential(*(encoding(width, width, halves=h) for h in halves[1:]))
        self.translator: nn.Module
        if translator == "incepu":
            self.translator = IncepU(stacked, translator_width, translator_depth)
        else:
            map_shape = (height >> depth // 2, breadth >> depth // 2)
            self.translator = Blocks(
                translator, stacked, translator_width, translator_depth, map_shape, drop_path
            )
        self.decoder = nn.Sequential(*(decoding(width, doubles=h) for h in halves[:0:-1]))
        self.last = nn.Sequential(decoding(width, doubles=False), nn.Conv2d(width, channels, 1))

    @classmethod
    def options_on(cls, context_frames: int, horizon: int) -> Mapping[str, Any]:
        """A window of the whole context."""
        return {"window_frames": window_on(context_frames)}

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next `horizon` frames [B,horizon,C,H,W], `window_frames` to a pass."""
        return roll_out(self.next_window, context, horizon, self.window_frames)

    def next_window(self, frames: Tensor) -> Tensor:
        """The frames after `frames`, both [B,window_frames,C,H,W]."""
        skip = self.first(frames.flatten(0, 1))
        maps = self.encoder(skip)
        stacked = maps.reshape(len(frames), -1, *maps.shape[2:])
        future = self.translator(stacked).reshape(maps.shape)
        predicted: Tensor = self.last(self.decoder(future) + skip)
        return predicted.reshape(frames.shape)
