"""`bench tune` from end to end: equal trials, chosen on validation, and recipes that suites use."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench import records
from bench.console import SCREEN
from bench.errors import UserError
from bench.report import tables
from bench.report.cells import cell_table
from bench.report.scores import SequenceScores
from bench.store.mlflow import RecordedCell, Store
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from bench.suite.tuned import read
from bench.tune.trials import subjects, suite_of_trials
from bench.tune.tune import tuning
from tests.bench.conftest import Bench

SUITE = """
models = ["copy_last", "{file}:Tiny", "{file}:Diverges", "{file}:Wide"]
datasets = ["moving_mnist"]
budget = "4steps"

[evaluation]
test_clips = 4
validation_clips = 2
evaluations = 2
showcase_clips = 0

[tuning]
trials = 3
learning_rates = [1e-3, 1e-1]
batch_sizes = [2]
seeds = [7, 8]
"""
WIDE = """
class Wide(Tiny):
    tunable = {"width": (1, 2, 4, 8)}

    def __init__(self, frame_shape, *, width=1):
        super().__init__(frame_shape)
        self.filter = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, 1, 1))
"""


@pytest.fixture
def suite(tmp_path: Path, user_models: Path) -> Path:
    """A suite of a baseline, a model that learns, one that diverges, and one of several widths."""
    user_models.write_text(user_models.read_text(encoding="utf-8") + WIDE, encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(SUITE.format(file=user_models), encoding="utf-8")
    return path


def _runs(tmp_path: Path, name: str) -> list[RecordedCell]:
    return Store(f"sqlite:///{tmp_path}/results/mlflow.db").cells(name)


def test_the_recipe_of_the_best_trial_trains_the_suite(
    tmp_path: Path, suite: Path, user_models: Path, bench: Bench
) -> None:
    done = bench("tune", "--suite", suite, "--models", f"{user_models}:Tiny")
    assert done.returncode == 0, done.stdout + done.stderr

    trials = _runs(tmp_path, "mine-tuning")
    assert len(trials) == 6
    assert {run.params["seed"] for run in trials} == {"7", "8"}
    assert not [key for run in trials for key in run.metrics if key.startswith("test/")]
    by_rate: dict[float, list[float]] = {}
    for run in trials:
        rate = float(run.params["recipe.learning_rate"])
        by_rate.setdefault(rate, []).append(run.metrics["val/best_mse"])
    best = min(by_rate, key=lambda rate: math.fsum(by_rate[rate]))
    assert len(by_rate) == 3
    assert all(1e-3 <= rate <= 1e-1 for rate in by_rate)

    (found,) = read(tmp_path / "mine.tuned.toml")
    assert found.recipe.learning_rate == best
    assert found.recipe.trials == 3
    assert {trial.learning_rate for trial in found.trials} == set(by_rate)
    assert found.validation == pytest.approx(math.fsum(by_rate[best]) / 2)
    assert found.budget == "4 steps"

    again = bench("tune", "--suite", suite, "--models", f"{user_models}:Tiny")
    assert again.returncode == 0
    assert len(_runs(tmp_path, "mine-tuning")) == 6  # nothing was run again

    text = suite.read_text(encoding="utf-8").replace("budget", 'recipe = "tuned"\nbudget')
    suite.write_text(text, encoding="utf-8")
    models = ["--models", "copy_last", f"{user_models}:Tiny"]
    ran = bench("run", "--suite", suite, *models, report=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    run = next(run for run in _runs(tmp_path, "mine") if run.params["model"] == "Tiny")
    assert float(run.params["recipe.learning_rate"]) == best
    assert (run.params["recipe"], run.params["recipe.trials"]) == ("tuned", "3")
    assert run.params["recipe.origin"] == "ours"
    store = Store(f"sqlite:///{tmp_path}/results/mlflow.db")
    cells = cell_table(store, "mine")
    (table,) = tables(cells, [run.tags[records.CELL]], SequenceScores(store)).values()
    assert "tuned (3 trials)" in table.note

    other = bench("run", "--suite", suite, "--dry-run")
    assert other.returncode == 0, other.stderr
    assert "Not tuned, so by their own recipes: " in other.stdout


def test_a_trial_that_diverges_counts_and_never_wins(
    tmp_path: Path, suite: Path, user_models: Path, bench: Bench
) -> None:
    words = ["tune", "--suite", suite, "--trials", "2", "--models", f"{user_models}:Diverges"]
    done = bench(*words)
    assert done.returncode == 1
    assert "no trial finished" in done.stderr
    assert not (tmp_path / "mine.tuned.toml").exists()
    before = len(_runs(tmp_path, "mine-tuning"))
    assert before == 4
    bench(*words)
    assert len(_runs(tmp_path, "mine-tuning")) == before  # it would only diverge again


def test_every_model_gets_the_same_trials(suite: Path) -> None:
    found = subjects(suite_of_trials(load_suite(str(suite))))
    assert len(found) == 3  # the baseline is not trained
    recipes = [[cells[0].recipe for cells in subject.trials] for subject in found]
    assert recipes[0] == recipes[1] == recipes[2]
    assert len({recipe.learning_rate for recipe in recipes[0]}) == 3
    digests = [cell.trained for subject in found for cells in subject.trials for cell in cells]
    assert len(set(digests)) == len(digests)


def test_more_trials_only_add_to_fewer(suite: Path) -> None:
    space = load_suite(str(suite)).tuning
    more = space.model_copy(update={"trials": 8})
    assert more.points()[:3] == space.points()


def test_options_are_drawn_from_those_of_the_range(suite: Path) -> None:
    loaded = load_suite(str(suite))
    wide = next(ref for ref in loaded.models if ref.endswith("Wide"))

    def options(flops: list[float], trials: int = 12) -> set[str]:
        tuning = loaded.tuning.model_dump(mode="json") | {
            "flops_per_sequence": flops,
            "trials": trials,
        }
        some = loaded.with_overrides(models=[wide], tuning=tuning)
        (subject,) = subjects(suite_of_trials(some))
        return {str(cells[0].options["width"]) for cells in subject.trials}

    a_width = 20 * 64 * 64  # multiply-adds count twice: 9 of the first layer, 1 of the second
    assert options([1.5 * a_width, 8.5 * a_width]) == {"2", "4", "8"}
    with pytest.raises(UserError, match=r"Wide .*FLOPs"):
        options([1.0, 2.0])


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ("seeds = [7, 8]", "seeds = [7, 0]", "seed 0"),
        ("[1e-3, 1e-1]", "[1e-1, 1e-3]", "lower bound"),
        ("trials = 3", "trails = 3", "'trials'"),
        ("trials = 3", "trials = 0", "trials"),
        ("seeds = [7, 8]", "seeds = [7, 7]", "twice"),
    ],
)
def test_a_space_that_cannot_be_is_refused(
    suite: Path, before: str, after: str, wrong: str
) -> None:
    suite.write_text(suite.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    with pytest.raises(UserError, match=f"mine.toml: tuning.*{wrong}"):
        load_suite(str(suite))


@pytest.mark.parametrize("text", ["[[tuned]]\nmodel = 3", "tuned = [", "other = 1"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.tuned.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.tuned\.toml"):
        read(file)


FOUND = """
[[tuned]]
model = "Wide"
size = "only"
dataset = "moving_mnist"
options = "(width=8)"
validation = 0.1
seeds = [7]
budget = "{budget}"
device = "a CPU"
precision = "32"
commit = ""
code_digest = ""
trials = [{{ learning_rate = 0.01, batch_size = 2, validation = 0.1 }}]
[tuned.recipe]
source = "ours"
learning_rate = 0.01
batch_size = 2
trials = 1
"""


def test_a_model_with_other_options_keeps_its_own_recipe(
    tmp_path: Path, suite: Path, user_models: Path
) -> None:
    text = suite.read_text(encoding="utf-8").replace("budget", 'recipe = "tuned"\nbudget')
    suite.write_text(text, encoding="utf-8")
    (tmp_path / "mine.tuned.toml").write_text(FOUND.format(budget="4 steps"), encoding="utf-8")
    loaded = load_suite(str(suite))
    (cell,) = settle(loaded.with_overrides(models=[f"{user_models}:Wide"]))
    assert (cell.recipe.trials, cell.recipe_of) == (0, "tuned")
    (cell,) = settle(loaded.with_overrides(models=[f"{user_models}:Wide(width=8)"]))
    assert cell.recipe.learning_rate == 0.01
    assert cell.recipe_of == "tuned"


def test_of_two_recipes_for_the_same_options_and_budget_the_better_trains(
    tmp_path: Path, suite: Path, user_models: Path
) -> None:
    text = suite.read_text(encoding="utf-8").replace("budget", 'recipe = "tuned"\nbudget')
    suite.write_text(text, encoding="utf-8")
    worse = FOUND.format(budget="4 steps").replace('"Wide"', '"Wide(width=8)"')
    worse = worse.replace("validation = 0.1", "validation = 0.2").replace("0.01", "0.02")
    both = FOUND.format(budget="4 steps") + worse
    (tmp_path / "mine.tuned.toml").write_text(both, encoding="utf-8")
    loaded = load_suite(str(suite))
    (cell,) = settle(loaded.with_overrides(models=[f"{user_models}:Wide(width=8)"]))
    assert cell.recipe.learning_rate == 0.01


BROKEN = """
class Broken(Tiny):
    def __init__(self, frame_shape):
        raise LookupError("no")
"""


def test_a_model_that_cannot_be_built_is_named(suite: Path, user_models: Path) -> None:
    user_models.write_text(user_models.read_text(encoding="utf-8") + BROKEN, encoding="utf-8")
    one = load_suite(str(suite)).with_overrides(models=[f"{user_models}:Broken"])
    tuned = one.with_overrides(recipe="tuned")
    for what in (lambda: subjects(suite_of_trials(one)), lambda: settle(tuned)):
        with pytest.raises(UserError, match=r"Broken cannot be built .* LookupError: no"):
            what()


def test_recipes_that_could_not_be_kept_are_not_looked_for(suite: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "x.toml"
    with pytest.raises(UserError, match="there is no folder"):
        tuning(load_suite(str(suite)), None, nowhere, tmp_path / "results", None, SCREEN)
    assert not (tmp_path / "results").exists()


def test_the_line_that_finds_a_recipe_writes_to_the_file_that_lacks_it(
    suite: Path, user_models: Path, tmp_path: Path
) -> None:
    other = tmp_path / "recipes.toml"
    tuned = {"recipe": "tuned", "models": [f"{user_models}:Wide(width=8)"]}
    with pytest.raises(UserError, match=f"--suite {suite} "):
        settle(load_suite(str(suite)).with_overrides(**tuned))
    several = [FOUND.format(budget=budget) for budget in ("2 steps", "8 steps")]
    (tmp_path / "mine.tuned.toml").write_text("".join(several), encoding="utf-8")
    with pytest.raises(UserError, match=f"2 steps, 8 steps: find one by .*--suite {suite} "):
        settle(load_suite(str(suite)).with_overrides(**tuned))
    with pytest.raises(UserError, match=f"--suite SUITE --out {other} "):
        settle(load_suite(str(suite)).with_overrides(**tuned, tuned_recipes=str(other)))
