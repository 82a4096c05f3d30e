"""A budget in epochs is one in samples of each data set."""

from pathlib import Path

import numpy as np
import pytest

from bench.errors import UserError
from bench.run import plan
from bench.suite.cell import read
from bench.suite.changes import changed_cell
from bench.suite.settle import settle
from bench.suite.suite import Suite, load_suite
from bench.train.budget import Budget
from datasets import arrays, water_waves

EVALUATION = {"test_clips": 2, "validation_clips": 2}


def _suite(*datasets: str, budget: str) -> Suite:
    smoke = load_suite("smoke").with_overrides(models=["convlstm"], device="cpu", budget=budget)
    return smoke.with_overrides(datasets=datasets, evaluation=EVALUATION)


def test_each_data_set_has_its_own_samples_and_the_plan_names_both(tmp_path: Path) -> None:
    cells = settle(_suite("moving_mnist", "nbody_mnist", budget="20 epochs"))
    assert [cell.budget for cell in cells] == [
        Budget("samples", 20 * 10_000),
        Budget("samples", 20 * 20_000),
    ]
    told = plan.settings(cells).budget
    assert told == "20 epochs: 200,000 samples of moving_mnist, 400,000 samples of nbody_mnist"
    assert plan.settings(cells[:1]).budget == "20 epochs: 200,000 samples"
    assert cells[0].params["budget"] == "200000 samples"
    assert cells[0].params["budget.epochs"] == 20
    again = read(cells[0].write(tmp_path))
    assert again.scored == cells[0].scored


def test_samples_are_the_same_cell_however_they_are_written() -> None:
    (of_epochs,) = settle(_suite("moving_mnist", budget="0.5epochs"))
    (of_samples,) = settle(_suite("moving_mnist", budget="5000samples"))
    assert of_epochs.scored == of_samples.scored


@pytest.fixture
def ten_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`clips.npy`, of seven frames each; eight of them train."""
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path))
    clips = np.random.default_rng(0).integers(0, 255, (10, 7, 8, 8), np.uint8)
    np.save(tmp_path / "clips.npy", clips)


@pytest.mark.usefixtures("ten_clips")
def test_an_epoch_is_every_training_window_once() -> None:
    data = arrays.Arrays(2, 2, path="clips.npy", axes="NTHW")
    assert data.epoch_clips == 8 * (7 - 4 + 1)


@pytest.mark.usefixtures("ten_clips")
def test_epochs_of_a_cell_that_is_changed_are_those_of_its_new_data() -> None:
    reference = "arrays(path='clips.npy', axes='NTHW', context_frames={}, horizon=2)"
    (cell,) = settle(_suite(reference.format(2), budget="3epochs"))
    (by_suite,) = settle(_suite(reference.format(4), budget="3epochs"))
    found = changed_cell(cell, ["dataset.context_frames=4"])
    assert found.budget == by_suite.budget == Budget("samples", 3 * 8 * 2)
    assert found.scored == by_suite.scored


def test_what_has_no_epochs_says_so() -> None:
    with pytest.raises(UserError, match="water_waves draws training clips without end"):
        settle(_suite("water_waves", budget="2epochs"))


@pytest.mark.parametrize("clips", ["many", 3.5, 0, True])
def test_an_epoch_of_no_whole_number_of_clips_is_one_line(
    monkeypatch: pytest.MonkeyPatch, clips: object
) -> None:
    monkeypatch.setattr(water_waves.WaterWaves, "epoch_clips", clips, raising=False)
    with pytest.raises(UserError, match=f"water_waves says that an epoch has {clips!r} clips: "):
        settle(_suite("water_waves", budget="2epochs"))


@pytest.mark.parametrize("text", ["0epochs", "1e10epochs", "1.2.3 epochs", "-1epochs"])
def test_no_such_number_of_epochs(text: str) -> None:
    with pytest.raises(UserError, match="budget"):
        _suite("moving_mnist", budget=text)


def test_data_that_are_missing_have_a_budget_in_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path))
    (cell,) = settle(_suite("arrays(path='nowhere.npy')", budget="2epochs"))
    assert cell.missing_data
    assert cell.params["budget"] == "2 epochs"
