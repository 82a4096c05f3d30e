"""What a machine without a GPU settles for jobs that have some."""

from pathlib import Path

import pytest
import torch

from bench.errors import UserError
from bench.suite.cell import Cell
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from tests.bench.conftest import Bench

SUITE = 'models = ["convlstm"]\ndatasets = ["moving_mnist(horizon=2)"]\n'
JOBS = {"launcher": "slurm", "partition": "gpu"}


@pytest.fixture(autouse=True)
def _without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "own.toml"
    path.write_text(SUITE + 'budget = "60s"\nbudget_on_cpu = "1e9flops"\n', encoding="utf-8")
    return str(path)


def _cell(suite: str, **overrides: object) -> Cell:
    (cell,) = settle(load_suite(suite).with_overrides(**overrides))
    return cell


def test_cells_are_those_that_a_machine_with_the_gpu_settles(
    suite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"device": "cuda", "precision": "bf16", "devices": 2, "launch": JOBS}
    here = _cell(suite, **asked)
    assert (here.device, here.size, str(here.budget)) == ("cuda", "published", "60 s")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda _: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Example GPU")
    there = _cell(suite, devices=2, launch=JOBS)
    assert (there.trained, there.scored) == (here.trained, here.scored)
    alone = _cell(suite, budget="8steps")
    assert alone.trained == _cell(suite, budget="8steps", launch=JOBS).trained


def test_seconds_count_for_the_machines_that_the_options_choose(suite: str) -> None:
    asked = {"device": "cuda", "precision": "32"}
    jobs = [
        JOBS,
        JOBS | {"account": "vision"},
        JOBS | {"partition": "old"},
        JOBS | {"sbatch": {"constraint": "a100"}},
    ]
    first, alike, *others = (_cell(suite, launch=launch, **asked).trained for launch in jobs)
    assert alike == first
    assert len({first, *others}) == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"device": "cuda"}, "there is no cuda device here"),
        (
            {"device": "cuda", "launch": {"launcher": "slurm", "executor": "local"}},
            "there is no cuda device here",
        ),
        ({"device": "cuda", "launch": JOBS}, "add --precision bf16"),
    ],
)
def test_what_cannot_be_told_here_is_asked_for(
    suite: str, overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _cell(suite, **overrides)


def test_a_plan_says_for_what_the_cells_are(bench: Bench, suite: str) -> None:
    words = ("run", "--suite", suite, "--dry-run", "--launch", "slurm")
    unsaid = bench(*words)
    assert unsaid.returncode == 0, unsaid.stderr
    assert "on cpu" in unsaid.stdout
    assert "this machine has no GPU, so these are cells for CPUs" in unsaid.stdout + unsaid.stderr
    said = bench(*words, "--device", "cuda", "--precision", "bf16")
    assert said.returncode == 0, said.stderr
    assert "on cuda, precision bf16" in said.stdout
    assert "no GPU" not in said.stdout + said.stderr
