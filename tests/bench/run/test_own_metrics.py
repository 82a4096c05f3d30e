"""A cell is scored by the metrics that belong to its data set, each further one and its model."""

from pathlib import Path

import pytest
import torch

from bench.errors import UserError
from bench.score.metrics import METRICS
from bench.store.mlflow import RecordedCell, Store
from bench.suite import data
from bench.suite.cell import Cell
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from tests.bench.conftest import run_here

MINE = '''
import torch
from datasets.contract import Dataset, Quantity, Spec
from models.contract import Predictor, Size

class Maps(Dataset):
    """Noise of one shape."""

    facts = {}

    def __init__(self):
        self.spec = Spec((1, 16, 20), 3, 2, **self.facts)

    def train_clips(self, count, generator):
        shape = (count, self.spec.clip_frames, *self.spec.frame_shape)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    def held_out(self, split):
        return self.train_clips(6, torch.Generator().manual_seed(len(split)))

class Globe(Maps):
    facts = {
        "quantities": (Quantity("2 m temperature", "K", 200.0, 320.0),),
        "latitudes": tuple(84.375 - 11.25 * row for row in range(16)),
    }

    def climatology(self):
        return torch.full(self.spec.frame_shape, 0.5)

class Radar(Maps):
    facts = {"quantities": (Quantity("rain", "mm/h", 0, 50),), "thresholds": (10, 40)}

class Still(Predictor):
    """The mean of the last two frames."""

    def forward(self, context, horizon):
        return context[:, -2:].mean(1, keepdim=True).repeat(1, horizon, 1, 1, 1)

class Guesses(Still):
    """Draws how much darker it gets."""

    def sample(self, context, horizon, samples, generator):
        futures = super().sample(context, horizon, samples, generator)
        shape = (len(futures), samples, 1, 1, 1, 1)
        return futures * torch.rand(shape, generator=generator)
'''
SUITE = """
models = ["{mine}:Still"]
datasets = ["{mine}:Globe"]
budget = "2steps"

[evaluation]
test_clips = 6
validation_clips = 2
also_test_on = ["{mine}:Radar", "{mine}:Maps"]
"""
GLOBE = {"rmse_by_area", "acc"}
RADAR = {"rmse", "csi", "csi_pool4", "csi_pool16", "pod", "far", "hss"}
DRAWN = {"crps", "mse_of_mean", "best_mse", "best_ssim"}
OF_SOME = GLOBE | RADAR | DRAWN | {"fvd"}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The suite."""
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    path = tmp_path / "own.toml"
    path.write_text(SUITE.format(mine=tmp_path / "mine.py"), encoding="utf-8")
    return path


def _measured(cell: RecordedCell, prefix: str) -> set[str]:
    names = (key.removeprefix(prefix) for key in cell.metrics if key.startswith(prefix))
    return {name for name in names if name in OF_SOME}


def test_each_data_set_has_its_own_metrics(own: Path) -> None:
    assert METRICS["prediction"].keys() >= OF_SOME
    results = own.parent / "results"
    done = run_here("run", "--suite", own, "--results", results, report=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cell, copies = Store(f"sqlite:///{results}/mlflow.db").cells("own")
    assert [_measured(each, "test/") for each in (cell, copies)] == [GLOBE, GLOBE]
    assert 0 < cell.metrics["test/rmse_by_area"] < 120
    assert 0 < abs(cell.metrics["test/acc"]) < 0.2  # noise, about its mean
    assert cell.params["quantity"] == "2 m temperature (K)"
    assert [_measured(cell, f"elsewhere/{place}/") for place in range(2)] == [RADAR, set()]
    assert not any("not_measured" in tag and tag.endswith(tuple(OF_SOME)) for tag in cell.tags)


def test_a_model_that_draws_futures_has_metrics_of_its_own(own: Path) -> None:
    text = own.read_text(encoding="utf-8").replace(":Still", ":Guesses").replace(":Globe", ":Maps")
    own.write_text(text, encoding="utf-8")
    results = own.parent / "results"
    done = run_here("run", "--suite", own, "--results", results)
    assert done.returncode == 0, done.stdout + done.stderr
    cell, _ = Store(f"sqlite:///{results}/mlflow.db").cells("own")
    assert _measured(cell, "test/") == DRAWN
    assert _measured(cell, "elsewhere/0/") == DRAWN | RADAR
    assert cell.params["samples"] == "10"
    assert cell.metrics["test/crps"] < cell.metrics["test/mae"]
    assert cell.metrics["test/best_mse"] < cell.metrics["test/mse_of_mean"]
    (page,) = results.glob("own/**/report.md")
    heading = "| MSE of the mean ↓ | MSE, best of N ↓ | SSIM, best of N ↑ |"
    assert heading in page.read_text(encoding="utf-8")


def test_how_many_futures_are_drawn_concerns_the_score_of_models_that_draw(own: Path) -> None:
    def scored(model: str, samples: int) -> tuple[str, str]:
        suite = load_suite(str(own)).with_overrides(device="cpu", models=[f"{own.parent}/{model}"])
        evaluation = suite.evaluation.model_copy(update={"samples": samples})
        (cell,) = settle(suite.model_copy(update={"evaluation": evaluation}))
        return cell.trained, cell.scored

    assert scored("mine.py:Still", 10) == scored("mine.py:Still", 20)
    before, after = scored("mine.py:Guesses", 10), scored("mine.py:Guesses", 20)
    assert before[0] == after[0]
    assert before[1] != after[1]


def _cell(own: Path) -> Cell:
    """The cell of the suite, with the data as they are now."""
    data.climatology.cache_clear()
    data.climatology_digest.cache_clear()
    (cell,) = settle(load_suite(str(own)).with_overrides(device="cpu"))
    return cell


def test_another_climatology_is_another_score_of_the_same_weights(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, globe = _cell(own), _cell(own).dataset_class
    assert _cell(own).scored == before.scored
    monkeypatch.setattr(globe, "climatology", lambda _: torch.full((1, 16, 20), 0.1))
    after = _cell(own)
    assert after.trained == before.trained
    assert after.scored != before.scored
    monkeypatch.setattr(globe, "climatology", lambda _: torch.full((16, 20), 0.1))
    with pytest.raises(UserError, match=r"the climatology of .*Globe is torch.float32 \(16, 20\)"):
        _ = _cell(own).scored
