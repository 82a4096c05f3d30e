"""copy_last stands beside every predictor, whether a suite lists it or not, and is tested once."""

from pathlib import Path

from bench.store.address import store_uri
from bench.store.mlflow import Store
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from tests.bench.conftest import Bench


def test_it_runs_unasked_and_once_whatever_the_budget(
    bench: Bench, user_suite: Path, tmp_path: Path
) -> None:
    own = tmp_path / "unasked.toml"
    own.write_text(user_suite.read_text().replace('"copy_last", ', ""))
    for budget, states, *how in (("2steps", "2 run"), ("3steps", "1 done, 1 run", "--dry-run")):
        ended = bench("run", "--suite", own, "--budget", budget, *how, report=False)
        assert ended.returncode == 0, ended.stderr
        assert f"2 cells: {states};" in ended.stdout
    store = Store(store_uri(f"sqlite:///{tmp_path}/results/mlflow.db", tmp_path))
    names = sorted(run.name for run in store.cells("unasked"))
    assert names == ["Tiny/moving_mnist/0", "copy_last/moving_mnist/0"]


def test_every_data_set_has_it_and_classifiers_do_not() -> None:
    evaluation = {"test_clips": 2, "validation_clips": 2, "also_test_on": ["nbody_mnist"]}
    suite = load_suite("smoke").with_overrides(models=["convlstm"], evaluation=evaluation)
    both = suite.with_overrides(datasets=["moving_mnist", "water_waves"], seeds=[1, 2])
    copies = [c for c in settle(both.with_reference()) if c.model == "copy_last"]
    assert [cell.name for cell in copies] == [
        "copy_last/moving_mnist/1",
        "copy_last/water_waves/1",
    ]
    assert all([*cell.elsewhere] == ["nbody_mnist"] for cell in copies)
    recognition = load_suite("ssv2")
    assert recognition.with_reference() is recognition
    listed = load_suite("smoke")
    assert listed.with_reference() is listed
