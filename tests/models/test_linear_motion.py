from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.linear_motion import LinearMotion


def squares(*paths: tuple[float, int, int, int, int], frames: int, channels: int = 1) -> Tensor:
    """A clip [1,frames,channels,32,48]: squares of 6 pixels (grey, y, x, dy, dx) on black."""
    clip = torch.zeros(1, frames, channels, 32, 48)
    for grey, y, x, dy, dx in paths:
        for t in range(frames):
            top, left = y + t * dy, x + t * dx
            clip[0, t, :, max(0, top) : top + 6, max(0, left) : left + 6] = grey
    return clip


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (2, 1), (-1, 3), (4, -4)])
def test_a_square_moves_on(dy: int, dx: int) -> None:
    clip = squares((0.8, 13, 21, dy, dx), frames=5, channels=3)
    model = LinearMotion((3, 32, 48))
    torch.testing.assert_close(model(clip[:, :2], 3), clip[:, 2:])


def test_two_squares_move_each_on_its_own_and_the_brighter_covers_the_other() -> None:
    paths = (0.5, 4, 4, 2, 3), (1.0, 4, 40, 2, -3)
    clip = squares(*paths, frames=8)
    torch.testing.assert_close(LinearMotion((1, 32, 48))(clip[:, :2], 6), clip[:, 2:])


def test_clips_of_a_batch_move_on_their_own() -> None:
    one, other = (squares((1.0, 13, 21, *v), frames=4) for v in ((1, 2), (-3, 0)))
    clip = torch.cat((one, other))
    torch.testing.assert_close(LinearMotion((1, 32, 48))(clip[:, :2], 2), clip[:, 2:])


def test_what_leaves_the_frame_is_gone() -> None:
    clip = squares((1.0, 13, 38, 0, 4), frames=6)
    prediction = LinearMotion((1, 32, 48))(clip[:, :2], 4)
    torch.testing.assert_close(prediction, clip[:, 2:])
    assert not prediction[0, -1].any()


def test_a_dark_square_moves_over_a_bright_ground() -> None:
    clip = 1 - squares((1.0, 13, 21, 1, 2), frames=5)
    torch.testing.assert_close(LinearMotion((1, 32, 48))(clip[:, :2], 3), clip[:, 2:])


def test_a_place_that_nothing_comes_to_takes_the_mean_around_it() -> None:
    frames = torch.full((1, 1, 1, 9, 9), 0.6)
    frames[..., 4, 4] = -1.0
    torch.testing.assert_close(
        LinearMotion((1, 9, 9), block=3).filled(frames), torch.full((1, 1, 1, 9, 9), 0.6)
    )


def test_one_frame_of_context_stands_still() -> None:
    context = torch.rand(2, 1, 3, 16, 20)
    prediction = LinearMotion((3, 16, 20))(context, 4)
    assert torch.equal(prediction, context.expand(2, 4, 3, 16, 20))


def test_noise_stays_within_the_range_of_frames() -> None:
    prediction = LinearMotion((1, 32, 32))(torch.rand(2, 5, 1, 32, 32), 6)
    assert prediction.min() >= 0
    assert prediction.max() <= 1
