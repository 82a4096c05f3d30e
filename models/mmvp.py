"""MMVP: where everything moves is predicted as matrices between positions (Zhong et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

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
from models.layers.precision import unrounded, widened
from models.layers.window_rollout import roll_out, window_on

HALVINGS = 4  # pixels become channels, then three convolutions
NOTHING = 1e-6  # beside the weights by which what has moved is divided


class DenseBlock(nn.Module):
    """x + a fifth of what four convolutions, each of all before it, make of x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        growth = width // 2
        self.grow = nn.ModuleList(_convolution(width + n * growth, growth) for n in range(3))
        self.last = _convolution(width + 3 * growth, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,width,h,w] for x of the same shape."""
        features = x
        for layer in self.grow:
            features = torch.cat((features, F.leaky_relu(layer(features), 0.2)), 1)
        y: Tensor = x + 0.2 * self.last(features)
        return y


class RRDB(nn.Module):
    """x + a fifth of three dense blocks of x (Wang et al. 2018, "ESRGAN")."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(width) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,width,h,w] for x of the same shape."""
        y: Tensor = x + 0.2 * self.blocks(x)
        return y


class Halving(nn.Module):
    """Two convolutions to a map of half the height and width, beside a shortcut of one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, 2, 1), nn.ReLU(), _convolution(outputs, outputs)
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,outputs,h/2,w/2] for x [B,inputs,h,w]."""
        return F.leaky_relu(self.layers(x).relu() + self.shortcut(x))


class Doubling(nn.Module):
    """A map of twice the height and width and half the channels, joined by another if there is one.

    Args:
        width: channels of the map read.
        joined: whether a map of half of them joins.
    """

    def __init__(self, width: int, *, joined: bool) -> None:
        super().__init__()
        half = width // 2
        self.grow = nn.ConvTranspose2d(width, half, 2, 2)
        self.mix = nn.Conv2d(width if joined else half, half, 3, padding=1, bias=False)

    def forward(self, x: Tensor, *other: Tensor) -> Tensor:
        """Map [B,width/2,2h,2w] for x [B,width,h,w] and at most one of that shape."""
        y: Tensor = self.mix(torch.cat((*other, self.grow(x)), 1))
        return y.relu()


class MatrixPredictor(nn.Module):
    """The matrices that follow, from those between neighbouring frames of the past.

    Each row of a matrix, what one position is like in the next frame, is a small map, and the rows
    of one position at all times are a clip: 3-D convolutions in a U-net of two levels read it, and
    a convolution of 1x1 turns its times into those to come.

    Args:
        width: channels.
        frames: matrices predicted, one more than are read.
    """

    def __init__(self, width: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.read = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.prepare = nn.Sequential(*(_normalised(width, width) for _ in range(2)))
        self.halve = _normalised(width, width, 2)
        self.past = _normalised_in_time(width)
        self.translate = nn.Sequential(
            nn.Conv2d((frames - 1) * width, frames * width, 1),
            nn.LeakyReLU(),
            nn.BatchNorm2d(frames * width),
        )
        self.halve_again = _normalised(width, 2 * width, 2)
        self.future = _normalised_in_time(2 * width)
        self.join = _normalised(3 * width, width)
        self.last = _normalised(width, width)
        self.write = nn.Conv2d(width, 1, 3, padding=1, bias=False)

    def forward(self, past: Tensor, shape: tuple[int, int]) -> Tensor:
        """Scores [B,frames,h*w,h*w] of the matrices after `past` [B,frames-1,h*w,h*w].

        Args:
            past: the matrices, source by target.
            shape: h and w.
        """
        positions = past.transpose(1, 2).flatten(0, 1)  # [B*h*w,frames-1,h*w]
        rows = len(positions)
        x = self.halve(self.prepare(self.read(positions.reshape(-1, 1, *shape))))
        x = self.past(_clips(x, rows))
        x = self.translate(x.transpose(1, 2).flatten(1, 2))
        upper = x.reshape(rows * self.frames, -1, *x.shape[2:])
        lower = self.future(_clips(self.halve_again(upper), rows)).transpose(1, 2).flatten(0, 1)
        lower = F.interpolate(lower, upper.shape[2:])
        x = self.join(torch.cat((lower, upper), 1))
        scores: Tensor = self.write(self.last(F.interpolate(x, shape)))
        return scores.reshape(len(past), -1, self.frames, past.shape[-1]).transpose(1, 2)


class MMVP(Predictor):
    """Features of past frames, moved to where matrices between positions say, and decoded.

    Matrices of cosine similarity between neighbouring frames, at 1/8 and 1/16 of the size, say how
    each position of one frame is found in the next. From them those of the future are predicted.
    Features and pixels of all past frames are passed on along the matrices, decoded, and the
    picture of the features improved by that of the pixels.

    The network maps `window_frames` frames to as many that follow. Before a shorter context its
    first frame is repeated, of a longer one the last frames are used; a longer horizon is predicted
    in further passes over the predictions so far, a shorter one is cut from a pass.

    As in the authors' code each matrix is a softmax over all of its entries together: what comes
    from k frames back weighs about (h*w)^-k, so that the last frame outweighs all others. OpenSTL
    gives the network the future with the past in training; the outcome depends on it through batch
    normalisation alone. Here it never does. Of its 14,828,581 parameters 708,832 never take part
    (the fusing layers of the two scales and of the predictor); they are left out. Products of
    matrices are never made: what has been passed on so far is passed on.
    """

    name = "mmvp"
    paper = Paper(
        "MMVP: Motion-Matrix-based Video Prediction",
        2023,
        "https://arxiv.org/abs/2308.16154",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="OpenSTL, configs/mmnist/MMVP.py",
                origin="borrowed",
                learning_rate=1e-3,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": Size(
            small_recipe(1.5e-3, "best of 5 trials on Moving MNIST"),
            {"width": 4, "hidden": 8, "blocks": 2},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (4, 6, 8, 12),
        "hidden": (8, 16, 24, 32),
        "blocks": (1, 2),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 32,
        hidden: int = 192,
        blocks: int = 2,
        window_frames: int = 10,
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of 16.
            width: channels of the largest maps, an even number; they double with each halving.
            hidden: channels of the network that predicts matrices.
            blocks: residual-in-residual dense blocks of encoder, decoder and enhancer each.
            window_frames: frames read, and predicted, in one pass; two at least. A suite gives
                it the data set's context, up to 20, unless it is written.

        Raises:
            UnfitFrame: a frame cannot be halved four times.
            ValueError: `width` is odd, or there are fewer than two frames to compare.
        """
        super().__init__(frame_shape)
        require_multiple(frame_shape, 2**HALVINGS, f"they are halved {HALVINGS} times")
        if width % 2:
            raise ValueError(f"width must be even, not {width}")
        if window_frames < 2:
            raise ValueError(f"window_frames must be 2 at least, not {window_frames}")
        channels = frame_shape[0]
        self.window_frames = window_frames
        self.encode = nn.Sequential(
            _convolution(4 * channels, width), *(RRDB(width) for _ in range(blocks))
        )
        self.halvings = nn.ModuleList(Halving(width << n, width << n + 1) for n in range(3))
        self.compare_fine = _comparing(4 * width, width)
        self.compare_coarse = _comparing(8 * width, 2 * width)
        self.predict = MatrixPredictor(hidden, window_frames)
        self.doublings = nn.ModuleList(
            Doubling(width << n + 1, joined=n > 0) for n in reversed(range(3))
        )
        self.decode = nn.Sequential(
            *(RRDB(width) for _ in range(blocks)), nn.Conv2d(width, 4 * channels, 1)
        )
        self.enhance = nn.Sequential(
            _convolution(2 * channels, width),
            *(RRDB(width) for _ in range(blocks)),
            nn.Conv2d(width, channels, 1),
        )

    @classmethod
    def options_on(cls, context_frames: int, horizon: int) -> Mapping[str, Any]:
        """A window of the whole context, and of two frames at least."""
        return {"window_frames": max(2, window_on(context_frames))}

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next `horizon` frames [B,horizon,C,H,W], `window_frames` to a pass."""
        return roll_out(self.next_window, context, horizon, self.window_frames)

    def next_window(self, frames: Tensor) -> Tensor:
        """The frames after `frames`, both [B,window_frames,C,H,W]."""
        batch = len(frames)
        _, height, columns = self.frame_shape
        shape = height // 8, columns // 8

        x = self.encode(F.pixel_unshuffle(frames.flatten(0, 1), 2))
        quarter, fine, coarse = (x := halve(x) for halve in self.halvings)
        alike, alike_coarse = (
            similarities(
                compare(features).reshape(batch, self.window_frames, -1, *features.shape[2:])
            )
            for compare, features in ((self.compare_fine, fine), (self.compare_coarse, coarse))
        )
        scores = self.predict(alike, shape)
        by_fine = normalised(alike), normalised(scores)
        by_coarse = normalised(alike_coarse), normalised(coarser(scores, shape))

        x = self.moved(coarse, *by_coarse)
        skips = (
            (self.moved(fine, *by_fine),),
            (F.pixel_shuffle(self.moved(F.pixel_unshuffle(quarter, 2), *by_fine), 2),),
            (),
        )
        for double, skip in zip(self.doublings, skips, strict=True):
            x = double(x, *skip)
        picture = F.pixel_shuffle(self.decode(x), 2)
        pixels = self.moved(F.pixel_unshuffle(frames.flatten(0, 1), 8), *by_fine)
        enhanced: Tensor = self.enhance(torch.cat((picture, F.pixel_shuffle(pixels, 8)), 1))
        return enhanced.reshape(frames.shape)

    @unrounded
    def moved(self, features: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Features [B*frames,C,h,w] of the future, those of the past passed on and averaged.

        Args:
            features: of the past, [B*frames,C,h,w].
            past: matrices between its frames, [B,frames-1,h*w,h*w].
            future: matrices from its last frame to each to come, [B,frames,h*w,h*w].
        """
        values = features.flatten(2).transpose(1, 2)
        values = torch.cat((values, torch.ones_like(values[..., :1])), -1)  # the weights themselves
        first, *others = values.reshape(len(past), -1, *values.shape[1:]).unbind(1)
        for matrix, more in zip(past.unbind(1), others, strict=True):
            first = matrix.transpose(1, 2) @ first + more
        arrived = future.transpose(2, 3) @ first[:, None]
        arrived = arrived[..., :-1] / (arrived[..., -1:] + NOTHING)
        return arrived.transpose(2, 3).reshape(features.shape)


def similarities(features: Tensor) -> Tensor:
    """Cosines [B,T-1,h*w,h*w] of each position of a frame with each of the next.

    Args:
        features: [B,T,C,h,w].
    """
    directions = F.normalize(widened(features).flatten(3), dim=2, eps=NOTHING)
    return directions[:, :-1].transpose(2, 3) @ directions[:, 1:]


def normalised(matrices: Tensor) -> Tensor:
    """Each of `matrices` [B,T,h*w,h*w] as a softmax over all of its entries."""
    return widened(matrices).flatten(2).softmax(-1).reshape(matrices.shape)


def coarser(matrices: Tensor, shape: tuple[int, int]) -> Tensor:
    """Matrices [B,T,h*w/4,h*w/4] of half the height and width, of `matrices` [B,T,h*w,h*w].

    As in the authors' code: targets bilinear, sources bicubic.

    Args:
        matrices: source by target.
        shape: h and w.
    """
    small = shape[0] // 2, shape[1] // 2
    for mode in ("bilinear", "bicubic"):
        others = matrices.shape[2]
        maps = F.interpolate(
            widened(matrices).reshape(-1, 1, *shape), small, mode=mode, align_corners=False
        )
        matrices = maps.reshape(*matrices.shape[:2], others, -1).transpose(2, 3)
    return matrices


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _normalised(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU())


def _normalised_in_time(width: int) -> nn.Sequential:
    convolution = nn.Conv3d(width, width, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm3d(width), nn.LeakyReLU())


def _comparing(inputs: int, outputs: int) -> nn.Sequential:
    """What is compared of a map: three convolutions of it."""
    return nn.Sequential(
        _normalised(inputs, outputs), _normalised(outputs, outputs), _normalised(outputs, outputs)
    )


def _clips(x: Tensor, rows: int) -> Tensor:
    """Maps [rows*T,C,h,w] as clips [rows,C,T,h,w]."""
    return x.reshape(rows, -1, *x.shape[1:]).transpose(1, 2)
