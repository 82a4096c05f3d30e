from pathlib import Path

import pytest

from bench.errors import UserError
from bench.suite.cell import settle
from bench.suite.suite import load_suite, select, suite_names

VALID = 'models = ["copy_last", "convlstm"]\ndatasets = ["moving_mnist"]\nbudget = "8steps"\n'


def _write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_of_the_house_is_valid(name: str) -> None:
    assert load_suite(name).name == name


def test_cells_are_the_product_of_models_data_sets_and_seeds(tmp_path: Path) -> None:
    suite = load_suite(_write(tmp_path, VALID)).with_overrides(seeds=[3, 4])
    cells = [(at.model, at.dataset, at.seed) for at in suite.coordinates()]
    assert len(cells) == len(set(cells)) == 4
    assert ("convlstm", "moving_mnist", 4) in cells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VALID.replace("budget", "bugdet"), "own.toml: bugdet: unknown key, did you mean 'budget'"),
        (VALID + "seeds = ['a']", "own.toml: seeds.0: Input should be a valid integer"),
        (VALID + "seeds = []", "own.toml: seeds: "),
        (VALID.replace("8steps", "8"), "own.toml: budget: budget '8' is not understood"),
        (VALID.replace('"8steps"', "8"), "own.toml: budget: write it as text"),
        (VALID + "[evaluation]\ntest_clip = 3", "evaluation.test_clip: unknown key, did you mean"),
        (VALID + "[recipe]\nlearning_rat = 3", "recipe.learning_rat: unknown key, did you mean"),
        (VALID + "recipe = 'best'", "own.toml: recipe"),
        (VALID.replace('"convlstm"', '"convlstn"'), "own.toml: unknown model 'convlstn': did you"),
        (VALID.replace("moving_mnist", "moving_mnits"), "did you mean 'moving_mnist'?"),
        ("models = [", "is not TOML"),
        (VALID + "task = 'recognize'", "own.toml: task: Input should be 'prediction' or 'recogn"),
        (VALID + "task = 'recognition'", "own.toml: copy_last is for prediction, this suite for r"),
        (
            VALID.replace('"convlstm"', '"vgg3d_classifier"'),
            "vgg3d_classifier is for recognition, this suite for prediction: choose another, or "
            'write task = "recognition" in the suite',
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_place(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_suite(_write(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../../x", "/x", "a/b", "a\\\\b", "a\\u0000b", "", ".", "..", " ", "x" * 300]
)
def test_a_name_that_is_no_folder_of_the_results_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"own.toml: name: .* folder") as caught:
        load_suite(_write(tmp_path, f'name = "{name}"\n' + VALID))
    assert "\n" not in str(caught.value)


def test_an_unknown_suite_suggests_the_near_one() -> None:
    with pytest.raises(UserError, match="did you mean 'mnist'"):
        load_suite("mnits")


def test_a_suite_can_give_all_models_one_recipe(tmp_path: Path) -> None:
    text = VALID + '[recipe]\nsource = "me"\nlearning_rate = 0.1\nbatch_size = 3\n'
    recipe = load_suite(_write(tmp_path, text)).recipe
    assert not isinstance(recipe, str)
    assert recipe.batch_size == 3


def test_overrides_are_checked_as_the_file_is(tmp_path: Path) -> None:
    suite = load_suite(_write(tmp_path, VALID))
    assert str(suite.with_overrides(budget="5m", seeds=None).budget) == "300 s"
    with pytest.raises(UserError, match="command line: budget"):
        suite.with_overrides(budget="soon")


@pytest.mark.parametrize(
    ("patterns", "picked"),
    [
        ((), []),
        (("conv*",), ["convlstm"]),
        (("*",), ["copy_last", "convlstm"]),
        (("predrnn",), ["predrnn"]),
        (("some/file.py:Mine", "copy_last"), ["some/file.py:Mine", "copy_last"]),
        (("conv*", "convlstm"), ["convlstm"]),
    ],
)
def test_patterns_pick_from_the_suite_first(patterns: tuple[str, ...], picked: list[str]) -> None:
    listed, known = ["copy_last", "convlstm"], ["copy_last", "convlstm", "convgru", "predrnn"]
    assert select(patterns, listed, known) == picked


RECOGNITION = """
task = "recognition"
models = ["class_frequency"]
datasets = ["something_something_v2"]
budget = "8steps"
"""


def test_patterns_pick_models_and_data_sets_of_the_suites_task(tmp_path: Path) -> None:
    suite = load_suite(_write(tmp_path, RECOGNITION))
    assert suite.task == "recognition"
    picked = suite.select_models(["conv*", "class_*"])
    assert picked == ["convlstm_classifier", "class_frequency"]
    assert suite.select_datasets(["ucf101*"]) == ["ucf101/actions"]
    predictors = load_suite(_write(tmp_path, VALID)).select_models(["*"])
    assert predictors == ["copy_last", "convlstm"]
    with pytest.raises(UserError, match="unknown name"):
        load_suite("mnist").select_models(["*_classifier"])


def test_a_model_of_another_task_that_is_spelt_out_is_refused_with_why(tmp_path: Path) -> None:
    path = _write(tmp_path, RECOGNITION)
    suite = load_suite(path)
    named = suite.with_overrides(models=suite.select_models(["convlstm"]), device="cpu")
    with pytest.raises(UserError, match="convlstm is for prediction, this suite for recognition"):
        settle(named)


def test_a_pattern_that_picks_nothing_suggests_the_near_name() -> None:
    with pytest.raises(UserError, match="did you mean 'predrnn'"):
        select(["predrn"], ["convlstm"], ["convlstm", "predrnn"])
