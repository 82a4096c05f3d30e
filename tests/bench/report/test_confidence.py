"""The confidence in a table says what it rests on, what weakens it first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import records
from bench.report.confidence import Confidence, confidence
from bench.report.scores import SequenceScores
from bench.report.statistics.significance import paired
from bench.report.table import summary
from tests.bench.report.report_store import FakeStore, only_section

TUNED = {"recipe": "tuned", "recipe.trials": "5"}
LONG = {"train/steps": 2000.0}


def found_in(store: FakeStore) -> Confidence:
    section, scores = only_section(store), SequenceScores(store)
    pairs = paired(section, scores.of(section), scores.clusters(section))
    return confidence(section, summary(section), pairs)


def trained(
    folder: Path,
    seeds: int = 3,
    params: dict[str, str] = TUNED,
    metrics: dict[str, float] = LONG,
) -> FakeStore:
    """A baseline and two models of so many seeds."""
    store = FakeStore(folder)
    store.add("copy_last", 0.05, size="only", baseline=True, params=params)
    for seed in range(seeds):
        for model, mse in (("a", 0.02), ("b", 0.03)):
            store.add(model, mse + seed / 1000, seed=seed, params=params, metrics=metrics)
    return store


def test_nothing_weakens_a_tuned_study_of_three_seeds(tmp_path: Path) -> None:
    found = found_in(trained(tmp_path))
    assert found.level == "high"
    assert found.said == (
        "3 seeds; 20 sequences tested; 2,000 steps of training; no model marked \N{PILCROW SIGN};"
        " all tuned by 5 trials"
    )


@pytest.mark.parametrize(
    ("change", "level", "first"),
    [
        ({"seeds": 1}, "low", "1 seed, so chance is unknown"),
        ({"seeds": 2}, "medium", "only 2 seeds"),
        ({"params": {}}, "medium", "not tuned"),
        ({"metrics": {"train/steps": 400.0}}, "medium", "400 steps of training, fewer than 1,000"),
        ({"metrics": {"train/steps": 4.0}}, "low", "every trained model is marked"),
    ],
)
def test_what_weakens_it_comes_first(
    tmp_path: Path, change: dict[str, object], level: str, first: str
) -> None:
    found = found_in(trained(tmp_path, **change))  # type: ignore[arg-type]
    assert found.level == level
    assert found.reasons[0].startswith(first)


def test_few_persons_leave_little_of_it(tmp_path: Path) -> None:
    store = trained(tmp_path)
    for run in store.runs:
        path = store.folder / run.run_id / records.PER_FRAME_TABLE
        scores = pd.read_parquet(path)
        scores.assign(cluster=np.asarray(scores["sequence"]) % 9).to_parquet(path)
        run.tags[records.CLUSTER] = "person"
    found = found_in(store)
    assert found.level == "low"
    assert found.reasons[0] == "20 sequences of only 9 persons, fewer than 10, so no interval"


@pytest.mark.parametrize(
    ("lost", "level", "more"),
    [(1, "medium", ""), (2, "low", ", so no interval"), (3, "low", ", so no interval")],
)
def test_seeds_without_scores_leave_less_of_it(
    tmp_path: Path, lost: int, level: str, more: str
) -> None:
    store = trained(tmp_path)
    for run in [run for run in store.runs if run.params["model"] == "a"][:lost]:
        (store.folder / run.run_id / records.PER_FRAME_TABLE).unlink()
    found = found_in(store)
    assert found.level == level
    assert found.reasons[0] == f"scores by sequence of {3 - lost} of 3 seeds of a-small{more}"


def test_a_marked_model_and_one_without_a_result_are_counted(tmp_path: Path) -> None:
    store = trained(tmp_path)
    store.add("c", 0.04, params=TUNED, metrics={"train/steps": 4.0})
    store.add("d", None, status=records.Status.FAILED, params=TUNED)
    assert found_in(store).reasons[:2] == (
        "1 of 3 trained models marked \N{PILCROW SIGN}",
        "1 cell without a result",
    )
