"""Stochastic Moving MNIST: velocities change at walls only, and there at random."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datasets.contract import HeldOutName
from datasets.stochastic_moving_mnist import StochasticMovingMNIST, stochastic_walks

FRAMES = 40
seeds = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def on_official_digits(official_files: list) -> StochasticMovingMNIST:
    return StochasticMovingMNIST()


def _drawn(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Starts, steps and turns of `count` clips."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randint(32, (count, 2, 2), generator=generator),
        torch.randint(-4, 5, (count, 2, 2), generator=generator),
        torch.randint(36, (count, 2, FRAMES, 2), generator=generator),
    )


def _published_walk(
    start: list[int], step: list[int], turns: Iterator[list[int]]
) -> list[list[int]]:
    """The published generator's loop, its random numbers those of the frame's turn."""
    (y, x), (dy, dx), path = start, step, []
    for turn in turns:
        along_y, along_x = (number // 4 - 4 for number in turn)
        pace_y, pace_x = (number % 4 + 1 for number in turn)
        if y < 0:
            y, dy, dx = 0, pace_y, along_x
        elif y >= 64 - 32:
            y, dy, dx = 64 - 32 - 1, -pace_y, along_x
        if x < 0:
            x, dx, dy = 0, pace_x, along_y
        elif x >= 64 - 32:
            x, dx, dy = 64 - 32 - 1, -pace_x, along_y
        path.append([y, x])
        y, x = y + dy, x + dx
    return path


@given(seeds)
def test_digits_walk_as_published(seed: int) -> None:
    start, step, turns = _drawn(seed, 1)
    path = stochastic_walks(start, step, turns)[0].tolist()
    for digit in range(2):
        one = (each[0, digit].tolist() for each in (start, step, turns))
        assert path[digit] == _published_walk(*one)


def test_velocities_change_at_walls_only() -> None:
    path = stochastic_walks(*_drawn(0, 200))
    assert path.min() >= 0
    assert path.max() <= 31
    moved = path.diff(dim=2)
    assert moved.abs().max() == 4
    at_wall = ((path == 0) | (path == 31)).any(-1)
    turned = (moved[:, :, 1:] != moved[:, :, :-1]).any(-1)
    # A digit that meets a wall is shown at it: it turns there, or was stopped short of its step.
    assert not (turned & ~at_wall[:, :, 1:-1] & ~at_wall[:, :, 2:]).any()
    assert turned.any()


def test_a_digit_leaves_a_wall_at_any_pace_in_any_direction() -> None:
    count = 20_000
    start, step = torch.tensor([0, 16]), torch.tensor([-1, 3])
    turns = torch.randint(36, (count, 1, 3, 2), generator=torch.Generator().manual_seed(0))
    path = stochastic_walks(start.expand(count, 1, 2), step.expand(count, 1, 2), turns)
    away, along = (path[:, 0, 2] - path[:, 0, 1]).unbind(-1)
    for steps, values in ((away, range(1, 5)), (along, range(-4, 5))):
        shares = torch.stack([(steps == value).float().mean() for value in values])
        torch.testing.assert_close(
            shares, torch.full_like(shares, 1 / len(values)), atol=0.015, rtol=0
        )


@pytest.mark.usefixtures("on_substitute")
def test_training_and_held_out_clips_are_of_one_distribution() -> None:
    dataset = StochasticMovingMNIST(1, 5)
    drawn = dataset.train_clips(2_000, torch.Generator().manual_seed(0))
    held_out = dataset.held_out("test")[:2_000]
    shown = [(clips[:, :, 0] > 0).float().mean(0) for clips in (drawn, held_out)]
    torch.testing.assert_close(*shown, atol=0.08, rtol=0)


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("validation", "2adf1b7b1e2bc82503e274d69ef341d0"),
        ("test", "c457deab74182688874d1696b1a92bf6"),
    ],
)
def test_held_out_pixels_are_the_same_everywhere(
    on_official_digits: StochasticMovingMNIST, split: HeldOutName, digest: str
) -> None:
    assert len(on_official_digits.held_out(split)) == 10_000
    assert on_official_digits.digest(split, 1_000) == digest


@pytest.mark.usefixtures("on_substitute")
def test_a_longer_horizon_continues_the_held_out_clips() -> None:
    short, long = (StochasticMovingMNIST(5, horizon).held_out("test")[5:9] for horizon in (10, 30))
    assert long.shape == (4, 35, 1, 64, 64)
    assert torch.equal(long[:, :15], short)
