"""`--set`, and recipes behind the names of models."""

from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.suite.catalogue import recipe_as_asked
from bench.suite.cell import Cell
from bench.suite.changes import changed, changed_cell, changed_reference
from bench.suite.reference import in_order
from bench.suite.settle import settle
from bench.suite.suite import Suite, load_suite, read_suite
from models.convlstm import ConvLSTM


def _suite(**fields: Any) -> Suite:
    return load_suite("mnist").with_overrides(
        models=["copy_last", "convlstm", "maxvit"], recipe="published", seeds=[0], **fields
    )


def _cells(*words: str) -> dict[str, Cell]:
    """The settled cells of a small suite with what `words` set, by the names of their models."""
    return {cell.model_name: cell for cell in settle(changed(_suite(), words))}


def test_a_field_of_the_recipe_changes_all_that_is_trained() -> None:
    usual, found = _cells(), _cells("recipe.learning_rate=3e-4", "recipe.schedule=cosine")
    assert [*found] == [
        "copy_last",
        "convlstm(learning_rate=0.0003, schedule='cosine')",
        "maxvit(learning_rate=0.0003, schedule='cosine')",
    ]
    for cell, before in zip(list(found.values())[1:], list(usual.values())[1:], strict=True):
        recipe = cell.recipe
        assert (recipe.learning_rate, recipe.schedule) == (3e-4, "cosine")
        assert recipe.batch_size == before.recipe.batch_size
        assert (recipe.origin, recipe.trials) == ("ours", 0)
        assert recipe.source.endswith("; as asked learning_rate=0.0003, schedule='cosine'")
        assert cell.options == before.options
        assert cell.trained != before.trained


def test_an_option_changes_the_models_and_data_sets_that_have_it() -> None:
    found = _cells("model.width=12", "dataset.horizon=5", "evaluation.test_clips=7")
    assert [*found] == ["copy_last", "convlstm(width=12)", "maxvit"]
    assert found["convlstm(width=12)"].options["width"] == 12
    assert {cell.dataset_name for cell in found.values()} == {"moving_mnist(horizon=5)"}
    assert {cell.held_out_clips["test"] for cell in found.values()} == {7}


def test_rows_of_one_model_with_other_recipes_are_told_apart() -> None:
    suite = _suite().with_overrides(models=["convlstm", "convlstm(learning_rate=0.1)"])
    rates = {cell.name: cell.recipe.learning_rate for cell in settle(suite)}
    usual = ConvLSTM.sizes["small"].recipe.learning_rate
    assert rates == {
        "convlstm-small/moving_mnist/0": usual,
        "convlstm(learning_rate=0.1)-small/moving_mnist/0": 0.1,
    }


def test_a_baseline_with_another_recipe_is_the_baseline() -> None:
    suite = _suite().with_overrides(models=["copy_last", "copy_last(learning_rate=0.1)"])
    assert [cell.name for cell in settle(suite)] == ["copy_last/moving_mnist/0"]


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("width=3", "write WHERE.NAME=VALUE"),
        ("model.width", "write WHERE.NAME=VALUE"),
        ("model.width=", "write WHERE.NAME=VALUE"),
        ("modle.width=3", "unknown place for --set 'modle': did you mean 'model'?"),
        ("model.widht=3", "unknown option of any model here 'widht': did you mean 'width'?"),
        ("dataset.horizn=3", "unknown option of any data set here 'horizn'"),
        ("recipe.learning=1", "unknown field of a recipe 'learning'"),
        ("recipe.origin=authors", "unknown field of a recipe 'origin'"),
        ("recipe.batch_size=0", "batch_size of a recipe is a whole number from 1"),
        ("recipe.batch_size=many", "is of the wrong type"),
        ("model.width=wide", "is of the wrong type"),
        ("evaluation.test_clip=3", "did you mean 'test_clips'"),
        ("limits.silence_seconds=no", "limits.silence_seconds"),
    ],
)
def test_what_cannot_be_set_is_said_in_one_line(word: str, why: str) -> None:
    with pytest.raises(UserError) as error:
        _cells(word)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_is_set_twice() -> None:
    with pytest.raises(UserError, match=r"--set gives model\.width twice"):
        _cells("model.width=3", "model.width=4")


def test_a_settled_cell_is_changed_alike() -> None:
    words = ["recipe.learning_rate=3e-4", "model.width=12", "evaluation.test_clips=7"]
    cell = changed_cell(_cells()["convlstm"], words)
    by_suite = _cells(*words)["convlstm(learning_rate=0.0003, width=12)"]
    assert cell == by_suite
    assert cell.trained == by_suite.trained
    with pytest.raises(UserError, match="a cell has no tuning"):
        changed_cell(cell, ["tuning.trials=3"])


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("evaluation.test_clip=3", "evaluation.test_clip: unknown key, did you mean 'test_clips'?"),
        ("evaluation.test_clips=0", "evaluation.test_clips: Input should be greater"),
        ("limits.silence_seconds=no", "limits.silence_seconds: Input should be a valid number"),
    ],
)
def test_what_a_cell_cannot_have_is_said_in_one_line(word: str, why: str) -> None:
    with pytest.raises(UserError) as error:
        changed_cell(_cells()["convlstm"], [word])
    assert str(error.value).startswith(f"command line: {why}")
    assert "\n" not in str(error.value)


def test_options_in_another_order_are_the_same_cell() -> None:
    one, other = "convlstm(width=12, layers=2)", "convlstm(layers=2,width=12)"
    suites = [_suite().with_overrides(models=[written]) for written in (one, other)]
    cells = [cell for suite in suites for cell in settle(suite)]
    assert [cell.model_name for cell in cells] == ["convlstm(layers=2, width=12)"] * 2
    assert cells[0].trained == cells[1].trained
    assert in_order(one) == in_order(other)  # of cells recorded before
    assert in_order("a (b") == "a (b"


def test_a_reference_is_changed_alike() -> None:
    assert changed_reference("convlstm(layers=2)", ["model.width=8"]) == (
        "convlstm(layers=2, width=8)"
    )
    assert changed_reference("moving_mnist", ["dataset.horizon=3"]) == "moving_mnist(horizon=3)"
    with pytest.raises(UserError, match="has no limits"):
        changed_reference("convlstm", ["limits.silence_seconds=3"])


def test_no_recipe_is_said_to_be_the_authors_once_it_is_changed() -> None:
    published = ConvLSTM.sizes["published"].recipe
    assert recipe_as_asked(published, {}) is published
    assert recipe_as_asked(published, {"batch_size": 3}).origin == "ours"
    assert recipe_as_asked(published, {"betas": [0.5, 0.9]}).betas == (0.5, 0.9)


def test_paths_in_a_suite_are_as_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "still.py").write_text(
        "from models.copy_last import CopyLast\n\n\nclass Still(CopyLast):\n    name = 'still'\n"
    )
    (folder / "own.toml").write_text(
        'models = ["still.py:Still"]\ndatasets = ["moving_mnist"]\nbudget = "2steps"\n'
    )
    monkeypatch.chdir(tmp_path)
    suite = load_suite("mine/own.toml")
    assert suite.models == ("mine/still.py:Still",)
    with_address = 'still.py:Still(url="http://a//b/./c")'
    (folder / "its.toml").write_text(
        f"models = ['{with_address}']\ndatasets = ['moving_mnist']\nbudget = '2steps'\n"
    )
    assert read_suite("mine/its.toml").models == (f"mine/{with_address}",)
    assert settle(suite)[0].model == f"{folder / 'still.py'}:Still"
