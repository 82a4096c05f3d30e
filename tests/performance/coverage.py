"""Coverage of the report's intervals, and its false calls, by simulation: a Markdown page.

python tests/performance/coverage.py > results/reference/statistics.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.report.statistics.clusters import Clusters
from bench.report.statistics.jackknife import RELATIVE, Pairs

Floats = npt.NDArray[np.float64]

SEEDS = (1, 2, 3, 5)
CLUSTERS = (2, 9, 42, 1000)
DESIGN_EFFECTS = (1.0, 2.4, 7.0)
MODELS = (3, 10)
LEAST = 2  # sequences of a cluster
MEAN = {1.0: 4.0, 2.4: 8.0, 7.0: 16.0}
"""Sequences of a cluster, by design effect: the larger needs more of them."""
HARD, APART, BY_SEED, REST = 0.5, 0.3, 0.03, 0.1
"""Standard deviations of the logarithm of an error: of what is hard for all models, for one, of a
model's seeds, and of one seed on one sequence."""


def drawn(
    random: np.random.Generator, models: int, seeds: int, clusters: int, design_effect: float
) -> tuple[pd.DataFrame, Clusters]:
    """Log-normal errors of equal models, sequences in clusters of unequal sizes.

    Sizes are of a gamma distribution of shape 2, rounded: the largest is several times the
    smallest. Of each part of an error a share of the variance is the cluster's own, such that the
    variance of a mean is `design_effect` times that of as many independent sequences.
    """
    sizes = LEAST + random.poisson(random.gamma(2, (MEAN[design_effect] - LEAST) / 2, clusters))
    of = np.repeat(np.arange(clusters), sizes)
    share = min(0.95, (design_effect - 1) / ((sizes**2).sum() / sizes.sum() - 1))

    def part(deviation: float, *shape: int) -> Floats:
        alike = random.standard_normal((clusters, *shape))[of]
        alone = random.standard_normal((len(of), *shape))
        return deviation * (np.sqrt(share) * alike + np.sqrt(1 - share) * alone)

    of_model = part(HARD)[:, None] + part(APART, models)
    by_seed = random.normal(0, BY_SEED if seeds > 1 else 0, (models, seeds))
    errors = np.exp(of_model[..., None] + by_seed + part(REST, models, seeds))
    return pd.DataFrame(errors.reshape(len(of), -1), columns=_columns(models, seeds)), Clusters(of)


@cache
def _columns(models: int, seeds: int) -> pd.MultiIndex:
    return pd.MultiIndex.from_product([[*map(str, range(models))], range(seeds)])


def pairs_of(scores: pd.DataFrame, clusters: Clusters, *, simultaneous: bool = False) -> Pairs:
    """The models of a table; those of one seed owe nothing to it."""
    labels = scores.columns.get_level_values(0)
    fixed = labels if labels.is_unique else ()
    return Pairs(scores, RELATIVE, clusters=clusters, fixed=fixed, simultaneous=simultaneous)


def coverage(
    seeds: int, clusters: int, design_effect: float, repetitions: int, *, ignore: bool = False
) -> float:
    """The share of 95 % intervals that cover the true difference of two models, which is 0.

    `ignore` takes each sequence for a cluster of its own.
    """
    random, hits = np.random.default_rng(0), 0
    for _ in range(repetitions):
        scores, of = drawn(random, 2, seeds, clusters, design_effect)
        found = pairs_of(scores, Clusters.single(len(scores)) if ignore else of)
        difference = found.difference("0", "1")
        hits += difference.low <= 0 <= difference.high
    return hits / repetitions


def false_calls(
    models: int, seeds: int, clusters: int, repetitions: int, *, simultaneous: bool = True
) -> float:
    """The share of tables of equal models in which any pair is called different."""
    random, calls = np.random.default_rng(0), 0
    for _ in range(repetitions):
        pairs = pairs_of(*drawn(random, models, seeds, clusters, 2.4), simultaneous=simultaneous)
        calls += any(pairs.difference(*both).is_sure for both in combinations(pairs.seeds, 2))
    return calls / repetitions


def page(repetitions: int) -> Iterator[str]:
    """The page, line by line."""
    error = 1.96 * (0.05 * 0.95 / repetitions) ** 0.5
    yield "# Intervals and false calls, by simulation"
    yield ""
    yield f"Made by `python -m tests.performance.coverage --repetitions {repetitions}`: what the"
    yield "report's own code, `bench/report/statistics/jackknife.py`, says of errors whose truth"
    yield "is known. Errors are log-normal; sizes of clusters differ by several times; the design"
    yield "effect is the variance of a mean over that of as many independent sequences. One seed"
    yield "stands for models that owe nothing to a seed: trained ones with one seed get no"
    yield f"interval. Figures are of {repetitions:,} draws, {100 * error:.1f} points more or less."
    yield ""
    yield "## Coverage of 95 % intervals, in per cent"
    yield ""
    grid = [(f"{effect:g}", effect, False) for effect in DESIGN_EFFECTS]
    grid += [(f"{effect:g}, clusters ignored", effect, True) for effect in DESIGN_EFFECTS[1:]]
    yield from _head("seeds", "clusters", *(f"design effect {what}" for what, *_ in grid))
    for seeds in SEEDS:
        for clusters in CLUSTERS:
            shares = (
                coverage(seeds, clusters, effect, repetitions, ignore=ignore)
                for _, effect, ignore in grid
            )
            yield _row(seeds, clusters, shares)
    yield ""
    yield "## Tables of equal models in which any pair is called different, in per cent"
    yield ""
    yield "Design effect 2.4. Beside it: the same where each pair has an interval of its own."
    yield ""
    kinds = [(f"{many} models{how}", many, not how) for many in MODELS for how in ("", ", each")]
    yield from _head("seeds", "clusters", *(what for what, *_ in kinds))
    for seeds in SEEDS:
        for clusters in CLUSTERS:
            shares = (
                false_calls(many, seeds, clusters, repetitions, simultaneous=together)
                for _, many, together in kinds
            )
            yield _row(seeds, clusters, shares)


def _head(*names: str) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"


def _row(seeds: int, clusters: int, shares: Iterable[float]) -> str:
    figures = " | ".join(f"{100 * share:.1f}" for share in shares)
    return f"| {seeds} | {clusters:,} | {figures} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    for line in page(parser.parse_args().repetitions):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
