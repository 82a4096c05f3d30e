"""Which models run with every seed of a suite, and which once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.suite.settle import settle
from bench.suite.suite import load_suite
from tests.bench.conftest import SUITE, Bench

UNTRAINED = '''
import torch
from models.contract import Predictor

class Darker(Predictor):
    """The last frame at half its brightness."""

    def forward(self, context, horizon):
        return context[:, -1:].repeat(1, horizon, 1, 1, 1) / 2

class Noisy(Darker):
    """Draws futures."""

    def sample(self, context, horizon, samples, generator):
        future = super().sample(context, horizon, samples, generator)
        noise = torch.rand(future.shape, generator=generator, device=future.device)
        return (future + noise) / 2

class Unbuildable(Darker):
    def __init__(self, frame_shape):
        raise ValueError("odd frames only")
'''


@pytest.fixture
def suite(tmp_path: Path, user_models: Path) -> str:
    """A suite file of a user's models, three seeds each."""
    untrained = tmp_path / "untrained.py"
    untrained.write_text(UNTRAINED, encoding="utf-8")
    own = [f'"{untrained}:{name}"' for name in ("Darker", "Noisy", "Unbuildable")]
    models = f'"copy_last", "mean_frame", "{user_models}:Tiny", {", ".join(own)}'
    text = SUITE.replace('"copy_last", "{models}:Tiny"', models)
    path = tmp_path / "own.toml"
    path.write_text(f"seeds = [4, 1, 2]\n{text}", encoding="utf-8")
    return str(path)


def _seeds(suite: str, **overrides: object) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for cell in settle(load_suite(suite).with_overrides(device="cpu", **overrides)):
        found.setdefault(cell.model_name, []).append(cell.seed)
    return found


def test_a_model_that_owes_nothing_to_its_seed_has_the_first_alone(suite: str) -> None:
    assert _seeds(suite) == {
        **{model: [4] for model in ("copy_last", "mean_frame", "Darker")},
        **{model: [4, 1, 2] for model in ("Tiny", "Noisy", "Unbuildable")},
    }


@pytest.mark.parametrize("budget", ["60s", "1e9flops"])
def test_so_it_is_under_every_budget_and_on_every_data_set(suite: str, budget: str) -> None:
    datasets = ["moving_mnist", "moving_mnist(horizon=3)"]
    models = ["copy_last", "convlstm"]
    found = _seeds(suite, budget=budget, datasets=datasets, models=models)
    assert found == {"copy_last": [4, 4], "convlstm": [4, 1, 2] * 2}


def test_without_data_nothing_is_built_and_every_seed_is_kept(suite: str) -> None:
    found = _seeds(suite, datasets=["kth(size=32)"], models=["copy_last"])
    assert found == {"copy_last": [4, 1, 2]}


def test_a_run_makes_one_cell_of_it_and_what_is_planned_is_what_is_listed(
    suite: str, bench: Bench
) -> None:
    models = ("--models", "copy_last", "*Tiny")
    planned = bench("run", "--suite", suite, *models, "--dry-run").stdout
    assert "4 cells" in planned
    ran = bench("run", "--suite", suite, *models, report=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 done" in bench("run", "--suite", suite, *models, "--dry-run").stdout
    listed = bench("ls", "cells", "--suite", suite, "--format", "csv").stdout
    assert listed.count("copy_last/moving_mnist/4") == listed.count("copy_last/") == 1
    by_name = bench("ls", "cells", "--suite", Path(suite).stem, "--format", "csv")
    were_run = [line for line in listed.splitlines() if ",not run," not in line]
    assert by_name.stdout.splitlines() == were_run
    missing = bench("ls", "cells", "--suite", "never_run")
    assert missing.returncode == 2
    assert "unknown suite 'never_run'" in missing.stderr
