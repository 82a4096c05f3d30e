"""Errors in the unit of what is measured, and of maps of the globe."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.score.frame_scores import FrameScorer, FrameScores
from bench.score.metric import ClipFacts
from bench.score.metrics import METRICS
from bench.score.physical import anomaly_correlation, area_weights
from datasets.contract import Quantity, Spec

KELVIN = Quantity("2 m temperature", "K", 200.0, 320.0)
WIND = Quantity("wind", "m/s", -50.0, 50.0)
NAMES = ("rmse", "rmse_by_area", "acc")


def facts(
    truth: Tensor, latitudes: tuple[float, ...] = (), climatology: Tensor | None = None
) -> ClipFacts:
    """What is known of clips that measure temperature first, and then wind."""
    _, horizon, channels, height, width = truth.shape
    spec = Spec(
        (channels, height, width),
        1,
        horizon,
        quantities=(KELVIN, WIND)[:channels],
        latitudes=latitudes,
    )
    return ClipFacts(spec, len(truth), climatology)


def scores(clips: ClipFacts, output: Tensor, truth: Tensor) -> FrameScores:
    scorer = FrameScorer(clips, [METRICS["prediction"][name] for name in ("mse", *NAMES)])
    for part in torch.arange(len(truth)).split(2):
        scorer.add(output[part], truth[part], truth[part, :1], torch.ones(truth[part].shape[:2]))
    return scorer.scores({}, 1.0)


def rows(count: int) -> tuple[float, ...]:
    return tuple(90 - 180 * (row + 0.5) / count for row in range(count))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2]), st.integers(0, 2**31))
def test_they_agree_with_scikit_learn_and_scipy(
    height: int, width: int, channels: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 2, channels, height, width)
    truth = torch.rand(shape, generator=generator)
    output = truth + 0.2 * torch.randn(shape, generator=generator)
    usual = torch.rand(shape[2:], generator=generator)
    for clips in (facts(truth), facts(truth, rows(height), usual)):
        found = scores(clips, output, truth).frames
        for name in {*NAMES} & {*found}:
            compute = METRICS["prediction"][name].outside.compute
            expected = compute(output.numpy(), truth.numpy(), truth.numpy(), clips)
            np.testing.assert_allclose(found[name], np.ravel(expected), rtol=1e-4, atol=1e-5)


def test_they_are_of_the_data_sets_that_measure_something() -> None:
    truth, usual = torch.rand(2, 2, 2, 4, 5), torch.rand(2, 4, 5)
    plain = ClipFacts(Spec((2, 4, 5), 1, 2), 2)
    known = {
        "video": plain,
        "radar": facts(truth),
        "globe": facts(truth, rows(4), usual),
        "globe of one day": facts(truth, rows(4)),
    }
    found = {name: scores(clips, truth, truth) for name, clips in known.items()}
    assert {name: {*of.means()} - {"mse"} for name, of in found.items()} == {
        "video": set(),
        "radar": {"rmse"},
        "globe": {"rmse_by_area", "acc"},
        "globe of one day": {"rmse_by_area"},
    }
    assert {name: {*of.not_measured} for name, of in found.items() if of.not_measured} == {
        "globe of one day": {"acc"}
    }


def test_an_error_of_so_many_kelvin_is_that_many_and_of_the_first_quantity_alone() -> None:
    truth = torch.full((1, 2, 2, 3, 4), 0.5)
    output = truth.clone()
    output[:, 0, 0] += 2 / 120
    output[:, 1, 0] -= 6 / 120
    output[:, :, 1] = 0
    found = scores(facts(truth), output, truth)
    assert found.horizon()["rmse"].tolist() == pytest.approx([2, 6], rel=1e-5)
    assert found.means()["rmse"] == pytest.approx(4, rel=1e-5)  # not the root of (4 + 36) / 2


def test_a_row_counts_by_its_area() -> None:
    latitudes = (60.0, 0.0, -60.0)  # cosines 1/2, 1, 1/2
    np.testing.assert_allclose(
        area_weights(latitudes, torch.device("cpu"))[:, 0], [0.75, 1.5, 0.75], rtol=1e-6
    )
    truth = torch.full((1, 3, 1, 3, 4), 0.5)
    output = truth.clone()
    for row in range(3):
        output[0, row, 0, row] += 12 / 120
    found = scores(facts(truth, latitudes), output, truth).horizon()["rmse_by_area"]
    assert found.tolist() == pytest.approx([12 * (w / 4) ** 0.5 for w in (1, 2, 1)], rel=1e-5)


def test_the_anomaly_correlation_asks_for_the_pattern_and_not_for_its_strength() -> None:
    usual = torch.rand(6, 8)
    anomaly = 0.1 * torch.randn(6, 8)
    weights = area_weights(rows(6), torch.device("cpu"))

    def acc(prediction: Tensor) -> float:
        return float(anomaly_correlation(prediction, usual + anomaly, usual, weights))

    assert acc(usual + anomaly) == pytest.approx(1)
    assert acc(usual + anomaly / 2) == pytest.approx(1, abs=1e-5)
    assert acc(usual - anomaly) == pytest.approx(-1, abs=1e-5)
    assert acc(usual) == 0
    assert np.isnan(acc(torch.full((6, 8), torch.nan)))
