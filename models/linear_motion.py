"""The baseline that lets everything move on as it moved between the last two frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.contract import FrameShape, Predictor


class LinearMotion(Predictor):
    """Each pixel of the last frame goes on at its own constant velocity.

    The velocity is where its neighbourhood lay one frame before, by the least squared difference:
    block matching for every pixel. Moving pixels cover still ones, and bright ones dark ones; a
    place that nothing comes to takes the mean of what came near it, or black.

    Args:
        frame_shape: channels, height and width.
        reach: the fastest motion looked for, in pixels a frame along each axis.
        block: side of the neighbourhoods, odd.

    Raises:
        ValueError: `reach` or `block` cannot be what it is.
    """

    name = "linear_motion"

    def __init__(self, frame_shape: FrameShape, *, reach: int = 4, block: int = 7) -> None:
        super().__init__(frame_shape)
        if reach < 0 or block < 1 or block % 2 == 0:
            raise ValueError(f"reach is 0 at least and block odd, not {reach} and {block}")
        self.reach, self.block = reach, block

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W]; after one frame of context, that frame."""
        before, last = context[:, max(0, context.shape[1] - 2)], context[:, -1]
        return self.moved(last, self.velocity(before, last), horizon)

    def velocity(self, before: Tensor, last: Tensor) -> Tensor:
        """Whole pixels (dy, dx) [B,2,H,W] by which those of `last` [B,C,H,W] have moved."""
        height, width = last.shape[2:]
        padded = F.pad(before, (self.reach,) * 4, mode="replicate")
        origins = padded.unfold(2, height, 1).unfold(3, width, 1)  # [B,C,-dy,-dx,H,W]
        difference = (origins - last[:, :, None, None]).square().mean(1).flatten(1, 2)
        steps = torch.arange(self.reach, -self.reach - 1, -1, device=last.device)
        motions = torch.cartesian_prod(steps, steps)
        # Of equal matches the slowest: an even surface stands still.
        cost = self.averaged(difference) + 1e-6 * motions.square().sum(1)[:, None, None]
        return motions[cost.argmin(1)].movedim(-1, 1)

    def moved(self, frame: Tensor, velocity: Tensor, horizon: int) -> Tensor:
        """`frame` [B,C,H,W] after each of `horizon` steps of `velocity`: [B,horizon,C,H,W]."""
        channels, height, width = frame.shape[1:]
        axes = (torch.arange(side, device=frame.device) for side in (height, width))
        start = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        times = torch.arange(1, horizon + 1, device=frame.device)[:, None, None, None]
        y, x = (start + times * velocity[:, None]).unbind(2)
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        # What leaves the frame lands in one place more than there are, which is cut off again.
        place = torch.where(inside, y * width + x, height * width).flatten(2)[:, :, None]
        # Still pixels land as values in [0,1], moving ones in [2,3], and the largest stays.
        value = (frame + 2 * velocity.any(1)[:, None]).flatten(2)[:, None]
        empty = frame.new_full((len(frame), horizon, channels, height * width + 1), -1.0)
        shape = (-1, horizon, channels, -1)
        landed = empty.scatter_reduce(3, place.expand(shape), value.expand(shape), "amax")
        landed = landed[..., :-1].reshape(*empty.shape[:3], height, width)
        return self.filled(torch.where(landed >= 2, landed - 2, landed))

    def filled(self, frames: Tensor) -> Tensor:
        """`frames` [B,horizon,C,H,W] with what is below 0 replaced by the mean of what is not."""
        known = frames >= 0
        near = self.averaged(frames.clamp_min(0).flatten(0, 1))
        share = self.averaged(known.to(frames.dtype).flatten(0, 1))
        return frames.where(known, (near / share.clamp_min(1e-6)).view_as(frames))

    def averaged(self, maps: Tensor) -> Tensor:
        """Means [B,C,H,W] of the neighbourhoods of `maps` [B,C,H,W]."""
        half = self.block // 2
        return F.avg_pool2d(maps, self.block, 1, half, count_include_pad=False)
