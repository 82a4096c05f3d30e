"""Quality against the budget, and the sentences beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import records
from bench.report import table
from bench.report.cells import cell_table
from bench.report.plots.canvas import styles
from bench.report.plots.ladders import ladders
from bench.report.plots.sweeps import Sweep
from bench.report.scores import SequenceScores
from bench.report.section import headings, sections
from tests.bench.report.report_store import FakeStore


def ladders_of(store: FakeStore) -> list[Sweep]:
    cells = cell_table(store, "mnist")
    parts = [(section, table.summary(section)) for section in sections(cells)]
    return ladders(parts, SequenceScores(store), styles(cells))


def climb(store: FakeStore, model: str, *rungs: tuple[str, float], seeds: int = 3) -> None:
    """Cells of `model` under budgets, each with its MSE."""
    for budget, mse in rungs:
        for seed in range(seeds):
            store.add(model, mse * (1 + seed / 1000), seed=seed, params={"budget": budget})


def test_models_that_change_places_are_named_with_their_intervals(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    store.add("copy_last", 0.05, size="only", baseline=True)
    climb(store, "convlstm", ("1e+13 flops", 0.040), ("3e+13 flops", 0.038))
    climb(store, "maxvit", ("1e+13 flops", 0.060), ("3e+13 flops", 0.030))
    (ladder,) = ladders_of(store)
    assert ladder.title == "moving_mnist, small models by training"
    beating, overtaking, baseline, *_ = ladder.notes
    assert beating == "MSE: at 10 TFLOPs convlstm-small surely beats every baseline."
    assert overtaking.startswith(
        "maxvit-small overtakes convlstm-small on MSE between 10 TFLOPs (convlstm-small 33 "
    )
    assert "95 % interval" in overtaking
    assert "and 30 TFLOPs (maxvit-small 21.1 " in overtaking
    assert baseline.startswith("maxvit-small overtakes copy_last on MSE")
    assert "TFLOPs" not in ladder.setting
    assert "SSIM: up to 30 TFLOPs no trained model surely beats every baseline." not in ladder.notes
    assert not [note for note in ladder.notes if note.startswith("skill")]
    (quality,) = ladder.plots[0]
    assert all(f">{budget}<" in quality.svg for budget in ("10 TFLOPs", "30 TFLOPs"))


@pytest.mark.usefixtures("undrawn")
def test_what_is_not_sure_is_not_said(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    store.add("copy_last", 0.03, size="only", baseline=True)
    climb(store, "convlstm", ("1e+13 flops", 0.040), ("3e+13 flops", 0.038))
    climb(store, "maxvit", ("1e+13 flops", 0.042), ("3e+13 flops", 0.039))
    (ladder,) = ladders_of(store)
    assert ladder.notes[0] == "MSE: up to 30 TFLOPs no trained model surely beats every baseline."
    assert "No two models surely change places on MSE." in ladder.notes


@pytest.mark.usefixtures("undrawn")
def test_with_one_seed_no_change_of_places_is_sure(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    climb(store, "convlstm", ("1e+13 flops", 0.040), ("3e+13 flops", 0.038), seeds=1)
    climb(store, "maxvit", ("1e+13 flops", 0.060), ("3e+13 flops", 0.030), seeds=1)
    (ladder,) = ladders_of(store)
    assert ladder.notes == (
        "No model has an interval, so no change of places is sure: run more seeds.",
    )


@pytest.mark.usefixtures("undrawn")
def test_marked_cells_change_no_places(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    climb(store, "convlstm", ("1e+13 flops", 0.040), ("3e+13 flops", 0.038))
    for budget, mse in (("1e+13 flops", 0.060), ("3e+13 flops", 0.030)):
        for seed in range(3):
            few = {records.TRAIN_STEPS: 20.0}
            store.add("maxvit", mse, seed=seed, params={"budget": budget}, metrics=few)
    (ladder,) = ladders_of(store)
    assert "No two models surely change places on MSE." in ladder.notes


def test_budgets_of_several_kinds_are_no_ladder(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    climb(store, "convlstm", ("1e+13 flops", 0.040), ("120 s", 0.038))
    assert ladders_of(store) == []


def test_rungs_stand_together_the_largest_first_and_say_their_budget(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    climb(store, "convlstm", ("3e+13 flops", 0.038), ("1e+14 flops", 0.030))
    store.add("convlstm", 0.2, params={"dataset": "taxibj"})
    climb(store, "convlstm", ("1e+13 flops", 0.040))
    found = sections(cell_table(store, "mnist"))
    assert [section.dataset for section in found] == [*["moving_mnist"] * 3, "taxibj"]
    assert headings(found) == [
        "moving_mnist, small models, 100 TFLOPs",
        "moving_mnist, small models, 30 TFLOPs",
        "moving_mnist, small models, 10 TFLOPs",
        "taxibj, small models",
    ]


def test_a_baseline_far_from_the_models_is_named_and_not_drawn(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    store.add("mean_frame", 0.042, size="only", baseline=True)
    store.add("copy_last", 0.09, size="only", baseline=True)
    climb(store, "convlstm", ("1e+13 flops", 0.040), ("3e+13 flops", 0.036))
    (ladder,) = ladders_of(store)
    (quality,) = ladder.plots[0]
    assert quality.title == "MSE against training (FLOPs); copy_last is beyond, at 0.09000"
    assert "mean_frame" in quality.svg
    assert "copy_last" not in quality.svg
