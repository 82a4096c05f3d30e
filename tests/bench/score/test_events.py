"""Events that are hit, missed and falsely forecast, and the scores made of their counts."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.score.events import counts
from bench.score.frame_scores import FrameScorer, FrameScores
from bench.score.metric import ClipFacts
from bench.score.metrics import METRICS
from datasets.contract import Quantity, Spec

VIL = (16, 74, 133, 160, 181, 219)
LEVELS = Quantity("vertically integrated liquid", "levels", 0.0, 255.0)
NAMES = ("csi", "csi_pool4", "csi_pool16", "pod", "far", "hss")
EVENTS = [METRICS["prediction"][name] for name in ("mse", *NAMES)]


def radar(shape: tuple[int, ...], thresholds: tuple[float, ...] = VIL) -> ClipFacts:
    """What is known of a radar's clips [B,T,1,H,W]."""
    spec = Spec((1, *shape[3:]), 1, shape[1], quantities=(LEVELS,), thresholds=thresholds)  # type: ignore[arg-type]
    return ClipFacts(spec, shape[0])


def scores(output: Tensor, truth: Tensor, thresholds: tuple[float, ...] = VIL) -> FrameScores:
    scorer = FrameScorer(radar(truth.shape, thresholds), EVENTS)
    for part in torch.arange(len(truth)).split(2):
        scorer.add(output[part], truth[part], truth[part, :1], torch.ones(truth[part].shape[:2]))
    return scorer.scores({}, 1.0)


def storms(seed: int, shape: tuple[int, ...] = (3, 2, 1, 18, 33)) -> tuple[Tensor, Tensor]:
    """Predicted and true levels in [0,1], as whole bytes."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(shape, generator=generator) ** 3 * 300
    output = truth + 40 * torch.randn(shape, generator=generator)
    return output.round().clamp(0, 255) / 255, truth.round().clamp(0, 255) / 255


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**31))
def test_they_agree_with_scikit_learn(seed: int) -> None:
    output, truth = storms(seed)
    means = scores(output, truth).means()
    for name in NAMES:
        compute = METRICS["prediction"][name].outside.compute
        arrays = output.numpy(), truth.numpy(), truth.numpy()
        assert means[name] == pytest.approx(compute(*arrays, radar(truth.shape))), name


def test_a_level_is_at_least_a_threshold_from_that_level_on() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 1, 16, 16).float() / 255
    least = [level / 255 for level in VIL]
    found = counts(levels[:, :, 0], levels[:, :, 0], least)
    assert found[:, 0].tolist() == [256 - level for level in VIL]
    assert found[:, 3].tolist() == [*VIL]


def test_the_counts_are_those_of_single_pixels() -> None:
    output, truth = (x[:, :, 0] for x in storms(1))
    least = 74 / 255
    said, seen = ((x >= least).flatten().tolist() for x in (output, truth))
    pairs = [*zip(said, seen, strict=True)]
    (found,) = counts(output, truth, [least]).tolist()
    assert found == [pairs.count(p) for p in [(True, True), (False, True), (True, False)]] + [
        pairs.count((False, False))
    ]


@pytest.mark.parametrize("pool", [4, 16])
def test_pooled_counts_are_those_of_the_largest_value_of_each_square(pool: int) -> None:
    output, truth = (x[:, :, 0] for x in storms(2))
    squares = [
        [
            x[b, t, pool * i : pool * (i + 1), pool * j : pool * (j + 1)].max()
            for b, t, i, j in product(range(3), range(2), range(18 // pool), range(33 // pool))
        ]
        for x in (output, truth)
    ]
    ours, true = (torch.stack(x)[:, None, None] for x in squares)
    least = [level / 255 for level in VIL]
    assert torch.equal(counts(output, truth, least, pool), counts(ours, true, least))


def test_counts_are_summed_over_the_whole_set_before_any_ratio() -> None:
    truth = torch.zeros(4, 1, 1, 16, 16)
    truth[0], truth[1, ..., 0, 0] = 1, 1  # 257 events, one of them alone in its clip
    output = truth.clone()
    output[1] = 0
    found = scores(output, truth, (128,)).means()
    assert found["csi"] == found["pod"] == pytest.approx(256 / 257)
    assert found["far"] == 0
    assert found["csi_pool16"] == 0.5


def test_thresholds_that_no_true_pixel_reaches_say_nothing() -> None:
    truth = torch.full((2, 1, 1, 16, 16), 100 / 255)
    truth[0] = 0
    found = scores(truth, truth).means()
    assert {name: found[name] for name in NAMES} == dict.fromkeys(NAMES, 1.0) | {"far": 0.0}
    nothing = scores(truth * 0.1, truth * 0.1)
    assert nothing.not_measured == dict.fromkeys(
        NAMES, "no pixel of these clips reaches a threshold"
    )


def test_never_to_forecast_an_event_is_worst_of_all() -> None:
    _, truth = storms(3)
    found = scores(torch.zeros_like(truth), truth).means()
    assert {name: found[name] for name in NAMES} == dict.fromkeys(NAMES, 0.0) | {"far": 1.0}
    chance = scores(torch.ones_like(truth), truth).means()
    assert chance["pod"] == 1
    assert chance["hss"] == 0


def test_more_pixels_than_fit_32_bits_are_counted() -> None:
    metric = METRICS["prediction"]["hss"]
    assert metric.sums is not None
    table = torch.tensor([[3, 1, 2, 4]])
    assert counts(*torch.rand(2, 1, 4, 4), [0.5]).dtype is torch.int64
    assert metric.sums(table * 2**40) == pytest.approx(metric.sums(table))
    assert metric.sums(table) == pytest.approx(2 * (12 - 2) / (4 * 5 + 5 * 6))


def test_small_frames_have_no_large_squares_and_other_data_sets_no_such_figure() -> None:
    output, truth = storms(4, (2, 2, 1, 9, 9))
    found = scores(output, truth)
    assert found.not_measured == {"csi_pool16": "squares of 16 pixels need larger frames than 9x9"}
    assert {*found.means()} == {"mse", *NAMES} - {"csi_pool16"}
    assert {*found.frames} == {"sequence", "frame", "cluster", "mse"}
    plain = FrameScorer(ClipFacts(Spec((1, 9, 9), 1, 2), 2), EVENTS)
    plain.add(output, truth, truth[:, :1], torch.ones(2, 2))
    assert {*plain.scores({}, 1.0).means()} == {"mse"}
    assert plain.scores({}, 1.0).not_measured == {}


def test_the_batches_they_come_in_change_nothing() -> None:
    output, truth = storms(5, (5, 2, 1, 18, 18))
    whole = FrameScorer(radar(truth.shape), EVENTS)
    whole.add(output, truth, truth[:, :1], torch.ones(5, 2))
    np.testing.assert_equal(whole.scores({}, 1.0).whole, scores(output, truth).whole)
