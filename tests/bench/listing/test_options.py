"""`ls models NAME` and `ls datasets NAME`."""

import pytest

from bench import cli
from bench.errors import UserError
from bench.listing import options
from bench.suite import catalogue
from models.convlstm import ConvLSTM
from models.recipe import TRAINING_FIELDS


@pytest.mark.parametrize("name", sorted(catalogue.all_models()))
def test_every_option_of_a_model_has_a_meaning_and_a_value_in_each_size(name: str) -> None:
    rows, columns, headline = options.of("models", name)
    sizes = catalogue.model(name).sizes
    assert columns == ["option", *sizes, "meaning", "type"]
    assert [row["option"] for row in rows[-len(TRAINING_FIELDS) :]] == [*TRAINING_FIELDS]
    assert all(row["meaning"] and row["type"] and row.keys() >= sizes.keys() for row in rows)
    assert "." in headline


@pytest.mark.parametrize("name", sorted(catalogue.all_datasets()))
def test_every_option_of_a_data_set_has_a_meaning(name: str) -> None:
    rows, _, headline = options.of("datasets", name)
    assert all(row["meaning"] and row["type"] for row in rows), rows
    assert headline


def test_the_values_are_those_of_the_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["option"]: row for row in options.of("models", "convlstm")[0]}
    small = ConvLSTM.sizes["small"]
    assert rows["width"]["small"] == small.options["width"]
    assert rows["kernel"]["small"] == 5
    assert rows["learning_rate"]["small"] == small.recipe.learning_rate
    assert rows["optimizer"]["type"] == "Literal['adam', 'adamw', 'sgd']"
    assert cli.main(["ls", "models", "convlstm"]) == 0
    printed = capsys.readouterr().out
    assert "https://arxiv.org/abs/1506.04214" in printed
    assert "best of 5 trials on Moving MNIST" in printed


def test_what_has_no_options_is_said() -> None:
    with pytest.raises(UserError, match="write ls suites alone"):
        options.of("suites", "mnist")
    with pytest.raises(UserError, match="did you mean 'convlstm'"):
        options.of("models", "convltsm")
