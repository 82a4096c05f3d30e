"""How much of the true motion a prediction explains."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.score.frame_scores import FrameScorer, FrameScores
from bench.score.metrics import METRICS
from tests.bench.score.plain import plain


def moving(clips: int = 4, frames: int = 9) -> Tensor:
    """Smooth pictures that move to the right by two pixels a frame, [B,T,1,H,W]."""
    coarse = torch.rand(clips, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    picture = F.interpolate(coarse, (32, 32), mode="bilinear")
    return torch.stack([picture.roll(2 * frame, -1) for frame in range(frames)], 1)


def scores(output: Tensor, clips: Tensor) -> FrameScores:
    """Of predictions of all of `clips` but the first frame."""
    truth = clips[:, 1:]
    metrics = [METRICS["prediction"][name] for name in ("mse", "motion")]
    scorer = FrameScorer(plain(truth), metrics)
    scorer.add(output, truth, clips[:, :1], torch.ones(truth.shape[:2]))
    return scorer.scores({}, 1.0)


def motion(output: Tensor, clips: Tensor) -> float:
    return scores(output, clips).means()["motion"]


def test_all_of_it_is_1_and_a_picture_that_stands_still_explains_none() -> None:
    clips = moving()
    assert motion(clips[:, 1:], clips) == 1
    assert motion(clips[:, :1].expand_as(clips[:, 1:]), clips) == pytest.approx(0, abs=1e-6)
    frozen = scores(clips[:, :1].expand_as(clips[:, 1:]), clips).horizon()["motion"]
    assert frozen.tolist() == pytest.approx([0] * 8, abs=1e-6)


def test_half_of_each_change_leaves_a_quarter_of_its_square() -> None:
    clips = moving()
    changes = clips.diff(dim=1)
    output = clips[:, :1] + (changes / 2).cumsum(1)
    assert motion(output, clips) == pytest.approx(0.75, abs=1e-5)


def test_frames_out_of_order_are_worse_than_a_still_picture_and_a_blur_is_better() -> None:
    clips = moving()
    truth = clips[:, 1:]
    blurred = F.avg_pool2d(truth.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(truth)
    assert motion(truth[:, [3, 6, 0, 5, 2, 7, 1, 4]], clips) < 0
    assert motion(truth.flip(1), clips) < 0
    assert motion(blurred, clips) > 0.5


def test_of_two_errors_of_one_mse_the_one_that_flickers_is_worse() -> None:
    clips = moving() / 2 + 0.25
    truth = clips[:, 1:]
    sign = torch.tensor([1, -1]).repeat(4)[:, None, None, None]
    steady, flickering = truth + 0.05, truth + 0.05 * sign
    same = [scores(output, clips).means()["mse"] for output in (steady, flickering)]
    assert same[0] == pytest.approx(same[1], rel=1e-5)
    assert motion(steady, clips) > motion(flickering, clips)
    # Of T frames the steady error costs one change of 1, the other T - 1 more of 2 each.
    true = float(clips.diff(dim=1).square().mean())
    assert motion(steady, clips) == pytest.approx(1 - 0.05**2 / 8 / true, rel=1e-4)
    costs = (1 + 7 * 4) * 0.05**2 / 8
    assert motion(flickering, clips) == pytest.approx(1 - costs / true, rel=1e-4)
