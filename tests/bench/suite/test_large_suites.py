"""The suites of many models, each cell in this process at toy size: every name in them runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.console import SCREEN
from bench.run.worker import Worker
from bench.store.mlflow import Store
from bench.suite import catalogue
from bench.suite.settle import settle
from bench.suite.suite import load_suite

TOY = {
    "budget": "1steps",
    "device": "cpu",
    "evaluation": {
        "test_clips": 2,
        "validation_clips": 2,
        "evaluations": 1,
        "showcase_clips": 1,
    },
    "recipe": {"source": "toy", "learning_rate": 1e-3, "batch_size": 1},
}

OF_MEMORY = load_suite("memory").models
"""These run on a context that is longer than what any of them sees at once."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    folder = tmp_path_factory.mktemp("large") / "results"
    shutil.copytree(empty_store, folder)
    return folder


def _run(suite_name: str, model: str, dataset: str, results: Path) -> None:
    suite = load_suite(suite_name).with_overrides(models=[model], datasets=[dataset], **TOY)
    (cell,) = settle(suite)
    store = Store(f"sqlite:///{results / 'mlflow.db'}")
    finished = Worker(cell, store, results, SCREEN).work(lambda _: None, lambda: False)
    assert (finished.status, finished.error) == ("done", "")
    (run,) = [run for run in store.cells(suite_name) if run.name == cell.name]
    assert 0 < run.metrics["test/mse"] < 1


def test_mnist_all_has_every_predictor_of_the_house() -> None:
    ours = {n for n, cls in catalogue.predictors().items() if cls.__module__.startswith("models.")}
    assert set(load_suite("mnist-all").models) == ours


def test_every_cell_of_mnist_all_can_be_settled() -> None:
    suite = load_suite("mnist-all").with_overrides(device="cpu")
    assert {cell.model for cell in settle(suite)} == set(suite.models)


@pytest.mark.parametrize("model", [m for m in load_suite("mnist-all").models if m not in OF_MEMORY])
def test_every_other_model_of_mnist_all_runs(model: str, results: Path) -> None:
    _run("mnist-all", model, "moving_mnist(context_frames=2, horizon=2)", results)


@pytest.mark.parametrize("model", OF_MEMORY)
def test_every_model_of_memory_runs_on_a_long_context(model: str, results: Path) -> None:
    _run("memory", model, "moving_mnist/long(context_frames=12, horizon=2)", results)


def test_memory_compares_three_contexts_and_one_horizon() -> None:
    specs = [catalogue.open_dataset(name).spec for name in load_suite("memory").datasets]
    assert [spec.context_frames for spec in specs] == [10, 100, 1000]
    assert {spec.horizon for spec in specs} == {10}
