"""What it took to reach a target, of curves whose points are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import records
from bench.report import table
from bench.report.curves import Curves
from bench.report.statistics.target import Target, to_target
from tests.bench.report.report_store import FakeStore, only_section

VALIDATION = records.VALIDATION["prediction"].key
DECLARED = {"target": "0.03", "evaluations": "4"}


def add(store: FakeStore, model: str, seed: int, values: list[float]) -> None:
    """A seed with these validations after each 10 s, 100 steps and 800 samples."""
    spent = {"train/steps": 400.0, "train/samples": 3200.0, "train/flops": 4e12}
    run_id = store.add(model, 0.02, seed=seed, params=DECLARED, metrics=spent)
    steps = [100 * (place + 1) for place in range(len(values))]
    store.curves[run_id, VALIDATION] = list(zip(steps, values, strict=True))
    store.curves[run_id, records.TRAIN_SECONDS] = [(step, step / 10) for step in steps]


def of(store: FakeStore) -> Target | None:
    section = only_section(store)
    return to_target(section, table.summary(section), Curves(store).of(section))


@pytest.mark.parametrize(
    ("curves", "expected"),
    [
        ([[0.05, 0.03, 0.02, 0.01]], ("1 of 1", "20.0", "1.6 k", "2 T")),
        ([[0.05, 0.02, 0.05, 0.05]], ("1 of 1", "20.0", "1.6 k", "2 T")),
        ([[0.05, 0.05, 0.05, 0.031]], ("0 of 1", "> 40.0", "> 3.2 k", "> 4 T")),
        ([[0.01] * 4, [0.05, 0.05, 0.01, 0.01], [0.05] * 4], ("2 of 3", "30.0", "2.4 k", "3 T")),
        ([[0.01] * 4, [0.05] * 4, [0.05] * 3], ("1 of 3", "> 30.0", "> 2.4 k", "> 3 T")),
        ([[0.01] * 4, [0.05] * 4], ("1 of 2", "10.0", "800", "1 T")),
    ],
)
def test_seeds_that_do_not_reach_it_count_as_later_than_all_that_do(
    tmp_path: Path, curves: list[list[float]], expected: tuple[str, ...]
) -> None:
    store = FakeStore(tmp_path)
    for seed, values in enumerate(curves):
        add(store, "convlstm", seed, values)
    found = of(store)
    assert found is not None
    (row,) = found.table.rows
    assert tuple(entry.text for entry in row.entries) == expected
    assert "0.03" in found.title
    assert "Validations: 4 a cell" in found.legend


@pytest.mark.parametrize(
    ("curves", "expected"),
    [
        ([[0.01] * 4], ("1 of 3", "—", "—", "—")),
        ([[0.01] * 4, [0.05] * 4], ("1 of 4", "> 40.0", "> 3.2 k", "> 4 T")),
        ([[0.01] * 4, [0.05, 0.01, 0.01, 0.01]], ("2 of 4", "20.0", "1.6 k", "2 T")),
    ],
)
def test_seeds_that_diverged_never_reach_it(
    tmp_path: Path, curves: list[list[float]], expected: tuple[str, ...]
) -> None:
    store = FakeStore(tmp_path)
    for seed, values in enumerate(curves):
        add(store, "convlstm", seed, values)
    for seed in (7, 8):
        diverged = records.Status.DIVERGED
        store.add("convlstm", None, seed=seed, status=diverged, params=DECLARED)
    store.add("other", None, status=diverged, params=DECLARED)
    found = of(store)
    assert found is not None
    (row,) = found.table.rows
    assert tuple(entry.text for entry in row.entries) == expected
    assert "diverged" in found.legend


def test_without_a_target_there_is_no_table(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    add(store, "convlstm", 0, [0.01])
    store.runs[-1].params["target"] = "None"
    assert of(store) is None
    del store.runs[-1].params["target"]
    assert of(store) is None


def test_counts_that_an_old_record_lacks_are_unknown(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    add(store, "convlstm", 0, [0.01])
    for key in ("train/steps", "train/samples", "train/flops"):
        del store.runs[-1].metrics[key]
    found = of(store)
    assert found is not None
    assert [entry.text for entry in found.table.rows[0].entries] == ["1 of 1", "10.0", "—", "—"]
