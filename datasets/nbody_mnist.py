"""N-body MNIST: three digits that attract each other over a canvas and bounce off its edges."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from datasets.contract import Clips, HeldOutName
from datasets.moving_mnist import CANVAS, MovingMNIST
from datasets.sources.clip_numbers import NumberedClips

DIGITS_PER_CLIP = 3
SIDE = 128
"""Pixels of the canvas that digits move over, before it is halved."""

STEPS_PER_FRAME = 5
FASTEST = 2.0
"""Pixels a digit moves in a step at most, down or up, right or left."""

GRAVITY, SOFTENING = 0.05, 10.0
"""Pixels per step squared, and pixels."""

EDGE = 10.0
"""Pixels from the edge of the canvas at which the centre of a digit turns round."""

FINENESS = 32
"""Digits are drawn at the nearest 1/32 of a pixel, as OpenCV does: so sums of pixels are exact."""

_HELD_OUT_CLIPS = 1_000
_NUMBERS = 5 * DIGITS_PER_CLIP


class NBodyMNIST(MovingMNIST):
    """Three digits under a force that does not fade with distance, drawn afresh or fixed.

    Gao et al., "Earthformer: Exploring Space-Time Transformers for Earth System Forecasting",
    NeurIPS 2022 (github.com/amazon-science/earth-forecasting-transformer, datasets/nbody).
    Digits are cropped to their ink, start anywhere on a canvas of 128 pixels in any direction, at 0
    to 2 pixels a step, and are shown every fifth step, the brightest on top; the canvas is halved
    by a bicubic filter. Small differences grow, so the far future is hard to tell. The authors
    publish 20,000 clips to train on, 1,000 to validate and 1,000 to test, all of the same 40,000
    digits; here training goes on without end, and the 1,000 validation and 1,000 test clips show
    digits never trained on: figures do not compare with theirs.
    """

    name = "nbody_mnist"
    epoch_clips = 20_000

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random training clips, uint8 [count,T,1,64,64], on the generator's device."""
        device = generator.device
        numbers = torch.rand(count, _NUMBERS, generator=generator, device=device)
        return self._shown(self._train_pool(device), numbers)

    def held_out(self, split: HeldOutName) -> Clips:
        """The 1,000 fixed clips of `split`, rendered as they are read."""
        show = partial(self._shown, self._held_out_digits[split])
        return NumberedClips(split, _HELD_OUT_CLIPS, _NUMBERS, show)

    def _shown(self, pool: Tensor, numbers: Tensor) -> Tensor:
        """Clips of images of the `pool` that `numbers` fix, uniform in [0,1) [N,k]."""
        uniform = numbers.view(len(numbers), DIGITS_PER_CLIP, -1)
        images = pool[(uniform[..., 0] * len(pool)).long()]
        corner, size = ink_boxes(images)
        start = uniform[..., 1:3] * (SIDE - size)
        angle, speed = uniform[..., 3, None] * math.tau, uniform[..., 4, None] * FASTEST
        velocity = speed * torch.cat((angle.sin(), angle.cos()), dim=-1)
        places = attracted(start, velocity, size, self.spec.clip_frames)
        places = places - corner[:, :, None]
        # Frame by frame, which takes no more memory than caches hold.
        frames = [halved(canvases(images, place)) for place in places.unbind(2)]
        return torch.stack(frames, dim=1)


def ink_boxes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Top-left pixels (y, x) and sizes of what is not black in images [...,h,w], int64 [...,2]."""
    inked = [(images > 0).any(axis).byte() for axis in (-1, -2)]
    first = torch.stack([line.argmax(-1) for line in inked], dim=-1)
    blank_after = torch.stack([line.flip(-1).argmax(-1) for line in inked], dim=-1)
    return first, first.new_tensor(images.shape[-2:]) - blank_after - first


def attracted(start: Tensor, velocity: Tensor, size: Tensor, frames: int) -> Tensor:
    """Top-left corners (y, x) of bodies in pixels, float [B,D,frames,2], from the start on.

    In each step a body at x_i gains G sum_j (x_j - x_i) / sqrt(|x_j - x_i|^2 + s^2) of velocity,
    where x is the corner, G is GRAVITY and s is SOFTENING; each component is then cut to FASTEST.
    A body whose centre is beyond an edge is put back on it and turns round.

    Args:
        start: corners in pixels [B,D,2].
        velocity: pixels per step [B,D,2].
        size: height and width of the bodies in pixels [B,D,2].
        frames: how many to record, one each STEPS_PER_FRAME.
    """
    corner, half, visited = start, size / 2, [start]
    for step in range(1, (frames - 1) * STEPS_PER_FRAME + 1):
        apart = corner[:, None] - corner[:, :, None]
        distance = (apart.square().sum(-1, keepdim=True) + SOFTENING**2).sqrt()
        velocity = velocity + GRAVITY * (apart / distance).sum(2)
        velocity = velocity.clamp(-FASTEST, FASTEST)
        centre = corner + velocity + half
        inside = centre.clamp(EDGE, SIDE - EDGE)
        velocity = torch.where(centre == inside, velocity, -velocity)
        corner = inside - half
        if step % STEPS_PER_FRAME == 0:
            visited.append(corner)
    return torch.stack(visited, dim=2)


def canvases(images: Tensor, corners: Tensor) -> Tensor:
    """Images [B,D,h,w] with top-left corners [B,D,2] in pixels on black canvases [B,128,128].

    Between pixels an image is interpolated linearly; where images overlap the brighter pixel wins.
    """
    corners = (corners * FINENESS).round() / FINENESS
    whole = corners.floor()
    down, right = (corners - whole)[..., None, None].unbind(2)
    patches = pad(images.to(corners.dtype), (1, 1, 1, 1))
    patches = torch.lerp(patches[..., 1:], patches[..., :-1], right)
    patches = torch.lerp(patches[..., 1:, :], patches[..., :-1, :], down)
    # What lies beyond the canvas falls on a margin of one pixel.
    side = SIDE + 2
    rows, columns = (
        (first[..., None].long() + torch.arange(1, length + 1, device=first.device)).clamp(
            0, side - 1
        )
        for first, length in zip(whole.unbind(-1), patches.shape[-2:], strict=True)
    )
    places = rows[..., None] * side + columns[..., None, :]
    drawn = patches.new_zeros(len(images), side * side)
    drawn.scatter_reduce_(1, places.flatten(1), patches.flatten(1), "amax")
    return drawn.view(-1, side, side)[:, 1:-1, 1:-1]


def halved(frames: Tensor) -> Tensor:
    """Frames [B,128,128] of values 0..255 at half their size, uint8 [B,1,64,64]."""
    small = interpolate(frames[:, None], (CANVAS, CANVAS), mode="bicubic")
    return small.round_().clamp_(0, 255).byte()
