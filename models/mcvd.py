"""MCVD: a diffusion model that draws the next few frames, given the last (Voleti et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

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
from models.layers.padding import repeat_first_frame
from models.layers.precision import widened
from models.layers.rollout import from_patches, patched_shape, to_patches
from models.layers.self_attention import SelfAttention
from models.layers.window_rollout import roll_out

TIMES = 1000
FIRST_BETA, LAST_BETA = 1e-4, 0.02
"""The share of variance that noise gets at the first and the last of `TIMES`; linear between."""
HEAD = 64  # channels of an attention head, at least
HALF = math.sqrt(0.5)  # so that the sum of two of one variance keeps it

Resampling = Literal["halve", "double"] | None


def signal_shares() -> Tensor:
    """How much of a noisy frame's variance is the frame's, [TIMES]: prod_s<=t (1 - beta_s).

    Ho et al. 2020, "Denoising Diffusion Probabilistic Models", section 2.
    """
    betas = torch.linspace(FIRST_BETA, LAST_BETA, TIMES, dtype=torch.float64)
    return (1 - betas).cumprod(0).float()


def normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers [...] of `uniform` ones in [0,1) [2,...] (Box and Muller 1958)."""
    radius, angle = (-2 * (1 - uniform[0]).log()).sqrt(), 2 * math.pi * uniform[1]
    return radius * angle.cos()


def time_codes(times: Tensor, width: int) -> Tensor:
    """Codes [B,width] of `times` [B]: sines, then cosines, of frequencies from 1 to 1/10,000.

    Those of DDPM's code.
    """
    frequencies = torch.logspace(0, -4, width // 2, device=times.device)
    angles = times[:, None] * frequencies
    return torch.cat((angles.sin(), angles.cos()), 1)


def most_that_divide(channels: int, most: int) -> int:
    """The largest number, `most` or less, that divides `channels`."""
    return next(count for count in range(max(1, most), 0, -1) if channels % count == 0)


def _groups(channels: int) -> int:
    return most_that_divide(channels, min(channels // 4, 32))


class TimedNorm(nn.Module):
    """A group norm whose gain and offset depend on the time, then SiLU."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_groups(channels), channels, affine=False)
        self.scale_and_shift = nn.Linear(code, 2 * channels)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Maps [B,channels,h,w] of x of the same shape and `time` [B,code]."""
        scale, shift = self.scale_and_shift(F.silu(time))[..., None, None].chunk(2, 1)
        normalised: Tensor = self.norm(x)
        return F.silu(normalised * (1 + scale) + shift)


class Resample(nn.Module):
    """Maps of half or double the height and width, filtered by [1,3,3,1] along both axes."""

    filter: Tensor

    def __init__(self, to: Literal["halve", "double"]) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / (8 if to == "halve" else 4)
        self.register_buffer("filter", taps.outer(taps), persistent=False)
        self.halves = to == "halve"

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,C,h/2,w/2] or [B,C,2h,2w] of x [B,C,h,w]."""
        channels = x.shape[1]
        weights = self.filter.expand(channels, 1, -1, -1)
        convolve: Callable[..., Tensor] = F.conv2d if self.halves else F.conv_transpose2d
        return convolve(x, weights, stride=2, padding=1, groups=channels)


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip, on maps that may be halved or doubled (BigGAN's block).

    Args:
        inputs: channels of the maps.
        outputs: channels of the result.
        code: width of the time's code.
        dropout: rate, before the second convolution.
        resampling: what becomes of height and width.
    """

    def __init__(
        self, inputs: int, outputs: int, code: int, dropout: float, resampling: Resampling = None
    ) -> None:
        super().__init__()
        self.first_norm = TimedNorm(inputs, code)
        self.resample = Resample(resampling) if resampling else nn.Identity()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second_norm = TimedNorm(outputs, code)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        is_same = inputs == outputs and not resampling
        self.skip = nn.Identity() if is_same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Maps [B,outputs,h',w'] of x [B,inputs,h,w] and the time's code [B,code]."""
        y: Tensor = self.first(self.resample(self.first_norm(x, time)))
        y = self.second(self.dropout(self.second_norm(y, time)))
        skipped: Tensor = self.skip(self.resample(x))
        return HALF * (skipped + y)


class Attention(nn.Module):
    """Attention of all places of a map to all, beside a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_groups(channels), channels, eps=1e-6)
        self.attention = SelfAttention(channels, most_that_divide(channels, channels // HEAD))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,channels,h,w] of x of the same shape."""
        seen: Tensor = self.attention(self.norm(x).flatten(2).transpose(1, 2))
        return HALF * (x + seen.transpose(1, 2).reshape(x.shape))


class Stage(nn.Module):
    """A residual block, and attention after it or none."""

    def __init__(self, block: ResidualBlock, attends: bool) -> None:
        super().__init__()
        self.block = block
        self.attention = Attention(block.second.out_channels) if attends else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Maps [B,C',h',w'] of x [B,C,h,w] and the time's code [B,code]."""
        y: Tensor = self.attention(self.block(x, time))
        return y


class UNet(nn.Module):
    """The noise in noisy maps, from them, other maps beside them, and the time.

    Maps are halved from each level to the next, and doubled on the way back, which reads all maps
    of the way there. Attention is on all levels but the first.

    Args:
        inputs: channels of all maps that are read.
        outputs: channels of the noise.
        width: channels at the first level; also those of the time's sinusoids, so even.
        multiples: the channels at each level, as multiples of `width`.
        blocks: residual blocks a level on the way there; one more on the way back.
        dropout: rate in every block.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        multiples: Sequence[int],
        blocks: int,
        dropout: float,
    ) -> None:
        super().__init__()
        code = 4 * width
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, code), nn.SiLU(), nn.Linear(code, code))
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        block = partial(ResidualBlock, code=code, dropout=dropout)
        widths, now, last = [width], width, len(multiples) - 1
        self.there, self.back = nn.ModuleList(), nn.ModuleList()
        for level, multiple in enumerate(multiples):
            for _ in range(blocks):
                self.there.append(Stage(block(now, multiple * width), attends=level > 0))
                now = multiple * width
                widths.append(now)
            if level < last:
                self.there.append(Stage(block(now, now, resampling="halve"), attends=False))
                widths.append(now)
        self.middle = nn.ModuleList((Stage(block(now, now), True), Stage(block(now, now), False)))
        for level in range(last, -1, -1):
            for number in range(blocks + 1):
                attends = level > 0 and number == blocks
                outer = multiples[level] * width
                self.back.append(Stage(block(now + widths.pop(), outer), attends))
                now = outer
            if level:
                self.back.append(block(now, now, resampling="double"))
        self.norm = nn.GroupNorm(_groups(now), now)
        self.noise = nn.Conv2d(now, outputs, 3, padding=1)
        self._start()

    def _start(self) -> None:
        """Draw the weights as DDPM's code does: each block and attention begins as its skip."""
        last: set[nn.Module] = {self.noise}
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                last.add(module.second)
            elif isinstance(module, SelfAttention):
                last.add(module.project)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, 1e-5 if module in last else 1.0)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        """Noise [B,outputs,h,w] in x [B,inputs,h,w] at `times` [B], 0 to TIMES - 1."""
        time = self.time(time_codes(times, self.width).to(x.dtype))
        maps = [self.first(x)]
        for stage in self.there:
            maps.append(stage(maps[-1], time))
        y = maps[-1]
        for stage in self.middle:
            y = stage(y, time)
        for stage in self.back:
            reads = isinstance(stage, Stage)  # or only doubles what there is
            y = stage(torch.cat((y, maps.pop()), 1) if reads else y, time)
        noise: Tensor = self.noise(F.silu(self.norm(y)))
        return noise


class MCVD(Predictor):
    """Noise that a U-Net turns into the next `block_frames` frames, given the last `past_frames`.

    The U-Net learns to tell the noise in noisy frames, at 1,000 levels of it; the frames of a
    block, on [-1,1], are channels, the past ones further channels (the authors' "concat"). A block
    is drawn by DDIM without noise of its own (Song et al. 2021, equation 12, sigma 0) at
    `sampling_steps` of these levels, of which training knows nothing; the authors' 100 to 1,000
    would make validation dearer than training. Longer horizons are drawn in further blocks, the
    past then being what was drawn; before a shorter context its first frame is repeated.

    `forward` draws one future, as `sample` draws several: the mean of many would be another
    predictor, blurred, and would cost as many times as much. So its MSE is that of a draw, up to
    twice as high as that of the mean, which is best in MSE.

    The loss is that of the authors' code, half the squared error of the noise, summed over pixels:
    its gradient is nearly always longer than the recipe's limit, and is shortened to it. The past
    is never masked, as in their recipes for prediction alone. Not theirs: clips are not mirrored,
    weights are not averaged, the learning rate does not rise over the first 1,000 steps, and DDIM
    ends at its own estimate, with no step after it. `patch` is ours: squares of pixels as channels.
    """

    name = "mcvd"
    paper = Paper(
        "MCVD: Masked Conditional Video Diffusion for Prediction, Generation, and Interpolation",
        2022,
        "https://arxiv.org/abs/2205.09853",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="voletiv/mcvd-pytorch, configs/smmnist_DDPM_big5.yml",
                origin="authors",
                learning_rate=2e-4,
                batch_size=64,
                clip_norm=1.0,
            )
        ),
        "small": Size(
            small_recipe(1.5e-2, "best of 5 trials on Moving MNIST", batch_size=2),
            {
                "width": 24,
                "multiples": (1, 1, 1),
                "blocks": 1,
                "patch": 2,
                "sampling_steps": 3,
                "dropout": 0.0,
            },
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (12, 16, 24, 32),
        "multiples": ((1, 1), (1, 1, 1), (1, 1, 2), (1, 2, 2)),
        "sampling_steps": (2, 3, 4, 6, 10),
    }
    shares: Tensor

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        past_frames: int = 5,
        block_frames: int = 5,
        width: int = 64,
        multiples: Sequence[int] = (1, 2, 3, 4),
        blocks: int = 2,
        patch: int = 1,
        sampling_steps: int = 20,
        dropout: float = 0.1,
    ) -> None:
        """The size for Stochastic Moving MNIST by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of `patch`, halved once for
                each level but the first.
            past_frames: how many of the last frames are read.
            block_frames: how many are drawn together.
            width: channels of the U-Net's first level; even.
            multiples: the channels of each level, as multiples of `width`.
            blocks: residual blocks a level.
            patch: side of the squares of pixels that become channels.
            sampling_steps: how many times the U-Net is asked for a block, 1 to 1,000.
            dropout: rate in every residual block.

        Raises:
            UnfitFrame: a frame cannot be halved so often.
            ValueError: `width` is odd, or `sampling_steps` is none of 1 to 1,000.
        """
        super().__init__(frame_shape)
        halvings = len(multiples) - 1
        require_multiple(frame_shape, patch << halvings, f"patches of it are halved {halvings}x")
        if width % 2:
            raise ValueError(f"width must be even, not {width}")
        if not 1 <= sampling_steps <= TIMES:
            raise ValueError(f"sampling_steps must be 1 to {TIMES}, not {sampling_steps}")
        self.patch, self.past_frames, self.block_frames = patch, past_frames, block_frames
        channels = patched_shape(frame_shape, patch)[0]
        self.drawn = block_frames * channels
        inputs = self.drawn + past_frames * channels
        self.unet = UNet(inputs, self.drawn, width, multiples, blocks, dropout)
        self.register_buffer("shares", signal_shares(), persistent=False)
        self.times = [TIMES - 1 - step * TIMES // sampling_steps for step in range(sampling_steps)]

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """One drawn future [B,horizon,C,H,W] of `context` [B,T,C,H,W], both in [0,1]."""
        return self._futures(context, horizon, None)

    def sample(
        self, context: Tensor, horizon: int, samples: int, generator: torch.Generator
    ) -> Tensor:
        """Drawn futures [B,samples,horizon,C,H,W] of `context` [B,T,C,H,W], both in [0,1]."""
        repeated = context.repeat_interleave(samples, 0)
        futures = self._futures(repeated, horizon, generator)
        return futures.view(-1, samples, *futures.shape[1:])

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """Half the squared error of the noise in a block of each clip, summed over its pixels."""
        window = self.past_frames + self.block_frames
        clip = repeat_first_frame(batch.clip, window)
        count, starts = len(clip), clip.shape[1] - window + 1
        chosen = batch.uniform(2, count, clips=1)
        first = (chosen[0] * starts).long()[:, None]
        rows = torch.arange(count, device=clip.device)[:, None]
        frames = clip[rows, first + torch.arange(window, device=clip.device)]
        past, block = self._maps(frames[:, : self.past_frames]), frames[:, self.past_frames :]
        clean, times = self._maps(block), (chosen[1] * TIMES).long()
        noise = normal(batch.uniform(2, *clean.shape, clips=1))
        share = self.shares[times][:, None, None, None]
        noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
        found = self.unet(torch.cat((noisy, past), 1), times)
        return (noise - widened(found)).square().sum() / (2 * count)

    def next_block(self, past: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Drawn frames [B,block_frames,C,H,W] after `past` [B,past_frames,C,H,W], in [0,1]."""
        given = self._maps(past)
        shape, device = (len(past), self.drawn, *given.shape[2:]), past.device
        source = device if generator is None else generator.device
        x = torch.randn(shape, generator=generator, device=source, dtype=past.dtype).to(device)
        for time, following in zip(self.times, [*self.times[1:], None], strict=True):
            times = torch.full((len(past),), time, device=device)
            noise = widened(self.unet(torch.cat((x, given), 1), times))
            share = self.shares[time]
            clean = ((x - (1 - share).sqrt() * noise) / share.sqrt()).clamp(-1, 1)
            left = self.shares[following] if following is not None else torch.ones_like(share)
            x = left.sqrt() * clean + (1 - left).sqrt() * noise
        patches = x.view(len(x), self.block_frames, -1, *x.shape[2:])
        return (from_patches(patches, self.patch) + 1) / 2

    def _futures(self, context: Tensor, horizon: int, generator: torch.Generator | None) -> Tensor:
        draw = partial(self.next_block, generator=generator)
        return roll_out(draw, context, horizon, self.past_frames)

    def _maps(self, frames: Tensor) -> Tensor:
        """Maps [B,T*C*patch*patch,h,w] in [-1,1] of frames [B,T,C,H,W] in [0,1]."""
        return to_patches(2 * frames - 1, self.patch).flatten(1, 2)
