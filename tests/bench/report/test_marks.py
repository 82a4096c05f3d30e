"""Cells that trained too briefly or under disturbed conditions are shown, and decide nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import records
from bench.report import table
from bench.report.cells import cell_table
from bench.report.columns import COLUMNS
from bench.report.curves import Curves
from bench.report.marks import DISTURBED, WHY, mark, of_seeds
from bench.report.plots.canvas import styles
from bench.report.plots.fronts import pareto, speed_plots
from bench.report.plots.learning import learning_plots
from bench.report.scores import SequenceScores
from bench.report.statistics.significance import neighbours, paired
from tests.bench.report.report_store import FakeStore, only_section, table_of, verdict_of

CALM = {
    records.CPU_SHARE: 0.97,
    records.SPEED_OF_CALIBRATION: 0.95,
    records.OVERSPEND: 0.01,
    records.STOPPED_SECONDS: 0.0,
    records.TRAIN_STEPS: 460.0,
}
STOPPED = CALM | {records.STOPPED_SECONDS: 3.0}


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    """A disturbed model that would be the best, two calm ones, and a baseline."""
    store = FakeStore(tmp_path / "artifacts")
    store.add("copy_last", 0.05, size="only", baseline=True, metrics={records.TRAIN_STEPS: 0.0})
    for seed in (0, 1):
        store.add("stopped", 0.010, seed=seed, metrics=STOPPED)
        store.add("calm", 0.020, seed=seed, metrics=CALM)
        store.add("weak", 0.030, seed=seed, metrics=CALM)
    return store


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (records.CPU_SHARE, 0.63, "63.0 %"),
        (records.SPEED_OF_CALIBRATION, 0.71, "71.0 %"),
        (records.OVERSPEND, 0.17, "17.0 %"),
        (records.STOPPED_SECONDS, 25.04, "25.0 s"),
        (records.TRAIN_STEPS, 52.0, "52 steps"),
    ],
)
def test_each_disturbance_marks_a_cell_and_is_said(key: str, value: float, said: str) -> None:
    assert mark(CALM, "120 s") == ""
    assert said in mark(CALM | {key: value}, "120 s")


def test_what_is_not_known_marks_nothing() -> None:
    assert mark({}, "120 s") == ""
    assert mark({records.TRAIN_STEPS: 0.0}, "120 s") == ""  # a baseline


@pytest.mark.parametrize("budget", ["460 steps", "1920 samples", "1e+15 flops"])
def test_a_busy_machine_marks_no_cell_whose_budget_is_not_time(budget: str) -> None:
    busy = CALM | {records.CPU_SHARE: 0.2, records.SPEED_OF_CALIBRATION: 0.3}
    assert mark(busy | {records.STOPPED_SECONDS: 9.0}, budget) == ""
    assert "17.0 %" in mark(busy | {records.OVERSPEND: 0.17}, budget)


def test_a_marked_model_has_no_best_figure_and_the_next_has(store: FakeStore) -> None:
    section = only_section(store)
    printed = table_of(store, section)
    best = {row.label for row in printed.rows if any(entry.best for entry in row.entries)}
    marked = {row.label for row in printed.rows if row.marked}
    assert marked == {"stopped-small"}
    assert best == {"calm-small"} | ({"weak-small"} & best)
    assert DISTURBED in next(row.name for row in printed.rows if row.marked)
    assert "stopped-small" in printed.note
    assert "3.0 s" in printed.note


def test_a_figure_that_prints_like_the_best_is_not_marked_as_such(store: FakeStore) -> None:
    for seed in (0, 1):
        store.add("stopped", 0.020, seed=seed, metrics=STOPPED)
    section = only_section(store)
    rows = {row.label: row for row in table_of(store, section).rows}
    assert rows["calm-small"].entries[0].best
    assert rows["stopped-small"].entries[0].text == rows["calm-small"].entries[0].text
    assert not rows["stopped-small"].entries[0].best


def test_a_marked_model_is_neither_named_best_nor_compared(store: FakeStore) -> None:
    section = only_section(store)
    said = verdict_of(store, section)
    assert said.startswith("On MSE calm-small ")
    assert "of 2 trained models" in said
    assert "Not compared: stopped-small" in said
    scores = SequenceScores(store)
    pairs = paired(section, scores.of(section), scores.clusters(section))
    sentences = neighbours(section, table.summary(section), pairs)
    assert sentences
    assert not any("stopped" in sentence for sentence in sentences)


def test_one_that_is_left_is_the_only_one_to_be_compared(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    store.add("copy_last", 0.05, size="only", baseline=True)
    store.add("calm", 0.03, metrics=CALM)
    store.add("stopped", 0.02, metrics=STOPPED)
    said = verdict_of(store, only_section(store))
    assert said.startswith("On MSE calm-small, the only trained model to be compared, has 0.03")


def test_where_all_are_marked_none_is_best_and_one_note_says_why(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    for model in ("a", "b", "c"):
        store.add(model, 0.02, metrics={records.TRAIN_STEPS: 4.0})
    section = only_section(store)
    printed = table_of(store, section)
    assert not any(entry.best for row in printed.rows for entry in row.entries)
    assert printed.note.count("4 steps") == 1
    assert "No trained model is named best" in verdict_of(store, section)


def test_a_marked_model_stands_on_no_front_and_is_named_so_in_plots(store: FakeStore) -> None:
    section = only_section(store)
    looks, figures = styles(section.cells), table.summary(section)
    curves = Curves(store).of(section)
    fronts = speed_plots(section, figures, looks, "1")
    drawn = [*fronts, *learning_plots(curves, looks, "1", {"stopped-small"})]
    assert len(drawn) > 2
    for picture in (picture for plot in drawn for picture in plot):
        assert f"stopped-small {DISTURBED}" in picture.svg
        assert f"calm-small {DISTURBED}" not in picture.svg
    front = pareto(figures, "train_samples_per_second", COLUMNS["prediction"][0])
    assert front["label"].tolist() == ["calm-small"]
    every = figures.assign(marked=WHY)
    assert len(speed_plots(section, every, looks, "1")) == len(fronts)


def test_the_seeds_that_are_marked_are_named() -> None:
    assert of_seeds({0: "", 1: ""}) == ""
    assert of_seeds({0: "took 4 steps", 1: "took 4 steps"}) == "took 4 steps"
    said = of_seeds({0: "", 1: "was stopped", 2: "took 4 steps", 3: "was stopped"})
    assert said == "seeds 1 3 was stopped; seed 2 took 4 steps"


def test_cells_that_did_not_finish_are_not_marked(store: FakeStore) -> None:
    few = {records.TRAIN_STEPS: 4.0}
    store.add("ended", None, status=records.Status.DIVERGED, metrics=few)
    marked = cell_table(store, "mnist").set_index("model")["marked"]
    assert marked["ended"] == ""
    assert marked["stopped"].all()
