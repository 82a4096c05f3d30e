"""scores.parquet: what a reader recomputes the intervals from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench import report
from bench.records import Status
from bench.report.scores import SequenceScores
from bench.report.statistics.clusters import Clusters
from bench.report.statistics.jackknife import RELATIVE, Pairs
from bench.report.statistics.significance import paired
from tests.bench.report.report_store import FakeStore, only_section


def test_an_interval_can_be_recomputed_from_the_file(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    store.add("copy_last", 0.05, size="only", baseline=True)
    for seed in range(3):
        store.add("convlstm", 0.040 + seed / 1000, seed=seed)
        store.add("maxvit", 0.045 - seed / 1000, seed=seed)
    page = report.build(store, "mnist", tmp_path / "out")  # type: ignore[arg-type]
    shipped = pd.read_parquet(page.with_name("scores.parquet"))
    by_cell = shipped.pivot(index="sequence", columns=["label", "seed"], values="mse")
    clusters = shipped.groupby("sequence")["cluster"].first().to_numpy()
    again = Pairs(
        by_cell, RELATIVE, clusters=Clusters(clusters), fixed={"copy_last"}, simultaneous=True
    )
    section, scores = only_section(store), SequenceScores(store)  # type: ignore[arg-type]
    pairs = paired(section, scores.of(section), scores.clusters(section))
    assert pairs is not None
    for other in ("maxvit-small", "copy_last"):
        ours, theirs = (its.difference("convlstm-small", other) for its in (again, pairs))
        assert (ours.value, ours.low, ours.high) == pytest.approx(
            (theirs.value, theirs.low, theirs.high), abs=1e-4
        )


def test_a_report_of_nothing_that_was_scored_has_an_empty_file(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    store.add("convlstm", None, status=Status.FAILED)
    page = report.build(store, "mnist", tmp_path / "out")  # type: ignore[arg-type]
    assert pd.read_parquet(page.with_name("scores.parquet")).empty
