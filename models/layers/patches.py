"""Frames as smaller maps of more channels, and back."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from models.contract import FrameShape


def patched_shape(frame_shape: FrameShape, patch: int) -> FrameShape:
    """Channels, height and width of a frame whose `patch` x `patch` squares became channels.

    Raises:
        ValueError: where height or width is not a multiple of `patch`.
    """
    channels, height, width = frame_shape
    if height % patch or width % patch:
        raise ValueError(
            f"frame height and width must be multiples of the patch size {patch}, "
            f"not {height} x {width}"
        )
    return channels * patch * patch, height // patch, width // patch


def to_patches(frames: Tensor, patch: int) -> Tensor:
    """Patches [...,C*patch*patch,H/patch,W/patch] of frames [...,C,H,W]."""
    return F.pixel_unshuffle(frames, patch)


def from_patches(patches: Tensor, patch: int) -> Tensor:
    """Frames [...,C,H,W] of patches [...,C*patch*patch,H/patch,W/patch]."""
    return F.pixel_shuffle(patches, patch)
