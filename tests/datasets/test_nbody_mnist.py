"""N-body MNIST: digits attract each other as published and are drawn where they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from datasets.contract import HeldOutName
from datasets.nbody_mnist import NBodyMNIST, attracted, canvases, halved, ink_boxes
from datasets.sources import digits


@pytest.fixture(scope="module")
def on_official_digits(official_files: list) -> NBodyMNIST:
    return NBodyMNIST()


def _drawn(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Starts, velocities and sizes of `count` clips, as they are published."""
    generator = torch.Generator().manual_seed(0)
    size = torch.randint(4, 21, (count, 3, 2), generator=generator).double()
    start = torch.rand(count, 3, 2, generator=generator, dtype=torch.float64) * (128 - size)
    velocity = torch.rand(count, 3, 2, generator=generator, dtype=torch.float64) * 4 - 2
    return start, velocity, size


def _published_corners(
    start: list[list[float]], velocity: list[list[float]], size: list[list[float]], frames: int
) -> list[list[list[float]]]:
    """The published loop: one body, one coordinate and one step at a time."""
    place, pace, shown = [[*one] for one in start], [[*one] for one in velocity], [start]
    for step in range(1, 5 * (frames - 1) + 1):
        before = [[*one] for one in place]
        for body, other in np.ndindex(3, 3):
            apart = [before[other][axis] - before[body][axis] for axis in (0, 1)]
            distance = math.sqrt(apart[0] ** 2 + apart[1] ** 2 + 10**2)
            for axis in (0, 1):
                pace[body][axis] += 0.05 * apart[axis] / distance
        for body, axis in np.ndindex(3, 2):
            pace[body][axis] = min(max(pace[body][axis], -2), 2)
            centre = place[body][axis] + pace[body][axis] + size[body][axis] / 2
            if not 10 <= centre <= 118:
                pace[body][axis] *= -1
                centre = 10 if centre < 10 else 118
            place[body][axis] = centre - size[body][axis] / 2
        if step % 5 == 0:
            shown.append([[*one] for one in place])
    return shown


def test_bodies_move_as_published() -> None:
    motion = _drawn(5)
    corners = attracted(*motion, 20)
    for clip in range(5):
        expected = _published_corners(*(each[clip].tolist() for each in motion), 20)
        torch.testing.assert_close(corners[clip].transpose(0, 1), torch.tensor(expected).double())


def test_centres_stay_ten_pixels_from_the_edge_and_no_body_is_too_fast() -> None:
    start, velocity, size = _drawn(200)
    corners = attracted(start, velocity, size, 40)
    centres = (corners + size[:, :, None] / 2)[:, :, 1:]
    assert centres.min() == 10
    assert centres.max() == 118
    assert float(corners[:, :, 1:].diff(dim=2).abs().max()) <= 5 * 2 + 1e-9


def test_forces_are_mutual_and_draw_bodies_together() -> None:
    """Far from edges and slow, three bodies at rest keep their mean place and approach it."""
    start = 40 + 40 * torch.rand(50, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    corners = attracted(start, torch.zeros_like(start), torch.full_like(start, 10), 3)
    mean = corners.mean(dim=1, keepdim=True)
    torch.testing.assert_close(mean[:, :, 2], mean[:, :, 0])
    spread = (corners - mean).square().sum((1, 3))
    assert (spread.diff(dim=1) < 0).all()


def test_images_are_drawn_between_pixels_and_cut_at_the_edge() -> None:
    images = torch.zeros(2, 3, 28, 28, dtype=torch.uint8)
    images[:, 0, 2:5, 3:5] = 200
    images[:, 1] = 100
    images[:, 2, 0, 0] = 50
    corners = torch.tensor([[[10, 20], [9.5, 20.25], [-1, 0]], [[127, 126.0], [300, 0], [0, -27]]])
    drawn = canvases(images, corners)
    assert drawn.shape == (2, 128, 128)
    expected = torch.zeros(2, 128, 128)
    # Half of the first row, and a quarter of the first column, is beneath the second image.
    expected[0, 10:37, 21:48] = 100
    expected[0, [9, 37], 21:48] = 50
    expected[0, 10:37, 20], expected[0, 10:37, 48] = 75, 25
    expected[0, [9, 37], 20], expected[0, [9, 37], 48] = 37.5, 12.5
    expected[0, 12:15, 23:25] = 200
    assert torch.equal(drawn, expected)


def test_a_place_is_rounded_to_a_32nd_of_a_pixel() -> None:
    images = torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)
    near, there, far = (canvases(images, torch.tensor([[[5 + k / 32, 5]]])) for k in (1.4, 1, 1.6))
    assert torch.equal(near, there)
    assert not torch.equal(far, there)


def test_canvases_are_halved_without_a_shift() -> None:
    frames = torch.zeros(1, 128, 128)
    frames[:, 40:60, 30:80] = 255
    small = halved(frames)
    assert small.shape == (1, 1, 64, 64)
    assert small.dtype == torch.uint8
    expected = frames[:, ::2, ::2]
    assert ((small[:, 0] > 127) == (expected > 127)).all()
    assert (halved(torch.full((1, 128, 128), 255.0)) == 255).all()


def test_the_box_of_the_ink_is_found() -> None:
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[0, 3, 5] = images[0, 20, 9] = 1
    images[1] = 255
    corner, size = ink_boxes(images)
    assert corner.tolist() == [[3, 5], [0, 0]]
    assert size.tolist() == [[18, 5], [28, 28]]


def test_starts_are_uniform_over_the_whole_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a digit with ink of 8 pixels in the middle of its image."""
    pool = np.zeros((3, 28, 28), np.uint8)
    pool[:, 10:18, 10:18] = 255
    monkeypatch.setattr(digits, "load", lambda: digits.Pools(pool, pool, pool))
    dataset = NBodyMNIST(1, 1)
    for clips in (
        dataset.train_clips(1_000, torch.Generator().manual_seed(0)),
        dataset.held_out("test")[:1_000],
    ):
        inked = clips[:, 0, 0] > 127
        shares = inked.float().mean(0)
        ends = (shares[:2].mean(), shares[-2:].mean(), shares[:, :2].mean(), shares[:, -2:].mean())
        assert all(0 < float(share) < 0.02 for share in ends)
        middle = shares[4:-4, 4:-4]
        assert float(middle.mean()) == pytest.approx(3 * 16 / 60**2, rel=0.2)
        assert inked.flatten(1).sum(1).float().mean() == pytest.approx(3 * 16, rel=0.05)


def test_every_split_shows_its_own_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = [np.full((3, 28, 28), ink, np.uint8) for ink in (60, 120, 180)]
    monkeypatch.setattr(digits, "load", lambda: digits.Pools(*pools))
    dataset = NBodyMNIST(2, 2)
    for ink, clips in (
        (60, dataset.train_clips(16, torch.Generator().manual_seed(0))),
        (120, dataset.held_out("validation")[:16]),
        (180, dataset.held_out("test")[:16]),
    ):
        within = clips[clips > 0].float()
        assert float(within.median()) == ink


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("validation", "cb00345e9bf1f39340069041f1e25453"),
        ("test", "31a35bdc70f589f519037c01c5f251ca"),
    ],
)
def test_held_out_pixels_are_the_same_everywhere(
    on_official_digits: NBodyMNIST, split: HeldOutName, digest: str
) -> None:
    assert len(on_official_digits.held_out(split)) == 1_000
    assert on_official_digits.digest(split, 100) == digest


@pytest.mark.usefixtures("on_substitute")
def test_a_longer_horizon_continues_the_held_out_clips() -> None:
    short, long = (NBodyMNIST(10, horizon).held_out("test")[5:9] for horizon in (10, 30))
    assert long.shape == (4, 40, 1, 64, 64)
    assert torch.equal(long[:, :20], short)
