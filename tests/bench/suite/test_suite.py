import contextlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.suite.settle import settle
from bench.suite.suite import Suite, load_suite, select, suite_names
from bench.train.budget import Budget

VALID = 'models = ["copy_last", "convlstm"]\ndatasets = ["moving_mnist"]\nbudget = "8steps"\n'


def _is_refused(suite: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_suite(suite)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def _write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_of_the_house_is_valid_and_counts_no_time_on_a_cpu(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert not str(suite.budget_on("cpu")).endswith(" s")


def test_cells_are_the_product_of_models_data_sets_and_seeds(tmp_path: Path) -> None:
    suite = load_suite(_write(tmp_path, VALID)).with_overrides(seeds=[3, 4])
    cells = [(at.model, at.dataset, at.seed) for at in suite.coordinates()]
    assert len(cells) == len(set(cells)) == 4
    assert ("convlstm", "moving_mnist", 4) in cells


TABLES = """
datasets = ["moving_mnist"]
budget = "8steps"

[models.copy_last]

[models.convlstm]
peephole = true
recipe.learning_rate = 3e-3

[models."simvp(translator='tau')"]
recipe = {batch_size = 4}
"""


def test_models_may_be_tables_of_their_options(tmp_path: Path) -> None:
    in_a_list = load_suite(_write(tmp_path, VALID)).with_overrides(
        models=[
            "copy_last",
            "convlstm(peephole=True, learning_rate=3e-3)",
            "simvp(translator='tau', batch_size=4)",
        ]
    )
    by_table, listed = settle(load_suite(_write(tmp_path, TABLES))), settle(in_a_list)
    assert [cell.name for cell in by_table] == [cell.name for cell in listed]
    assert [cell.scored for cell in by_table] == [cell.scored for cell in listed]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TABLES.replace("learning_rate", "learn_rate"),
            "own.toml: models: unknown field of the recipe of convlstm 'learn_rate': did you",
        ),
        (TABLES.replace("peephole", "peephoe"), "option of convlstm 'peephoe': did you mean"),
        (
            TABLES.replace("[models.copy_last]", "[models]\ncopy_last = 3"),
            "models: copy_last is to be a table of its options: [models.copy_last]",
        ),
        (VALID.replace("budget", "bugdet"), "own.toml: bugdet: unknown key, did you mean 'budget'"),
        (VALID + "seeds = ['a']", "own.toml: seeds.0: Input should be a valid integer"),
        (VALID + "seeds = []", "own.toml: seeds: "),
        (VALID.replace("8steps", "8"), "own.toml: budget: budget '8' is not understood"),
        (VALID.replace('"8steps"', "8"), "own.toml: budget: write it as text"),
        (VALID + 'budget_on_cpu = "8"\n', "own.toml: budget_on_cpu: budget '8' is not understood"),
        (VALID + "[evaluation]\ntest_clip = 3", "evaluation.test_clip: unknown key, did you mean"),
        (VALID + "[recipe]\nlearning_rat = 3", "recipe.learning_rat: unknown key, did you mean"),
        (VALID + "title = 'x'", "own.toml: title: unknown key, there are: budget, "),
        (VALID + "[limits]\nhours = 3", "limits.hours: unknown key, there are: "),
        (
            VALID + "[recipe]\nlearning_rate = 1e-3",
            'own.toml: recipe.source is missing: write it, such as source = "ours"',
        ),
        (VALID.replace('budget = "8steps"', ""), "own.toml: budget is missing: write it"),
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
    _is_refused(_write(tmp_path, text), message)


@pytest.mark.parametrize(
    "name", ["../../x", "/x", "a/b", "a\\\\b", "a\\u0000b", "", ".", "..", " ", "x" * 300]
)
def test_a_name_that_is_no_folder_of_the_results_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"own.toml: name: .* folder") as caught:
        load_suite(_write(tmp_path, f'name = "{name}"\n' + VALID))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["artifacts", "Checkpoints", "mlflow.db"])
def test_a_name_of_what_lies_in_the_results_already_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is a name of the harness's own in the results"):
        load_suite(_write(tmp_path, f'name = "{name}"\n' + VALID))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VALID + "seeds = [-1]", "seeds.0: Input should be greater than or equal to 0"),
        (VALID + f"seeds = [{2**63}]", "seeds.0: Input should be less than"),
        (VALID + f"seeds = [1{'0' * 5000}]", "own.toml"),
        (VALID + "seeds = [true]", "seeds.0: Input should be a valid integer"),
        (VALID + "seeds = [4, 2, 4]", "seeds: 4 is listed twice"),
        (VALID.replace('"convlstm"', '"copy_last"'), "models: 'copy_last' is listed twice"),
        (
            VALID.replace('"copy_last"', '"convlstm(width=8)"').replace(
                '"convlstm"', '"convlstm( width = 8)"'
            ),
            "are both called 'convlstm(width=8)'",
        ),
        (VALID + "[evaluation]\ntest_clips = 0", "evaluation.test_clips: "),
        (VALID + "[evaluation]\nevaluations = 1000000000000", "evaluation.evaluations: "),
        (VALID + "[evaluation]\nvalidation_clips = true", "evaluation.validation_clips: "),
        (VALID + "[limits]\nsilence_seconds = nan", "limits.silence_seconds: "),
        (VALID + "[limits]\nsilence_seconds = inf", "limits.silence_seconds: "),
        (VALID + "[limits]\ncell_seconds = 1e300", "limits.cell_seconds: "),
        (VALID.replace("8steps", "1e999steps"), "budget: budget '1e999steps' cannot be: steps are"),
        (VALID.replace("8steps", "0.5steps"), "counted in whole numbers, not 0.5"),
        (VALID + "a = " + "[" * 5000 + "]" * 5000, "own.toml is nested too deeply"),
        (VALID + "models.a = 1", "own.toml is not TOML"),
        ("", "own.toml: models is missing: write it"),
        (VALID.replace('"convlstm"', '"convlstm\\nx"'), "holds a line end"),
        (VALID.replace('"convlstm"', "'convlstm(width=\"x\")'"), "width='x' is of the wrong type"),
    ],
)
def test_what_is_out_of_its_range_is_one_line_that_names_the_place(
    tmp_path: Path, text: str, message: str
) -> None:
    _is_refused(_write(tmp_path, text), message)


@pytest.mark.parametrize(
    "line",
    [
        "learning_rate = nan",
        "learning_rate = inf",
        "learning_rate = -0.1",
        "learning_rate = true",
        "learning_rate = '0.1'",
        "batch_size = 0",
        "batch_size = 1.5",
        "batch_size = true",
        "batch_size = 10000000000000000000000",
        "betas = [0.9, 1.0]",
        "betas = [0.9]",
        "momentum = -1",
        "weight_decay = nan",
        "plateau_factor = 0",
        "plateau_patience = -1",
        "clip_norm = 0.0",
        "clip_value = inf",
        "optimizer = 'lion'",
        "schedule = 'linear'",
    ],
)
def test_a_recipe_out_of_its_range_is_refused(tmp_path: Path, line: str) -> None:
    field = line.partition(" ")[0]
    fields = {"source": "'me'", "learning_rate": "0.1", "batch_size": "3"} | {
        field: line.partition("= ")[2]
    }
    recipe = "\n".join(f"{name} = {value}" for name, value in fields.items())
    with pytest.raises(UserError, match=rf"own.toml: recipe.*{field}"):
        load_suite(_write(tmp_path, VALID + "[recipe]\n" + recipe))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_a_suite_may_begin_with_the_mark_of_windows(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(VALID, encoding=encoding)
    assert load_suite(str(path)).models == ("copy_last", "convlstm")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_suite_of_another_encoding_is_to_be_saved_as_utf_8(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text("# größer\n" + VALID, encoding=encoding)
    with pytest.raises(UserError, match="is not UTF-8 text: save it as such"):
        load_suite(str(path))


def test_a_suite_that_is_no_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    for name in ("folder.toml", "pipe.toml", f"{'x' * 300}.toml", "nul\0.toml", "absent.toml"):
        with pytest.raises(UserError, match="there is no suite file"):
            load_suite(f"{tmp_path}/{name}")
    for name in ("../suites/smoke", "/dev/null", "", "..", "x" * 300, "a\0b", "mnist/"):
        with pytest.raises(UserError, match="unknown suite"):
            load_suite(name)


def test_a_budget_in_flops_may_be_overridden(tmp_path: Path) -> None:
    suite = load_suite(_write(tmp_path, VALID.replace("8steps", "1e15flops")))
    assert suite.with_overrides(device="cpu").budget == suite.budget
    third = suite.with_overrides(budget="0.3333333333333333h")
    assert third.with_overrides(device="cpu").budget == third.budget


TWO_BUDGETS = VALID.replace('"8steps"', '"120s"\nbudget_on_cpu = "1e9flops"')


@pytest.mark.parametrize(
    ("device", "overrides", "budget"),
    [
        ("cpu", {}, "1e9flops"),
        ("cuda", {}, "120s"),
        ("mps", {}, "120s"),
        ("cpu", {"seeds": [3]}, "1e9flops"),
        ("cpu", {"budget": "60s"}, "60s"),
        ("cuda", {"budget": "5steps"}, "5steps"),
    ],
)
def test_a_cpu_may_have_a_budget_of_its_own_and_what_is_asked_for_wins(
    tmp_path: Path, device: str, overrides: dict[str, object], budget: str
) -> None:
    suite = load_suite(_write(tmp_path, TWO_BUDGETS)).with_overrides(**overrides)
    assert suite.budget_on(device) == Budget.parse(budget)


def test_without_one_a_cpu_has_the_budget_of_all(tmp_path: Path) -> None:
    suite = load_suite(_write(tmp_path, VALID))
    assert suite.budget_on("cpu") == suite.budget_on("cuda") == Budget("steps", 8)


def test_a_cell_is_settled_with_the_one_budget_of_its_device(tmp_path: Path) -> None:
    suite = load_suite(_write(tmp_path, TWO_BUDGETS))
    for cell in settle(suite.with_overrides(device="cpu")):
        assert cell.budget == Budget("flops", 1e9)
        assert Budget.parse(str(cell.params["budget"])) == cell.budget


def test_a_path_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    suite = load_suite(_write(tmp_path, VALID))
    with pytest.raises(UserError, match="is not UTF-8 text: rename it"):
        suite.with_overrides(models=["x\udcff/mine.py:Mine"])


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    text = "from models.copy_last import CopyLast\nclass Mine(CopyLast):\n    name = 'copy_last'\n"
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    suite = load_suite(_write(tmp_path, VALID))
    with pytest.raises(UserError, match="are both called 'copy_last'"):
        settle(suite.with_overrides(models=["copy_last", f"{tmp_path}/mine.py:Mine"], device="cpu"))


ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    ATOMS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3)
)


@given(st.dictionaries(st.sampled_from([*Suite.model_fields, "x"]), VALUES))
def test_any_override_is_valid_or_a_users_error(overrides: dict[str, object]) -> None:
    suite = Suite(name="a", models=("copy_last",), datasets=("kth",), budget="1s")  # type: ignore[arg-type]
    with contextlib.suppress(UserError):
        assert isinstance(suite.with_overrides(**overrides), Suite)


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.lists(st.sampled_from([*VALID.splitlines(), "[recipe]", "[limits]", "a = [", "b = nan"]))
    .map("\n".join)
    .map(str.encode)
)
def test_any_file_is_a_suite_or_a_users_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.toml"
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            assert load_suite(str(path)).budget.amount == 8


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
