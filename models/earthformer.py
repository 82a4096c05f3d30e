"""Earthformer: attention within cuboids of a clip, and global vectors (Gao et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
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
from models.layers.window_partition import Partition, window_side
from models.layers.window_rollout import roll_out, window_on

ClipShape = tuple[int, int, int]
"""Frames, height and width of a clip's map."""
Pattern = Literal["axial", "divided", "local_global"]
Positions = Literal["t+hw", "t+h+w"]
Projected = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values, each [rows,heads,tokens,channels of a head]."""


class Cuboids(NamedTuple):
    """A division of a clip's map: cuboids of neighbours, or of positions spread over all of it."""

    sides: ClipShape
    partition: Partition = "block"


def cuboids_of(pattern: Pattern, shape: ClipShape) -> list[Cuboids]:
    """The divisions whose attention layers make one block on a map of `shape`.

    - "axial": along time, then height, then width; what the paper's search found best;
    - "divided": along time, then within frames (TimeSformer's);
    - "local_global": along time, then within frames among 4 x 4 neighbours, then among 4 x 4
      positions spread over the frame. A side that 4 does not divide has the next larger divisor.
    """
    frames, height, width = shape
    time = Cuboids((frames, 1, 1))
    if pattern == "axial":
        return [time, Cuboids((1, height, 1)), Cuboids((1, 1, width))]
    if pattern == "divided":
        return [time, Cuboids((1, height, width))]
    sides = (1, window_side(height, 4), window_side(width, 4))
    return [time, Cuboids(sides, "block"), Cuboids(sides, "grid")]


def divide(x: Tensor, cuboids: Cuboids) -> Tensor:
    """The cuboids [B,cuboids,tokens,C] of a map x [B,T,H,W,C]."""
    split = [
        side
        for whole, part in zip(x.shape[1:4], cuboids.sides, strict=True)
        for side in (
            (whole // part, part) if cuboids.partition == "block" else (part, whole // part)
        )
    ]
    order = (0, 1, 3, 5, 2, 4, 6, 7) if cuboids.partition == "block" else (0, 2, 4, 6, 1, 3, 5, 7)
    tokens = x.reshape(len(x), *split, x.shape[-1]).permute(order)
    return tokens.reshape(len(x), -1, math.prod(cuboids.sides), x.shape[-1])


def rejoin(x: Tensor, shape: ClipShape, cuboids: Cuboids) -> Tensor:
    """The map [B,T,H,W,C] of `shape` = (T, H, W) whose cuboids are x [B,cuboids,tokens,C]."""
    counts = [whole // part for whole, part in zip(shape, cuboids.sides, strict=True)]
    order = (0, 1, 4, 2, 5, 3, 6, 7) if cuboids.partition == "block" else (0, 4, 1, 5, 2, 6, 3, 7)
    x = x.view(len(x), *counts, *cuboids.sides, x.shape[-1])
    return x.permute(order).reshape(len(x), *shape, x.shape[-1])


def offset_index(sides: ClipShape) -> Tensor:
    """For each pair of a cuboid's tokens [tokens,tokens] the number of their offset, row by row."""
    # On the CPU, also where a model is built on `meta`: see `relative_position_index`.
    place = torch.cartesian_prod(*(torch.arange(side, device="cpu") for side in sides))
    index = torch.zeros(len(place), len(place), dtype=torch.int64, device="cpu")
    for axis, side in enumerate(sides):
        index = index * (2 * side - 1) + place[:, None, axis] - place[None, :, axis] + side - 1
    return index.to(torch.get_default_device())


def by_head(x: Tensor, heads: int) -> tuple[Tensor, ...]:
    """Parts [rows,heads,tokens,channels of a head] of x [rows,tokens,parts,heads * those]."""
    rows, tokens, parts, _ = x.shape
    return x.view(rows, tokens, parts, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def attend_to_both(one: Projected, other: Projected, bias: Tensor | None, dropout: float) -> Tensor:
    """Attention to two sets of tokens in one softmax, with a query of its own for each set.

    `bias` [heads,queries,tokens of one] is added to the scores of the first set.
    """
    (query, key, value), (query_2, key_2, value_2) = one, other
    scale = query.shape[-1] ** -0.5
    # The queries side by side, zeros beside the keys: each query meets its own keys alone.
    query = torch.cat((query, query_2), -1)
    channels = key.shape[-1]
    keys = torch.cat((F.pad(key, (0, channels)), F.pad(key_2, (channels, 0))), -2)
    values = torch.cat((value, value_2), -2)
    if bias is not None:
        bias = F.pad(bias, (0, key_2.shape[-2]))
    return F.scaled_dot_product_attention(query, keys, values, bias, dropout, scale=scale)


class CuboidAttention(nn.Module):
    """Attention among the tokens of each cuboid, with a bias for each relative position.

    With global vectors a cuboid's tokens attend to these, too, and they to all tokens and each
    other (section 3.1 of the paper). All is read through layer norms.

    Args:
        width: channels of the map and of the vectors.
        shape: frames, height and width of the map.
        cuboids: how it is divided.
        heads: attention heads.
        dropout: share of the attention weights, and of what comes out, left out in training.
        vectors: whether there are global vectors.
        updates: whether they attend, too, as all but the last ones do that are read.
    """

    index: Tensor

    def __init__(
        self,
        width: int,
        shape: ClipShape,
        cuboids: Cuboids,
        heads: int,
        dropout: float,
        *,
        vectors: bool = False,
        updates: bool = True,
    ) -> None:
        super().__init__()
        self.shape, self.cuboids, self.heads, self.updates = shape, cuboids, heads, updates
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        offsets = math.prod(2 * side - 1 for side in cuboids.sides)
        self.position_bias = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(heads, offsets), std=0.02)
        )
        self.register_buffer("index", offset_index(cuboids.sides), persistent=False)
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        if vectors:
            self.vector_norm = nn.LayerNorm(width)
            self.query_for_vectors = nn.Linear(width, width, bias=False)
            self.vector_key_value = nn.Linear(width, 2 * width, bias=False)
        if vectors and updates:
            self.token_key_value = nn.Linear(width, 2 * width, bias=False)
            self.vector_query_for_tokens = nn.Linear(width, width, bias=False)
            self.vector_query_key_value = nn.Linear(width, 3 * width, bias=False)
            self.vector_project = nn.Linear(width, width)

    def forward(self, x: Tensor, vectors: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The map [B,T,H,W,C] and the vectors [B,vectors,C] after attention, added to both."""
        normed = self.norm(x)
        tokens = divide(normed, self.cuboids)
        batch, count = tokens.shape[:2]
        tokens = tokens.flatten(0, 1)
        query, key, value = self.projected(self.query_key_value, tokens)
        bias = self.position_bias[:, self.index].to(query.dtype)
        rate = self.dropout.p if self.training else 0.0
        if vectors is None:
            mixed = F.scaled_dot_product_attention(query, key, value, bias, rate)
        else:
            known = self.vector_norm(vectors)
            key_2, value_2 = (
                part.repeat_interleave(count, 0)
                for part in self.projected(self.vector_key_value, known)
            )
            (asked,) = self.projected(self.query_for_vectors, tokens)
            mixed = attend_to_both((query, key, value), (asked, key_2, value_2), bias, rate)
            if self.updates:
                vectors = vectors + self.attention_of_vectors(known, normed.flatten(1, 3), rate)
        together = mixed.transpose(1, 2).reshape(batch, count, -1, x.shape[-1])
        attended = self.dropout(self.project(together))
        return x + rejoin(attended, self.shape, self.cuboids), vectors

    def attention_of_vectors(self, vectors: Tensor, tokens: Tensor, rate: float) -> Tensor:
        """What `vectors` [B,vectors,C] see of all `tokens` [B,tokens,C] and of each other."""
        (asked,) = self.projected(self.vector_query_for_tokens, vectors)
        key, value = self.projected(self.token_key_value, tokens)
        query_2, key_2, value_2 = self.projected(self.vector_query_key_value, vectors)
        mixed = attend_to_both((asked, key, value), (query_2, key_2, value_2), None, rate)
        seen: Tensor = self.dropout(self.vector_project(mixed.transpose(1, 2).flatten(2)))
        return seen

    def projected(self, layer: nn.Linear, tokens: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys or values by head, as many as `layer` makes of tokens [rows,tokens,C]."""
        made = layer(tokens)
        return by_head(made.view(*tokens.shape[:2], -1, tokens.shape[-1]), self.heads)


class CrossAttention(nn.Module):
    """Attention of the future's tokens to the past's at the same place ("cross 1x1").

    The bias is one for each difference of frame numbers, both counted from 0. As published its
    table has 2 * (past + future) - 1 entries a head, though fewer differences occur.
    """

    index: Tensor

    def __init__(self, width: int, past: int, future: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        frames = past + future
        self.position_bias = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(heads, 2 * frames - 1), std=0.02)
        )
        index = torch.arange(future)[:, None] - torch.arange(past)[None] + frames - 1
        self.register_buffer("index", index, persistent=False)
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Map [B,future,H,W,C] for x of the same shape and memory [B,past,H,W,C]."""
        batch, frames, height, width, channels = x.shape
        x_by_place, memory_by_place = (
            part.permute(0, 2, 3, 1, 4).flatten(0, 2) for part in (self.norm(x), memory)
        )
        (query,) = by_head(self.query(x_by_place)[:, :, None], self.heads)
        key, value = by_head(
            self.key_value(memory_by_place).view(-1, memory.shape[1], 2, channels), self.heads
        )
        bias = self.position_bias[:, self.index].to(query.dtype)
        rate = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, bias, rate)
        attended: Tensor = self.dropout(self.project(mixed.transpose(1, 2).flatten(2)))
        return x + attended.view(batch, height, width, frames, channels).permute(0, 3, 1, 2, 4)


class FeedForward(nn.Module):
    """A pre-norm feed-forward layer, four times as wide inside, added to what it reads."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [...,width] for x [...,width]."""
        y: Tensor = x + self.layers(x)
        return y


class CuboidBlock(nn.Module):
    """One attention layer to each division of the map, a feed-forward layer after each."""

    def __init__(
        self,
        width: int,
        shape: ClipShape,
        pattern: Pattern,
        heads: int,
        dropout: float,
        *,
        vectors: bool = False,
        last: bool = False,
    ) -> None:
        super().__init__()
        divisions = cuboids_of(pattern, shape)
        self.attentions = nn.ModuleList(
            CuboidAttention(
                width,
                shape,
                cuboids,
                heads,
                dropout,
                vectors=vectors,
                updates=not (last and number == len(divisions)),
            )
            for number, cuboids in enumerate(divisions, start=1)
        )
        self.feed_forwards = nn.ModuleList(FeedForward(width, dropout) for _ in divisions)

    def forward(self, x: Tensor, vectors: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The map [B,T,H,W,width] and the global vectors [B,vectors,width] for such ones."""
        for attention, feed_forward in zip(self.attentions, self.feed_forwards, strict=True):
            x, vectors = attention(x, vectors)
            x = feed_forward(x)
        return x, vectors


class DecoderBlock(nn.Module):
    """Attention within the future, left out at the very start, then to the past's memory."""

    def __init__(
        self,
        width: int,
        past: int,
        shape: ClipShape,
        pattern: Pattern,
        heads: int,
        dropout: float,
        *,
        first: bool,
    ) -> None:
        super().__init__()
        self.within = None if first else CuboidBlock(width, shape, pattern, heads, dropout)
        self.cross = CrossAttention(width, past, shape[0], heads, dropout)
        self.feed_forward = FeedForward(width, dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Map [B,future,H,W,width] for x of the same shape and memory [B,past,H,W,width]."""
        if self.within is not None:
            x, _ = self.within(x)
        y: Tensor = self.feed_forward(self.cross(x, memory))
        return y


class ByFrame(nn.Sequential):
    """Layers of single frames [N,C,H,W], applied to a map [B,T,H,W,C]."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,T,H',W',C'] for x [B,T,H,W,C]."""
        y = x.flatten(0, 1).permute(0, 3, 1, 2)
        for layer in self:
            y = layer(y)
        y = y.permute(0, 2, 3, 1)
        return y.view(*x.shape[:2], *y.shape[1:])


def convolutions(inputs: int, width: int, count: int) -> list[nn.Module]:
    """3x3 convolutions to `width` channels, GroupNorm by fours and LeakyReLU(.1) after each."""
    return [
        layer
        for number in range(count)
        for layer in (
            nn.Conv2d(width if number else inputs, width, 3, padding=1),
            nn.GroupNorm(width // 4, width),
            nn.LeakyReLU(0.1),
        )
    ]


def enlarge(inputs: int, width: int, factor: int) -> list[nn.Module]:
    """A map of nearest neighbours, `factor` times as high and wide, then a 3x3 convolution."""
    return [nn.Upsample(scale_factor=factor), nn.Conv2d(inputs, width, 3, padding=1)]


class PatchMerge(nn.Module):
    """A map `factor` times smaller, its squares of pixels joined, normed and projected."""

    def __init__(self, inputs: int, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        joined = inputs * factor * factor
        self.project = nn.Sequential(nn.LayerNorm(joined), nn.Linear(joined, width, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,T,H/factor,W/factor,width] for x [B,T,H,W,inputs]."""
        batch, frames, height, width, channels = x.shape
        n = self.factor
        x = x.reshape(batch, frames, height // n, n, width // n, n, channels)
        y: Tensor = self.project(x.transpose(3, 4).flatten(4))
        return y


class LearnedPositions(nn.Module):
    """A learned vector for each frame plus one for each place, or for each row and column."""

    def __init__(self, shape: ClipShape, width: int, positions: Positions) -> None:
        super().__init__()
        frames, height, columns = shape
        tables = [(frames, 1, 1)]
        tables += (
            [(1, height, columns)] if positions == "t+hw" else [(1, height, 1), (1, 1, columns)]
        )
        self.tables = nn.ParameterList(
            nn.init.trunc_normal_(torch.empty(*table, width), std=0.02) for table in tables
        )

    def forward(self) -> Tensor:
        """The vectors [T,H,W,width]."""
        summed: Tensor = reduce(torch.add, self.tables)
        return summed


class Earthformer(Predictor):
    """A transformer of cuboid attention from past frames to future ones, on maps of falling size.

    The encoder keeps the past's map of each level in memory. The decoder begins with learned
    positions of the future, the same for all clips, and reads that memory place by place, from the
    smallest map to the largest.

    The network maps `window_frames` frames to the `predicted_frames` that follow, in one pass.
    Before a shorter context its first frame is repeated, of a longer one the last frames are used;
    a longer horizon is predicted in further passes over the predictions so far, a shorter one is
    cut from a pass.

    The published size is the authors' on Moving MNIST and N-body MNIST. Theirs on SEVIR, from
    13x384x384 to 12 frames, is `stem=((16, 3), (64, 2), (128, 2)), depths=(1, 1), vectors=8,
    positions="t+h+w", window_frames=13, predicted_frames=12, output_convolutions=2`; on SEVIR-LR,
    from 7x128x128 to 6, `stem=((4, 1), (16, 2), (64, 2)), depths=(1, 1), positions="t+h+w",
    window_frames=7, predicted_frames=6, output_convolutions=2`. Left out are
    what the authors' code computes of global vectors once nothing reads them any more, biases
    for differences in time that the decoder's frames do not have, and shifted cuboids.

    Their recipe's rate rises linearly over the first fifth of training and falls by a cosine; here
    it rises for .3 of it, as "one_cycle" does.
    """

    name = "earthformer"
    paper = Paper(
        "Earthformer: Exploring Space-Time Transformers for Earth System Forecasting",
        2022,
        "https://arxiv.org/abs/2207.05833",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="amazon-science/earth-forecasting-transformer (its authors), Moving MNIST; "
                "its warm-up is .2 of training",
                origin="authors",
                learning_rate=1e-3,
                batch_size=32,
                schedule="one_cycle",
                optimizer="adamw",
                weight_decay=1e-5,
                clip_norm=1.0,
            )
        ),
        "small": Size(
            small_recipe(4.74e-4, "best of 5 trials on Moving MNIST", batch_size=2),
            {
                "stem": ((8, 2), (32, 2)),
                "depths": (1, 1),
                "pattern": "divided",
                "vectors": 8,
                "dropout": 0.0,
            },
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "stem": (((8, 2), (32, 2)), ((16, 2), (32, 2)), ((16, 2), (64, 2))),
        "depths": ((1, 1), (2, 2), (3, 3)),
        "pattern": ("axial", "divided", "local_global"),
        "vectors": (0, 8),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        stem: Sequence[tuple[int, int]] = ((64, 2),),
        depths: Sequence[int] = (4, 4),
        pattern: Pattern = "axial",
        vectors: int = 0,
        heads: int = 4,
        positions: Positions = "t+hw",
        dropout: float = 0.1,
        window_frames: int = 10,
        predicted_frames: int = 10,
        output_convolutions: int = 1,
    ) -> None:
        """The published size on Moving MNIST by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of what the stem's stages
                and the levels make smaller.
            stem: channels of each convolutional stage before attention, multiples of 4, and by what
                factor it makes a map smaller. The last one's channels are those of level 0.
            depths: blocks of each level, in the encoder as in the decoder; each level halves the
                map of the one before and has twice its channels.
            pattern: the cuboids that the layers of a block attend within: see `cuboids_of`.
            vectors: how many global vectors the encoder has.
            heads: attention heads; must divide the channels.
            positions: what has learned vectors: frames and places, or frames, rows and columns.
            dropout: the rate of all dropout.
            window_frames: frames read in one pass. A suite gives it the data set's context, up to
                20, unless it is written.
            predicted_frames: frames predicted in one pass; likewise the horizon.
            output_convolutions: how many follow each enlargement on the way to pixels.

        Raises:
            UnfitFrame: a side of the frame is no such multiple.
            ValueError: channels do not split, or a word is none of those named.
        """
        super().__init__(frame_shape)
        factors = [factor for _, factor in stem]
        require_multiple(
            frame_shape,
            math.prod(factors) * 2 ** (len(depths) - 1),
            "the stem and the levels make maps smaller",
        )
        for given, known in ((pattern, get_args(Pattern)), (positions, get_args(Positions))):
            if given not in known:
                raise ValueError(f"must be {' or '.join(known)}, not {given!r}")
        stem_widths = [width for width, _ in stem]
        if any(width % 4 for width in stem_widths) or stem_widths[-1] % heads:
            raise ValueError(
                f"the stem's channels must be multiples of 4, the last of {heads} heads, too, "
                f"not {stem_widths}"
            )
        channels, height, columns = frame_shape
        self.window_frames = window_frames
        inputs = [channels, *stem_widths[:-1]]
        self.stem = nn.Sequential(
            *(
                nn.Sequential(
                    ByFrame(*convolutions(before, width, 2)),
                    PatchMerge(width, width, factor),
                )
                for before, (width, factor) in zip(inputs, stem, strict=True)
            )
        )
        widths = [stem_widths[-1] << level for level in range(len(depths))]
        sides = [
            (height // (math.prod(factors) << level), columns // (math.prod(factors) << level))
            for level in range(len(depths))
        ]
        self.past = LearnedPositions((window_frames, *sides[0]), widths[0], positions)
        top = len(depths) - 1
        self.encoder = nn.ModuleList(
            nn.ModuleList(
                CuboidBlock(
                    widths[level],
                    (window_frames, *sides[level]),
                    pattern,
                    heads,
                    dropout,
                    vectors=vectors > 0,
                    last=level == top and place == depth - 1,
                )
                for place in range(depth)
            )
            for level, depth in enumerate(depths)
        )
        self.merges = nn.ModuleList(PatchMerge(low, high, 2) for low, high in pairwise(widths))
        self.vectors = (
            nn.Parameter(nn.init.trunc_normal_(torch.empty(vectors, widths[0]), std=0.02))
            if vectors
            else None
        )
        self.widen_vectors = nn.ModuleList(
            nn.Linear(low, high) for low, high in pairwise(widths if vectors else [])
        )
        self.future = LearnedPositions((predicted_frames, *sides[-1]), widths[-1], positions)
        self.start = nn.Linear(widths[-1], widths[-1])
        self.decoder = nn.ModuleList(
            nn.ModuleList(
                DecoderBlock(
                    widths[level],
                    window_frames,
                    (predicted_frames, *sides[level]),
                    pattern,
                    heads,
                    dropout,
                    first=level == top and place == 0,
                )
                for place in range(depth)
            )
            for level, depth in reversed([*enumerate(depths)])
        )
        self.enlarges = nn.ModuleList(
            ByFrame(*enlarge(high, low, 2)) for low, high in reversed([*pairwise(widths)])
        )
        self.pixels = nn.Sequential(
            *(
                ByFrame(
                    *enlarge(before, before, factor),
                    *convolutions(before, width, output_convolutions),
                )
                for before, (width, factor) in zip(
                    [stem_widths[-1], *reversed(stem_widths)], reversed(stem), strict=False
                )
            ),
            nn.Linear(stem_widths[0], channels),
        )
        self.apply(initialise)

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        """All parameters in two groups: norms and biases do not decay, as in the authors' code."""
        kept = {
            parameter
            for module in self.modules()
            for name, parameter in module.named_parameters(recurse=False)
            if "bias" in name or isinstance(module, nn.LayerNorm | nn.GroupNorm)
        }
        decayed = [parameter for parameter in self.parameters() if parameter not in kept]
        others = [parameter for parameter in self.parameters() if parameter in kept]
        return [{"params": decayed}, {"params": others, "weight_decay": 0.0}]

    @classmethod
    def options_on(cls, context_frames: int, horizon: int) -> Mapping[str, Any]:
        """A window of the whole context, to the whole horizon in one pass."""
        return {"window_frames": window_on(context_frames), "predicted_frames": window_on(horizon)}

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next `horizon` frames [B,horizon,C,H,W], `predicted_frames` to a pass."""
        return roll_out(self.next_frames, context, horizon, self.window_frames)

    def next_frames(self, frames: Tensor) -> Tensor:
        """The frames [B,predicted_frames,C,H,W] after `frames` [B,window_frames,C,H,W]."""
        x = self.future_of(self.memory_of(self.stem(frames.permute(0, 1, 3, 4, 2)) + self.past()))
        pixels: Tensor = self.pixels(x)
        return pixels.permute(0, 1, 4, 2, 3)

    def memory_of(self, x: Tensor) -> list[Tensor]:
        """The encoder's map of each level for the past's map x [B,T,H,W,C]."""
        vectors = None if self.vectors is None else self.vectors.expand(len(x), -1, -1)
        memory: list[Tensor] = []
        blocks: Any  # a ModuleList
        for level, blocks in enumerate(self.encoder):
            if level:
                x = self.merges[level - 1](x)
                if vectors is not None:
                    vectors = self.widen_vectors[level - 1](vectors)
            for block in blocks:
                x, vectors = block(x, vectors)
            memory.append(x)
        return memory

    def future_of(self, memory: list[Tensor]) -> Tensor:
        """The decoder's map of level 0 [B,predicted_frames,H,W,C] for the memory of all levels."""
        x: Tensor = self.start(self.future()).expand(len(memory[0]), -1, -1, -1, -1)
        blocks: Any  # a ModuleList
        for step, (blocks, known) in enumerate(zip(self.decoder, reversed(memory), strict=True)):
            if step:
                x = self.enlarges[step - 1](x)
            for block in blocks:
                x = block(x, known)
        return x


def initialise(module: nn.Module) -> None:
    """The authors' initial weights: normal, for the inputs of a matrix, the outputs of a kernel."""
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, 0.1, mode="fan_out")
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
