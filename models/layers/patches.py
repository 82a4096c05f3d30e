"""Frames as smaller maps of more channels, and back."""

from models.layers.rollout import from_patches, patched_shape, to_patches

__all__ = ["from_patches", "patched_shape", "to_patches"]
