"""Noisy Moving MNIST: noise as it is described, on the context alone, in every split."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.check.dataset import CHECKS
from datasets.contract import HeldOutName
from datasets.moving_mnist import STEP, MovingMNIST, trajectories
from datasets.moving_mnist_noisy import Kind, NoisyMovingMNIST

CONTEXT, HORIZON = 10, 5
KINDS: tuple[Kind, ...] = ("missing", "perceptual", "dynamic")


@pytest.fixture(scope="module")
def on_official_digits(official_files: list) -> dict[Kind, NoisyMovingMNIST]:
    return {kind: NoisyMovingMNIST(kind) for kind in KINDS}


@pytest.mark.usefixtures("on_substitute")
@pytest.mark.parametrize("promise", CHECKS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps(kind: Kind, promise: str) -> None:
    CHECKS[promise](NoisyMovingMNIST(kind))


def _pairs(kind: Kind, count: int = 200) -> list[tuple[Tensor, Tensor]]:
    """Clean and noisy clips of training, validation and test."""
    clean, noisy = MovingMNIST(CONTEXT, HORIZON), NoisyMovingMNIST(kind, CONTEXT, HORIZON)
    trained = [it.train_clips(count, torch.Generator().manual_seed(0)) for it in (clean, noisy)]
    held_out = [
        [it.held_out(split)[50 : 50 + count] for it in (clean, noisy)]
        for split in ("validation", "test")
    ]
    return [(a[:, :, 0], b[:, :, 0]) for a, b in (trained, *held_out)]


@pytest.mark.usefixtures("on_substitute")
@pytest.mark.parametrize("kind", ["missing", "perceptual"])
def test_what_is_to_be_predicted_is_clean(kind: Kind) -> None:
    for clean, noisy in _pairs(kind):
        assert torch.equal(clean[:, CONTEXT:], noisy[:, CONTEXT:])
        changed = (clean != noisy).flatten(2).any(-1)[:, :CONTEXT]
        assert changed.any()
        hidden = noisy[:, :CONTEXT][clean[:, :CONTEXT] != noisy[:, :CONTEXT]]
        assert not hidden.any()


@pytest.mark.usefixtures("on_substitute")
def test_a_fifth_of_the_given_frames_is_missing_in_every_split() -> None:
    for clean, noisy in _pairs("missing", 1_000):
        black = noisy[:, :CONTEXT].flatten(2).amax(-1) == 0
        assert float(black.float().mean()) == pytest.approx(0.2, abs=0.02)
        assert torch.equal(noisy[:, :CONTEXT][~black], clean[:, :CONTEXT][~black])


def test_a_square_anywhere_is_black_in_each_given_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    white = torch.full((1, 64, 64), 255, dtype=torch.uint8)
    monkeypatch.setattr(
        "datasets.moving_mnist_noisy.render",
        lambda images, corners: white.repeat(*corners.shape[::2], 1, 1, 1)[:, : corners.shape[2]],
    )
    for _, noisy in _pairs("perceptual"):
        black = noisy[:, :CONTEXT] == 0
        assert (black.flatten(2).sum(-1) == 24 * 24).all()
        for axis in (2, 3):
            first = black.any(axis).int().argmax(-1)
            assert first.min() == 0
            assert first.max() == 64 - 24 - 1
            assert float(first.double().mean()) == pytest.approx(19.5, abs=1)
            assert (black.any(axis).sum(-1) == 24).all()
        assert (noisy[:, CONTEXT:] == 255).all()


def test_jolts_move_digits_while_they_are_given_and_not_after() -> None:
    count = 2_000
    generator = torch.Generator().manual_seed(0)
    start = torch.full((count, 2, 2), 0.5, dtype=torch.float64)
    angle = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 6.28
    jitter = 0.2 * STEP * torch.randn(count, 2, 3, 2, generator=generator, dtype=torch.float64)
    steady, jolted = (trajectories(start, angle, 6, noise) for noise in (None, jitter))
    inside = ((steady % 36 != 0) & (jolted % 36 != 0)).all(-1).all(-1)
    moved = (jolted.diff(dim=2) - steady.diff(dim=2))[inside]
    assert float(moved[:, 2:].abs().max()) <= 1  # pixels, by rounding alone
    assert float(moved[:, :2].abs().max()) > 2


@pytest.mark.usefixtures("on_substitute")
def test_given_steps_are_as_uneven_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standard deviation of 0.2 of a step in the steps that are given, none in the others."""
    seen: list[Tensor] = []

    def watched(*motion: Tensor) -> Tensor:
        seen.append(motion[-1])
        return trajectories(*motion)

    monkeypatch.setattr("datasets.moving_mnist_noisy.trajectories", watched)
    dataset = NoisyMovingMNIST("dynamic", CONTEXT, HORIZON)
    dataset.train_clips(500, torch.Generator().manual_seed(0))
    dataset.held_out("test")[:500]
    for jitter in seen:
        assert jitter.shape == (500, 2, CONTEXT, 2)
        assert float(jitter.mean()) == pytest.approx(0, abs=0.001)
        assert float(jitter.std()) == pytest.approx(0.02, rel=0.03)
        within = (jitter.abs() < 0.02).double().mean()
        assert float(within) == pytest.approx(0.683, abs=0.02)
    assert len(seen) == 2


@pytest.mark.usefixtures("on_substitute")
@pytest.mark.parametrize("kind", KINDS)
def test_a_longer_horizon_continues_the_held_out_clips(kind: Kind) -> None:
    short, long = (
        NoisyMovingMNIST(kind, 10, horizon).held_out("test")[5:9] for horizon in (10, 30)
    )
    assert torch.equal(long[:, :20], short)


@pytest.mark.parametrize(
    ("kind", "split", "digest"),
    [
        ("missing", "validation", "0e51cbb1fe6d299ac7b61fe34cfc2108"),
        ("missing", "test", "2ff0c4ecab7b3bf8b350cbccc21a3a67"),
        ("perceptual", "validation", "73c160f6f9899986bca0cbef038e7037"),
        ("perceptual", "test", "c192e7598da9b33462e8dcd084ae332f"),
        ("dynamic", "validation", "e2b6b8df24d66d5d85a9213d8588cd33"),
        ("dynamic", "test", "766ab2eeeedd994a4c4fc165bc5e40f4"),
    ],
)
def test_held_out_pixels_are_the_same_everywhere(
    on_official_digits: dict[Kind, NoisyMovingMNIST], kind: Kind, split: HeldOutName, digest: str
) -> None:
    dataset = on_official_digits[kind]
    assert len(dataset.held_out(split)) == 10_000
    assert dataset.digest(split, 1_000) == digest
