"""WaST: large-kernel blocks between a 3-D wavelet transform and its inverse (Nie et al. 2024)."""

from __future__ import annotations

import math
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
    TrainingBatch,
    require_multiple,
    small_recipe,
)
from models.layers.precision import widened
from models.layers.window_rollout import roll_out, window_on
from models.swinlstm import draw_drop_path, require_rates

DROPS_FROM = 0.4
"""Of the budget: blocks are dropped from epoch 20 of 50 on."""

MASKED = 0.1  # of the longer side of a spectrum: as far from its corners frequencies are left out

_HALF = 0.5**0.5


def _split(x: Tensor, dim: int) -> Tensor:
    """Low and high Haar coefficients [2,...] of x along `dim`, each half as long."""
    first, second = torch.unflatten(x, dim, (-1, 2)).unbind(dim)
    return torch.stack((first + second, first - second)) * _HALF


def _join(low: Tensor, high: Tensor, dim: int) -> Tensor:
    """What `_split` made the coefficients of."""
    return torch.stack((low + high, low - high), dim).flatten(dim - 1, dim) * _HALF


def wavelets(x: Tensor) -> Tensor:
    """Haar coefficients [2,4,B,C,T/2,H/2,W/2] of x [B,C,T,H,W]: low and high in time, then space.

    In space the first of the four is low along both sides.
    """
    return _split(_split(_split(x, -1), -2), -3).flatten(1, 2)


def from_wavelets(bands: Tensor) -> Tensor:
    """The x [B,C,T,H,W] of which `bands` [2,4,B,C,T/2,H/2,W/2] are the `wavelets`."""
    frames = _join(bands[0], bands[1], -3)
    rows = _join(frames[:2], frames[2:], -2)
    return _join(rows[0], rows[1], -1)


class CoordinateAttention(nn.Module):
    """Channels of each row and of each column, weighed by what their means say (Hou et al. 2021).

    Args:
        width: channels of the map.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(8, width // 4)
        self.read = nn.Sequential(nn.Conv1d(width, inner, 1), nn.BatchNorm1d(inner), nn.Hardswish())
        self.rows = nn.Conv1d(inner, width, 1)
        self.columns = nn.Conv1d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,width,h,w] for x of the same shape."""
        means = self.read(torch.cat((x.mean(3), x.mean(2)), 2))
        rows, columns = torch.split(means, list(x.shape[2:]), 2)
        weights = self.columns(columns).sigmoid()[:, :, None] * self.rows(rows).sigmoid()[..., None]
        weighed: Tensor = x * weights
        return weighed


class InvertedResidual(nn.Module):
    """Four times as many channels, each filtered, weighed by squeeze and excitation, and back.

    Sandler et al. 2018, "MobileNetV2", with the weights of Hu et al. 2018; no shortcut.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 4 * width
        self.filter = nn.Sequential(
            nn.Conv2d(width, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 7, padding=3, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
        )
        self.weigh = nn.Sequential(
            nn.Conv2d(inner, width, 1), nn.ReLU(), nn.Conv2d(width, inner, 1), nn.Sigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,width,h,w] for x of the same shape."""
        x = self.filter(x)
        y: Tensor = self.project(x * self.weigh(x.mean((2, 3), keepdim=True)))
        return y


class AwareBlock(nn.Module):
    """x' = x + s (low(tall x + wide x) + high(small x)); x'' = x' + s mixer(x').

    `tall`, `wide` and `small` are filters of each channel, `low` and `high` coordinate attention,
    and s is one learnt number for each channel.

    Args:
        width: channels of the map.
        kernel: the longer side of the tall and wide filters; 5 is the shorter one.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.tall, self.wide, self.small = (
            _filters(width, sides) for sides in ((kernel, 5), (5, kernel), (5, 5))
        )
        self.low, self.high = CoordinateAttention(width), CoordinateAttention(width)
        self.mixer = nn.Sequential(nn.BatchNorm2d(width), InvertedResidual(width))
        self.scale = nn.Parameter(torch.full((width, 1, 1), 1e-2))

    def forward(self, x: Tensor, drop_path: Tensor | None) -> Tensor:
        """Map [B,width,h,w] for x of the same shape.

        Args:
            x: the map.
            drop_path: factors [2,B,1,1,1] of the two branches; None for 1.
        """
        y = self.norm(x)
        y = self.scale * (self.low(self.tall(y) + self.wide(y)) + self.high(self.small(y)))
        x = x + (y if drop_path is None else drop_path[0] * y)
        y = self.scale * self.mixer(x)
        new: Tensor = x + (y if drop_path is None else drop_path[1] * y)
        return new


class WaST(Predictor):
    """Blocks on all frames as channels, on whole maps, then on wavelets, then on whole maps again.

    The network maps `window_frames` frames to as many that follow. A 3-D Haar transform halves
    time and space; what is low in space goes on, low and high in time one after the other, and the
    rest skips the middle. Before a shorter context its first frame is repeated, of a longer one
    the last frames are used; a longer horizon is predicted in further passes over the predictions
    so far, a shorter one is cut from a pass.

    The loss is the MSE and, weakly, that of high frequencies. Blocks are dropped in the last 60%
    of training alone, the deeper the more often.

    The authors' code takes the third letter of its bands, LLH say, for the width: what it puts one
    after the other as if it were frames is low and high along rows. Here it is low and high in
    time. Each of its blocks has a second scale that is never used (1,600 of the 5,132,822
    parameters for TaxiBJ); it is left out here. The only published size and recipe are TaxiBJ's.
    """

    name = "wast"
    paper = Paper(
        "Wavelet-Driven Spatiotemporal Predictive Learning: Bridging Frequency and Time Variations",
        2024,
        "https://doi.org/10.1609/aaai.v38i5.28230",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="OpenSTL, configs/taxibj/WaST.py (by its authors), TaxiBJ",
                origin="authors",
                learning_rate=1e-3,
                batch_size=16,
                schedule="cosine",
            )
        ),
        "small": Size(
            small_recipe(1.5e-2, "best of 5 trials on Moving MNIST", 2),
            {"width": 4, "blocks": (1, 4, 1), "kernels": (51, 21)},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (4, 6, 8, 10),
        "blocks": ((1, 1, 1), (1, 2, 1), (1, 4, 1)),
        "kernels": ((11, 7), (21, 11), (51, 21)),
    }
    drop_rates: Tensor
    high: Tensor

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 20,
        blocks: tuple[int, int, int] = (2, 8, 2),
        kernels: tuple[int, int] = (51, 21),
        window_frames: int = 10,
        drop_path: float = 0.25,
        high_frequencies: float = 1e-3,
    ) -> None:
        """The size published for TaxiBJ by default.

        Args:
            frame_shape: channels, height, width; both sides even.
            width: channels of each frame's maps; twice as many on wavelets.
            blocks: how many before the transform, on wavelets and after the inverse.
            kernels: the longer side of the filters on whole maps and on wavelets.
            window_frames: frames read, and predicted, in one pass; an even number. A suite gives
                it the data set's context, up to 20, unless it is written.
            drop_path: rate at which the deepest block's branches are dropped; it rises from 0.
            high_frequencies: what the loss of high frequencies counts beside the MSE.

        Raises:
            UnfitFrame: a side is odd.
            ValueError: `window_frames`, a side of a filter or a rate cannot be what it is.
        """
        super().__init__(frame_shape)
        require_multiple(frame_shape, 2, "wavelets halve them")
        if window_frames < 2 or window_frames % 2:
            raise ValueError(f"window_frames must be even and 2 at least, not {window_frames}")
        if any(kernel % 2 == 0 for kernel in kernels):
            raise ValueError(f"kernels must be odd, not {kernels[0]} and {kernels[1]}")
        require_rates([drop_path])
        channels, height, columns = frame_shape
        self.window_frames, self.high_frequencies = window_frames, high_frequencies
        self.first = _convolution(channels, width)
        self.before, self.after = (
            nn.ModuleList(AwareBlock(window_frames * width, kernels[0]) for _ in range(count))
            for count in (blocks[0], blocks[2])
        )
        self.middle = nn.ModuleList(
            AwareBlock(window_frames * 2 * width, kernels[1]) for _ in range(blocks[1])
        )
        self.prepare = _convolution(width, width)
        self.embed_low = _convolution(width, 2 * width)
        self.embed_frames = nn.Conv3d(4 * channels, 2 * width, 3, padding=1)
        self.return_low = _convolution(2 * width, width)
        self.return_high = _convolution(6 * width, 6 * width, groups=6)
        stacked = window_frames * width
        self.fuse = nn.Conv2d(2 * stacked, stacked, 3, padding=1)
        self.last = nn.Sequential(
            nn.BatchNorm3d(width), nn.GELU(), nn.Conv3d(width, channels, 3, padding=1)
        )
        rates = torch.linspace(0, drop_path, sum(blocks))
        self.register_buffer("drop_rates", rates, persistent=False)
        self.register_buffer(
            "high", high_frequency_mask(height // 2, columns // 2), persistent=False
        )
        self.drops = drop_path > 0

    @classmethod
    def options_on(cls, context_frames: int, horizon: int) -> Mapping[str, Any]:
        """A window of the whole context, and a frame more where that is odd."""
        return {"window_frames": 2 * math.ceil(window_on(context_frames) / 2)}

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next `horizon` frames [B,horizon,C,H,W], `window_frames` to a pass."""
        return roll_out(self.next_window, context, horizon, self.window_frames)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """The MSE of the future plus `high_frequencies` times its loss of high frequencies."""
        drop_path = None
        if self.training and self.drops:
            rates = self.drop_rates * (batch.progress > DROPS_FROM)
            drop_path = draw_drop_path(rates, 1, batch)[0]
        predicted = roll_out(
            lambda frames: self.next_window(frames, drop_path),
            batch.context,
            batch.future.shape[1],
            self.window_frames,
        )
        high = high_frequency_loss(predicted, batch.future, self.high)
        batch.log("high_frequencies", high)
        return F.mse_loss(predicted, batch.future) + self.high_frequencies * high

    def next_window(self, frames: Tensor, drop_path: Tensor | None = None) -> Tensor:
        """The frames after `frames`, both [B,window_frames,C,H,W].

        Args:
            frames: the last frames.
            drop_path: factors [all blocks,2,B,1,1,1] of the blocks' branches; None for 1.
        """
        factors = iter([None] * len(self.drop_rates) if drop_path is None else drop_path)

        def go(x: Tensor, blocks: nn.ModuleList) -> Tensor:
            for block in blocks:
                x = block(x, next(factors))
            return x

        clip = frames.transpose(1, 2)
        x = self.first(clip)
        shape = x.shape
        skip = go(x.flatten(1, 2), self.before)
        x, bands = self.transform(skip.view(shape), clip)
        x = go(x.flatten(1, 2), self.middle).view(x.shape)
        x = self.transform_back(x, bands)
        x = go(self.fuse(torch.cat((x.flatten(1, 2), skip), 1)), self.after)
        predicted: Tensor = self.last(x.view(shape)).transpose(1, 2)
        return predicted

    def transform(self, x: Tensor, clip: Tensor) -> tuple[Tensor, Tensor]:
        """What goes on [B,2*width,T,H/2,W/2] and what skips the middle [B,6*width,T/2,H/2,W/2].

        Args:
            x: maps [B,width,T,H,W].
            clip: the frames [B,C,T,H,W], whose own wavelets are embedded beside theirs.
        """
        bands = wavelets(self.prepare(x))
        low = self.embed_low(torch.cat((bands[0, 0], bands[1, 0]), 2))
        raw = torch.cat([of_time.transpose(0, 1).flatten(1, 2) for of_time in wavelets(clip)], 2)
        return low + self.embed_frames(raw), torch.cat([*bands[0, 1:], *bands[1, 1:]], 1)

    def transform_back(self, x: Tensor, bands: Tensor) -> Tensor:
        """Maps [B,width,T,H,W] of the two that `transform` returned."""
        low = self.return_low(x).chunk(2, 2)
        high = self.return_high(bands).chunk(6, 1)
        return from_wavelets(
            torch.stack((torch.stack((low[0], *high[:3])), torch.stack((low[1], *high[3:]))))
        )


def high_frequency_mask(height: int, width: int) -> Tensor:
    """1 for the frequencies [height,width] of a 2-D Fourier transform that count, 0 for low ones.

    Those within .1 of the longer side from one of the four corners are low.
    """
    rows, columns = (
        torch.minimum(torch.arange(side), torch.arange(side).flip(0)) for side in (height, width)
    )
    distance = rows[:, None] ** 2 + columns**2
    return (distance > (MASKED * max(height, width)) ** 2).float()


def high_frequency_loss(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """How far the spectra of `predicted` and `true` are apart where `mask` is 1, a scalar.

    The paper's high-frequency focal loss: the mean of w |d|^2 over all frequencies of the frames
    at half their size (low Haar coefficients), d the difference of their Fourier transforms, w =
    log(1 + |d|) relative to its largest of each frame and channel, as a constant.

    Args:
        predicted: [B,T,C,H,W].
        true: the same.
        mask: [H/2,W/2].
    """
    apart = (widened(predicted) - widened(true)).flatten(0, 1)
    spectrum = torch.fft.fft2(2 * F.avg_pool2d(apart, 2), norm="ortho")
    power = spectrum.real.square() + spectrum.imag.square()
    weights = power.detach().sqrt().log1p()
    weights = weights / weights.amax((-2, -1), keepdim=True).clamp(min=1e-12)
    loss: Tensor = (weights * power * mask).mean()
    return loss


def _convolution(inputs: int, outputs: int, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv3d(inputs, outputs, 3, padding=1, groups=groups)
    return nn.Sequential(convolution, nn.BatchNorm3d(outputs), nn.GELU())


def _filters(width: int, sides: tuple[int, int]) -> nn.Sequential:
    convolution = nn.Conv2d(width, width, sides, padding="same", groups=width)
    return nn.Sequential(convolution, nn.BatchNorm2d(width))
