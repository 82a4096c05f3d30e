from __future__ import annotations

import pytest
import torch

from models.layers.patches import from_patches, patched_shape, to_patches


def test_a_patch_becomes_the_channels_of_one_position() -> None:
    frame = torch.arange(2 * 6 * 8).view(1, 2, 6, 8)
    patches = to_patches(frame, 2)
    assert patches.shape == (1, *patched_shape((2, 6, 8), 2)) == (1, 8, 3, 4)
    assert torch.equal(patches[0, 4:, 1, 2], frame[0, 1, 2:4, 4:6].flatten())


def test_frames_come_back_from_their_patches() -> None:
    frames = torch.rand(2, 3, 1, 8, 12)
    assert torch.equal(from_patches(to_patches(frames, 4), 4), frames)


def test_a_frame_that_patches_do_not_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of the patch size 4, not 64 x 66"):
        patched_shape((1, 64, 66), 4)
