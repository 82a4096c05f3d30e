"""PredFormer: gated transformers on patches, over space and time in turn (Tang et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Predictor, Recipe, Size, small_recipe
from models.layers.drop_path import DropPath
from models.layers.rollout import from_patches, patched_shape, to_patches
from models.layers.self_attention import SelfAttention
from models.layers.window_rollout import roll_out, window_on


class SwiGLU(nn.Module):
    """A gated feed-forward layer, W2 (SiLU(Wg x) * Wx x), with biases (Shazeer 2020).

    Dropout follows the product and the output.
    """

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.gate = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.project = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [...,width] for x [...,width]."""
        inner = self.dropout(F.silu(self.gate(x)) * self.value(x))
        y: Tensor = self.dropout(self.project(inner))
        return y


class GatedLayer(nn.Module):
    """Pre-norm attention, then a pre-norm SwiGLU, each added to what it reads."""

    def __init__(
        self, width: int, head: int, expansion: int, dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.LayerNorm(width),
            SelfAttention(width, width // head, bias=False),
            nn.Dropout(dropout),
        )
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), SwiGLU(width, expansion * width, dropout)
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [rows,tokens,width] for x of the same shape; branches are dropped by row."""
        x = x + self.drop_path(self.attention(x))
        y: Tensor = x + self.drop_path(self.feed_forward(x))
        return y


class GatedTransformer(nn.Module):
    """Gated layers among some of a clip's tokens, closed by a layer norm; no skip around them.

    Args:
        tokens: "s" for those of one frame, "t" for those of one patch at all times, "f" for all.
        depth: how many layers.
        width: channels of a token.
        head: channels of an attention head.
        expansion: how many times as wide the SwiGLU is inside.
        dropout: rate after attention, and twice in the SwiGLU.
        drop_path: share of the rows of tokens that a branch is left out of in training.
    """

    def __init__(
        self,
        tokens: str,
        depth: int,
        width: int,
        head: int,
        expansion: int,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        layers = (GatedLayer(width, head, expansion, dropout, drop_path) for _ in range(depth))
        self.layers = nn.Sequential(*layers, nn.LayerNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B,T,N,width] for x of the same shape."""
        if self.tokens == "f":
            every: Tensor = self.layers(x.flatten(1, 2))
            return every.view_as(x)
        if self.tokens == "t":
            x = x.transpose(1, 2)
        y: Tensor = self.layers(x.flatten(0, 1)).view(x.shape)
        return y.transpose(1, 2) if self.tokens == "t" else y


def sinusoids(positions: int, width: int) -> Tensor:
    """Position codes [positions,width]: sin and cos of pos / 10000^(2i/width) in turn.

    Vaswani et al. 2017, "Attention Is All You Need", section 3.5.
    """
    place = torch.arange(positions, dtype=torch.float64)[:, None]
    angles = place / 10_000 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1).float()


class PredFormer(Predictor):
    """Gated transformers that attend within frames and along time in a given order.

    The network maps `window_frames` frames to as many that follow, in one pass. Before a shorter
    context its first frame is repeated, of a longer one the last frames are used; a longer horizon
    is predicted in further passes over the predictions so far, a shorter one is cut from a pass.

    `order` names the transformers, letter by letter; it is gone through `repeats` times, with
    `depth` layers to a letter. The paper's nine, at 24 layers:

    - full attention: "f", 1, 24; factorised: "st" or "ts", 1, 12;
    - binary: "st" or "ts", 12, 1; triplet: "sts" or "tst", 8, 1;
    - quadruplet: "tsst" (the best on Moving MNIST, the default) or "stts", 6, 1.

    Dropout and stochastic depth are 0 in the authors' configuration for Moving MNIST, .1 and .1 in
    those for Human3.6M and TaxiBJ, .1 and .25 in that for the weather.
    """

    name = "predformer"
    paper = Paper(
        "PredFormer: Transformers Are Effective Spatial-Temporal Predictive Learners",
        2024,
        "https://arxiv.org/abs/2410.04733",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="PredFormer (b73c7ae), Moving MNIST",
                origin="authors",
                learning_rate=1e-3,
                batch_size=16,
                schedule="one_cycle",
                optimizer="adamw",
                weight_decay=1e-2,
            )
        ),
        "small": Size(
            small_recipe(1.5e-3, "best of 5 trials on Moving MNIST"),
            {"width": 96, "order": "ts", "repeats": 1},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (64, 96, 128, 192, 256),
        "order": ("tsst", "stts", "ts", "st"),
        "repeats": (1, 2, 3, 4, 6),
    }
    positions: Tensor

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        order: str = "tsst",
        repeats: int = 6,
        depth: int = 1,
        width: int = 256,
        head: int = 32,
        expansion: int = 4,
        patch: int = 8,
        window_frames: int = 10,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        """The quadruplet TSST of 24 layers by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of `patch`.
            order: the transformers' tokens: letters "s" (space), "t" (time), "f" (full).
            repeats: how many times the order is gone through, with weights of their own.
            depth: layers to a letter.
            width: channels of a token, an even multiple of `head`.
            head: channels of an attention head.
            expansion: how many times as wide the feed-forward layers are inside.
            patch: side of the square of pixels that is one token.
            window_frames: frames read, and predicted, in one pass. A suite gives
                it the data set's context, up to 20, unless it is written.
            dropout: its rate after attention, after the product in SwiGLU and after its output.
            drop_path: the rate of stochastic depth, the same in all layers.

        Raises:
            UnfitFrame: a side is not a multiple of `patch`.
            ValueError: `order` has other letters, or `width` does not split into heads.
        """
        super().__init__(frame_shape)
        pixels, height, columns = patched_shape(frame_shape, patch)
        if not order or set(order) - set("stf"):
            raise ValueError(f"order must be letters of s, t and f, not {order!r}")
        if width % head or width % 2:
            raise ValueError(f"width must be even and a multiple of head {head}, not {width}")
        self.patch, self.window_frames = patch, window_frames
        self.embed = nn.Linear(pixels, width)
        codes = sinusoids(window_frames * height * columns, width)
        self.register_buffer("positions", codes.view(window_frames, -1, width), persistent=False)
        self.transformers = nn.Sequential(
            *(
                GatedTransformer(tokens, depth, width, head, expansion, dropout, drop_path)
                for tokens in order * repeats
            )
        )
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, pixels))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @classmethod
    def options_on(cls, context_frames: int, horizon: int) -> Mapping[str, Any]:
        """A window of the whole context."""
        return {"window_frames": window_on(context_frames)}

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next `horizon` frames [B,horizon,C,H,W], `window_frames` to a pass."""
        return roll_out(self.next_window, context, horizon, self.window_frames)

    def next_window(self, frames: Tensor) -> Tensor:
        """The frames after `frames`, both [B,window_frames,C,H,W]."""
        patches = to_patches(frames, self.patch)
        tokens = self.embed(patches.flatten(3).transpose(2, 3))
        predicted = self.output(self.transformers(tokens + self.positions))
        return from_patches(predicted.transpose(2, 3).reshape(patches.shape), self.patch)
