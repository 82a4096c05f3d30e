"""A cell is scored by the metrics that belong to its data set, and to each further one."""

from pathlib import Path

from bench.score.metrics import METRICS
from bench.store.mlflow import RecordedCell, Store
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
        return torch.full(self.spec.frame_shape, USUAL)

class Radar(Maps):
    facts = {"quantities": (Quantity("rain", "mm/h", 0, 50),), "thresholds": (10, 40)}

class Still(Predictor):
    """The mean of the last two frames."""

    def forward(self, context, horizon):
        return context[:, -2:].mean(1, keepdim=True).repeat(1, horizon, 1, 1, 1)
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
OF_SOME = GLOBE | RADAR | {"fvd"}


def _run(folder: Path, usual: float) -> RecordedCell:
    """The newest cell of the suite where the climatology is `usual`."""
    mine = folder / "mine.py"
    mine.write_text(MINE.replace("USUAL", str(usual)), encoding="utf-8")
    (folder / "own.toml").write_text(SUITE.format(mine=mine), encoding="utf-8")
    results = folder / "results"
    done = run_here("run", "--suite", folder / "own.toml", "--results", results)
    assert done.returncode == 0, done.stdout + done.stderr
    return max(Store(f"sqlite:///{results}/mlflow.db").cells("own"), key=lambda c: c.started)


def _measured(cell: RecordedCell, prefix: str) -> set[str]:
    names = (key.removeprefix(prefix) for key in cell.metrics if key.startswith(prefix))
    return {name for name in names if name in OF_SOME}


def test_each_data_set_has_its_own_metrics_and_a_climatology_counts(tmp_path: Path) -> None:
    assert METRICS["prediction"].keys() >= OF_SOME
    cell = _run(tmp_path, 0.5)
    assert _measured(cell, "test/") == GLOBE
    assert 0 < cell.metrics["test/rmse_by_area"] < 120
    assert 0 < abs(cell.metrics["test/acc"]) < 0.2  # noise, about its mean
    assert cell.params["quantity"] == "2 m temperature (K)"
    assert [_measured(cell, f"elsewhere/{place}/") for place in range(2)] == [RADAR, set()]
    assert not any("not_measured" in tag and tag.endswith(tuple(OF_SOME)) for tag in cell.tags)
    warmer = _run(tmp_path, 0.1)
    assert warmer.run_id != cell.run_id
    assert warmer.metrics["test/acc"] > 0.5  # both are far from it
    assert warmer.metrics["test/rmse_by_area"] == cell.metrics["test/rmse_by_area"]
