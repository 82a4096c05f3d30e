"""Skill over families and seeds, against SciPy and plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, trim_mean

from bench.report.statistics.skills import Skills, family, interquartile_mean

scores = st.floats(-2, 1, width=32)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("moving_mnist", "moving_mnist"),
        ("moving_mnist(horizon=30)", "moving_mnist"),
        ("moving_mnist/long(context_frames=100)", "moving_mnist"),
        ("frames(name='a/b')", "frames"),
        ("", ""),
    ],
)
def test_the_family_is_the_name_before_variants_and_options(dataset: str, expected: str) -> None:
    assert family(dataset) == expected


@settings(max_examples=40)
@given(st.integers(1, 6), st.data())
def test_the_interquartile_mean_is_scipys_where_quarters_are_whole(
    quarter: int, data: st.DataObject
) -> None:
    values = np.array(data.draw(st.lists(scores, min_size=4 * quarter, max_size=4 * quarter)))
    found = interquartile_mean(values[None], np.full(len(values), 1 / len(values)))
    assert found[0] == pytest.approx(trim_mean(values, 0.25), abs=1e-9)


@settings(max_examples=25)
@given(st.lists(scores, min_size=1, max_size=5), st.lists(scores, min_size=1, max_size=5))
def test_the_probability_of_improvement_is_the_mann_whitney_statistic(
    first: list[float], second: list[float]
) -> None:
    ours, theirs = Skills([np.array(first)]), Skills([np.array(second)])
    expected = mannwhitneyu(first, second).statistic / len(first) / len(second)
    assert ours.improvement(theirs).value == pytest.approx(expected)
    turned = theirs.improvement(ours).value
    assert ours.improvement(theirs).value + turned == pytest.approx(1)


@settings(max_examples=25)
@given(st.lists(st.lists(scores, min_size=1, max_size=4), min_size=1, max_size=5))
def test_figures_of_any_seeds_lie_within_the_scores(families: list[list[float]]) -> None:
    skills = Skills([np.array(seeds) for seeds in families])
    low, high = skills.values.min() - 1e-9, skills.values.max() + 1e-9
    estimate = skills.iqm
    assert low <= estimate.value <= high
    if skills.has_interval:
        assert low <= estimate.low <= estimate.high <= high
    else:
        assert np.isnan(estimate.low)
    share, band = skills.profile(np.array([low - 1, high + 1]))
    assert share.tolist() == pytest.approx([1, 0])
    assert (band is not None) == skills.has_interval


def test_families_weigh_alike_however_many_seeds_they_have() -> None:
    skills = Skills([np.zeros(1), np.ones(9)])
    assert skills.iqm.value == pytest.approx(0.5)
    assert skills.profile(np.array([0.5]))[0].tolist() == pytest.approx([0.5])


def test_the_interval_covers_another_draw_of_seeds() -> None:
    random, true = np.random.default_rng(0), np.linspace(0.2, 0.7, 6)
    inside = 0
    for _ in range(200):
        estimate = Skills([random.normal(mean, 0.05, 5) for mean in true]).iqm
        inside += estimate.low <= 0.45 <= estimate.high
    assert inside >= 170  # the percentile bootstrap of five seeds falls short of 95 %
