"""Predictions that need no training, and what is kept of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.score import trivial
from bench.score.frame_scores import FrameScorer
from bench.score.metrics import METRICS
from bench.score.trivial import NAMES, of_held_out, scored
from bench.train.held_out import HeldOut
from tests.bench.score.plain import plain

CPU = torch.device("cpu")
SKILL = METRICS["prediction"]["skill"]


def clips(frames: int = 5, side: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (4, frames, 1, side, side), generator=generator).byte()


def best_of(clip: Tensor, context: int = 3) -> str:
    (name,) = scored(clip[None, :context], clip[None, context:]).names
    return name


def test_the_best_is_named_after_what_the_clip_does() -> None:
    generator = torch.Generator().manual_seed(1)
    still = torch.rand(1, 1, 16, 16, generator=generator)
    assert best_of(torch.zeros(5, 1, 16, 16)) == "black"
    noise = 0.1 * torch.randn(5, 1, 16, 16, generator=generator)
    assert best_of((still + noise).clamp(0, 1)) == "context_mean"
    turned = torch.stack([still[0].roll(5 * frame, -1) for frame in range(5)])
    assert (
        best_of(torch.cat((turned[:3], torch.full((2, 1, 16, 16), float(turned.mean())))))
        == "constant"
    )
    assert best_of(torch.cat((turned[:3], turned[2:3], turned[2:3]))) == "copy_last"
    ball = torch.zeros(5, 1, 24, 24)
    for frame in range(5):
        ball[frame, 0, 8:14, 2 + 3 * frame : 8 + 3 * frame] = 1
    assert best_of(ball) == "linear_motion"


@settings(max_examples=25)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 3), st.sampled_from([1, 2, 3]))
def test_clips_of_any_size_have_a_figure(
    height: int, width: int, context: int, channels: int
) -> None:
    frames = torch.rand(2, context + 2, channels, height, width)
    found = scored(frames[:, :context], frames[:, context:])
    assert found.errors.shape == (2, len(NAMES), 2)
    assert found.errors.isfinite().all()
    assert (found.mse.mean(1) <= found.errors.mean(2).amin(1) + 1e-7).all()
    scorer = FrameScorer(plain(frames[:, context:]))
    last = frames[:, context - 1 : context]
    scorer.add(frames[:, context:], frames[:, context:], last, found.mse)
    means = scorer.scores({}, 1.0).means()
    assert means["skill"] == 1
    assert means.get("sharpness", 1) == 1
    assert means.get("mse_changed", 0) == 0


def test_skill_is_a_ratio_of_means_so_that_a_still_clip_does_not_outweigh_all() -> None:
    truth = torch.zeros(2, 2, 1, 8, 8)
    trivial_mse = torch.tensor([[0.0, 0.0], [0.2, 0.4]])
    scorer = FrameScorer(plain(truth), [METRICS["prediction"]["mse"], SKILL])
    scorer.add(torch.full_like(truth, 0.1), truth, truth[:, :1], trivial_mse)
    scores = scorer.scores({}, 1.0)
    assert scores.means()["skill"] == pytest.approx(1 - 0.01 / 0.15)
    assert scores.horizon()["skill"].tolist() == pytest.approx([1 - 0.01 / 0.1, 1 - 0.01 / 0.2])


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def held(pixels: Tensor, batch_size: int = 3) -> HeldOut:
    return HeldOut(pixels, len(pixels), batch_size, CPU, lambda _: None)


def _refuse(*_: object) -> None:
    raise AssertionError("computed again")


def test_what_was_computed_is_kept_for_the_same_clips(
    caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = of_held_out(held(clips()), 3)
    frames = clips().float() / 255
    torch.testing.assert_close(first.errors, scored(frames[:, :3], frames[:, 3:]).errors)
    monkeypatch.setattr(trivial, "scored", _refuse)
    assert torch.equal(of_held_out(held(clips()), 3).errors, first.errors)
    changed = clips()
    changed[-1, -1, 0, 0, 0] ^= 1
    for other, context in ((changed, 3), (clips(), 2)):
        with pytest.raises(AssertionError, match="computed again"):
            of_held_out(held(other), context)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00v\x00"])
def test_a_damaged_file_is_computed_and_written_anew(caches: Path, content: bytes) -> None:
    whole = of_held_out(held(clips()), 3).errors
    (file,) = caches.rglob("*.npy")
    file.write_bytes(content)
    assert torch.equal(of_held_out(held(clips()), 3).errors, whole)
    np.testing.assert_array_equal(np.load(file), whole.numpy())


def test_a_folder_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert of_held_out(held(clips()), 3).errors.isfinite().all()
