"""Pairs of models of synthetic tables whose true difference is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.report.statistics.clusters import Clusters
from bench.report.statistics.jackknife import POINTS, RELATIVE, Difference, Pairs, Scale
from tests.performance.coverage import coverage, false_calls

REPETITIONS = 400


def scores(**models: npt.NDArray[np.float64]) -> pd.DataFrame:
    """A table of scores from [N,seeds] by model."""
    return pd.DataFrame(
        {
            (label, seed): column
            for label, seeds in models.items()
            for seed, column in enumerate(seeds.T)
        }
    )


def pairs_of(
    table: pd.DataFrame, scale: Scale, sample: int = 0, clusters: Clusters | None = None
) -> Pairs:
    """The models of `table`; those with one column owe nothing to a seed."""
    counts = table.columns.get_level_values(0).value_counts()
    return Pairs(table, scale, sample, clusters=clusters, fixed=set(counts[counts == 1].index))


@pytest.mark.parametrize(
    ("seeds", "clusters", "design_effect"),
    [(1, 9, 7.0), (1, 42, 1.0), (2, 9, 2.4), (3, 2, 2.4), (3, 42, 7.0)],
)
def test_interval_covers_what_it_promises(seeds: int, clusters: int, design_effect: float) -> None:
    assert 0.92 < coverage(seeds, clusters, design_effect, REPETITIONS) < 0.995


def test_sequences_of_one_cluster_taken_for_independent_cover_too_little() -> None:
    assert coverage(1, 42, 7.0, REPETITIONS, ignore=True) < 0.75


@pytest.mark.parametrize(("models", "seeds", "clusters"), [(4, 1, 42), (4, 3, 9)])
def test_of_equal_models_none_is_called_better(models: int, seeds: int, clusters: int) -> None:
    """Each pair by itself is called so in 5 % of tables; some pair of many in more."""
    assert false_calls(models, seeds, clusters, 200) < 0.08
    assert false_calls(models, seeds, clusters, 200, simultaneous=False) > 0.1


@pytest.mark.parametrize("same_sequences", [True, False])
@pytest.mark.parametrize(
    ("sequences", "seeds", "spread"),
    [
        (100, 1, {"by_sequence": 0.2, "by_seed": 0.0, "by_both": 0.0}),
        (100, 3, {"by_sequence": 0.2, "by_seed": 0.05, "by_both": 0.1}),
        (100, 3, {"by_sequence": 0.02, "by_seed": 0.05, "by_both": 0.0}),
    ],
)
def test_interval_of_a_gain_covers_what_it_promises(
    sequences: int, seeds: int, spread: dict[str, float], same_sequences: bool
) -> None:
    """The ratio a/b is 0.9, and 20 % less of that where a gains on b."""
    random = np.random.default_rng(0)
    means = {"before": (0.9, 1.0), "after": (0.9 * 0.8 * 0.5, 0.5)}
    hard = random.gamma(4, 0.25, (REPETITIONS, sequences))
    tables = {}
    for when, of_models in means.items():
        if not same_sequences:
            hard = random.gamma(4, 0.25, (REPETITIONS, sequences))
        columns = {}
        for label, mean in zip("ab", of_models, strict=True):
            alone = random.standard_normal((REPETITIONS, sequences, 1))
            by_model = random.standard_normal((REPETITIONS, 1, seeds))
            rest = random.standard_normal((REPETITIONS, sequences, seeds))
            drawn = hard[..., None] + spread["by_sequence"] * alone + spread["by_seed"] * by_model
            drawn = mean * (drawn + spread["by_both"] * rest)
            columns |= {f"{label}{i}": drawn[i] for i in range(REPETITIONS)}
        tables[when] = scores(**columns)
    before = pairs_of(tables["before"], RELATIVE)
    after = pairs_of(tables["after"], RELATIVE, sample=0 if same_sequences else 1)
    gaps = [
        [it.mean(f"a{i}") - it.mean(f"b{i}") for it in (before, after)] for i in range(REPETITIONS)
    ]
    found = [(later - earlier).difference for earlier, later in gaps]
    assert 0.92 < np.mean([gain.low <= -20 <= gain.high for gain in found]) < 0.995
    assert np.mean([gain.value for gain in found]) == pytest.approx(-20, abs=1)


def test_one_model_in_two_tables_is_paired_only_where_the_sequences_are_the_same() -> None:
    random = np.random.default_rng(0)
    hard = random.gamma(1, 1, (200, 1))
    here = pairs_of(scores(a=hard), RELATIVE)
    alike, apart = (pairs_of(scores(a=1.1 * hard), RELATIVE, sample) for sample in (0, 1))
    paired = (alike.mean("a") - here.mean("a")).difference
    assert (paired.low, paired.value, paired.high) == pytest.approx((10, 10, 10))
    loose = (apart.mean("a") - here.mean("a")).difference
    assert loose.value == pytest.approx(10)
    assert loose.high - loose.low > 20


positive = st.floats(0.001, 1)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Scores in [0.001,1] of models `a` and `b`, of one to three seeds each."""
    sequences, own = draw(st.integers(2, 12)), st.integers(1, 3)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    mean = {label: draw(positive) for label in "ab"}
    return scores(
        **{label: mean[label] * random.uniform(0.1, 1, (sequences, draw(own))) for label in mean}
    )


@given(tables())
@settings(max_examples=20, deadline=None)
def test_a_pair_turned_round_says_the_same(table: pd.DataFrame) -> None:
    pairs = pairs_of(table, RELATIVE)
    one, other = pairs.difference("a", "b"), pairs.difference("b", "a")
    for here, there in ((one.value, other.value), (one.low, other.high), (one.high, other.low)):
        ratio, inverse = 1 + here / 100, 1 + there / 100
        rounding = 1e-9 + 1e-11 * (ratio + inverse)  # of both to nine decimals of a per cent
        assert ratio * inverse == pytest.approx(1, abs=rounding)
    assert one.is_sure == other.is_sure
    pairs = pairs_of(table, POINTS)
    one, other = pairs.difference("a", "b"), pairs.difference("b", "a")
    turned = (-other.value, -other.high, -other.low)
    assert (one.value, one.low, one.high) == pytest.approx(turned, abs=1e-6)


@given(tables())
@settings(max_examples=20, deadline=None)
def test_the_pair_decides_alone(table: pd.DataFrame) -> None:
    more = pd.concat([scores(other=np.ones((len(table), 2))), table[["b"]], table[["a"]]], axis=1)
    for scale in (RELATIVE, POINTS):
        alone, among = pairs_of(table, scale), pairs_of(more, scale)
        here, there = alone.difference("a", "b"), among.difference("a", "b")
        assert (here.low, here.high) == pytest.approx((there.low, there.high), rel=1e-6, abs=1e-6)
        assert alone.difference("a", "b") == pairs_of(table, scale).difference("a", "b")


@given(tables())
@settings(max_examples=20, deadline=None)
def test_identical_models_cannot_be_told_apart(table: pd.DataFrame) -> None:
    one = table["a"].to_numpy()[:, :1]
    for scale in (RELATIVE, POINTS):
        same = pairs_of(scores(a=one, other=one**2, b=one.copy()), scale).difference("a", "b")
        assert same == Difference(0.0, 0.0, 0.0)
        assert not same.is_sure
    seeds = table["a"].to_numpy()
    assert not pairs_of(scores(a=seeds, b=seeds.copy()), RELATIVE).difference("a", "b").is_sure


def test_what_is_hard_for_both_cancels() -> None:
    random = np.random.default_rng(0)
    hard = random.gamma(1, 1, (200, 1))
    easier = 0.9 * hard + 0.001 * random.random((200, 1))
    paired = pairs_of(scores(a=easier, b=hard), RELATIVE).difference("a", "b")
    mixed = pairs_of(scores(a=easier, b=random.permutation(hard)), RELATIVE).difference("a", "b")
    assert mixed.value == pytest.approx(paired.value)
    assert paired.high - paired.low < 0.1
    assert mixed.high - mixed.low > 10


def test_seeds_that_disagree_widen_the_interval_as_welch_does() -> None:
    alike = np.ones((50, 1))
    a, b = alike * [0.20, 0.21, 0.22], alike * [0.30, 0.31, 0.32]
    found = pairs_of(scores(a=a, b=b), POINTS).difference("a", "b")
    reach = 2.7764 * 1 * np.sqrt(2 / 3)  # t(4) times the standard error, in points
    assert (found.low, found.high) == pytest.approx((-10 - reach, -10 + reach), rel=0.03)
    one = pairs_of(scores(a=a[:, :1], b=b[:, :1]), POINTS).difference("a", "b")
    assert (one.low, one.high) == pytest.approx((-10, -10))


def test_sequences_that_say_the_same_are_worth_one() -> None:
    random = np.random.default_rng(0)
    few = random.gamma(4, 0.25, (12, 2))
    many = scores(a=np.repeat(few[:, :1], 25, axis=0), b=np.repeat(few[:, 1:], 25, axis=0))
    twelve = Clusters(np.repeat(np.arange(12), 25))
    found = pairs_of(many, RELATIVE, clusters=twelve).difference("a", "b")
    once = pairs_of(scores(a=few[:, :1], b=few[:, 1:]), RELATIVE).difference("a", "b")
    assert (found.value, found.low, found.high) == pytest.approx((once.value, once.low, once.high))
    apart = pairs_of(many, RELATIVE).difference("a", "b")
    assert apart.value == pytest.approx(found.value)
    assert apart.high - apart.low < (found.high - found.low) / 3


def test_one_seed_of_a_trained_model_or_one_cluster_gives_no_interval() -> None:
    random = np.random.default_rng(0)
    table = scores(fixed=random.random((9, 1)), one=9 * random.random((9, 1)), two=np.eye(9, 2))
    pairs = Pairs(table, RELATIVE, fixed={"fixed"})
    assert [label for label in pairs.seeds if pairs.has_interval(label)] == ["fixed", "two"]
    together = pairs_of(table, RELATIVE, clusters=Clusters(np.zeros(9, np.int64)))
    for found in (
        pairs.difference("one", "fixed"),
        pairs.difference("two", "one"),
        together.difference("fixed", "two"),
    ):
        assert np.isfinite(found.value)
        assert not found.has_interval
        assert not found.is_sure


def test_perfect_models_are_alike() -> None:
    nothing = np.zeros((10, 2))
    pairs = pairs_of(scores(a=nothing, b=nothing.copy(), c=nothing + 0.1), RELATIVE)
    assert pairs.difference("a", "b") == Difference(0.0, 0.0, 0.0)
    assert pairs.difference("a", "c").high == pytest.approx(-100)


def test_of_fewer_clusters_than_asked_for_there_is_no_interval() -> None:
    table = scores(a=np.full((9, 2), 0.1), b=np.full((9, 2), 0.2))
    pairs = Pairs(table, RELATIVE, fewest=10)
    assert not pairs.has_interval("a")
    assert not pairs.difference("a", "b").has_interval  # though no cluster differs from another
    assert Pairs(table, RELATIVE, fewest=9).difference("a", "b").is_sure
