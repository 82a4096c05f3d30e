"""A recognition suite, whole: what a user does and sees, with a data set of their own."""

import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from bench import records
from bench.score.metrics import RECORDED
from bench.store.mlflow import RecordedCell, Store
from tests.bench.conftest import run_here

MINE = '''
import torch
from torch import nn
from datasets.contract import LabelledDataset, Spec
from models.contract import Classifier, Recipe, Size

class Corners(LabelledDataset):
    """Noise with a bright patch in one of six places; two clips a video."""

    spec = Spec((1, 8, 12), 3, 0, classes=("a", "b", "c", "d", "e", "f"))

    def _clips(self, labels, generator):
        shape = (len(labels), 3, 1, 8, 12)
        clips = torch.randint(0, 200, shape, generator=generator, dtype=torch.uint8)
        for clip, label in zip(clips, labels.tolist()):
            row, column = divmod(label, 3)
            clip[..., row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] += 40
        return clips

    def train_labelled_clips(self, count, generator):
        labels = torch.randint(0, 6, (count,), generator=generator)
        return self._clips(labels, generator), labels

    def held_out(self, split):
        videos = torch.arange(20).repeat_interleave(2)
        generator = torch.Generator().manual_seed({"validation": 1, "test": 2}[split])
        return Held(self._clips(videos % 6, generator), videos % 6, videos)

class Held:
    def __init__(self, clips, labels, videos):
        self.clips, self.labels, self.videos = clips, labels, videos

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, window):
        return self.clips[window]

class Pixels(Classifier):
    """A logistic regression of the mean frame."""

    sizes = {"only": Size(Recipe("test", learning_rate=0.03, batch_size=16))}

    def __init__(self, frame_shape, classes):
        super().__init__(frame_shape, classes)
        self.weigh = nn.Linear(96, classes)

    def forward(self, clip):
        return self.weigh(clip.mean(1).flatten(1) - 0.5)
'''

SUITE = """
task = "recognition"
models = ["class_frequency", "{mine}:Pixels"]
datasets = ["{mine}:Corners"]
budget = "150steps"

[evaluation]
test_clips = 1000
validation_clips = 10
evaluations = 3
"""


@pytest.fixture(scope="module")
def corners(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder after the run of a user's own suite, and what it printed."""
    folder = tmp_path_factory.mktemp("corners")
    shutil.copytree(empty_store, folder / "results")
    (folder / "mine.py").write_text(MINE, encoding="utf-8")
    suite = folder / "own.toml"
    suite.write_text(SUITE.format(mine=folder / "mine.py"), encoding="utf-8")
    done = _bench(folder, "run", "--suite", str(suite), "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done


def _bench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_here(*words, "--results", folder / "results")


@pytest.fixture
def store(corners: tuple[Path, object]) -> Store:
    return Store(f"sqlite:///{corners[0]}/results/mlflow.db")


@pytest.fixture
def runs(store: Store) -> dict[str, RecordedCell]:
    return {run.params["model"]: run for run in store.cells("own")}


def test_a_classifier_learns_and_the_baseline_does_not(runs: dict[str, RecordedCell]) -> None:
    learnt, baseline = runs["Pixels"].metrics, runs["class_frequency"].metrics
    assert learnt["test/video_top1"] > 0.8
    assert baseline["test/video_top1"] <= 0.2
    assert learnt["test/cross_entropy"] < 1.2 < baseline["test/cross_entropy"]


def test_a_cell_has_the_measures_and_costs_of_its_task(runs: dict[str, RecordedCell]) -> None:
    metrics = runs["Pixels"].metrics
    quality = {key for key in metrics if key.startswith("test/")}
    assert quality == {metric.key for metric in RECORDED["recognition"].values()}
    assert {"val/cross_entropy", "val/best_cross_entropy"} <= set(metrics)
    assert set(records.COST) <= set(metrics)
    assert (metrics["train/steps"], metrics["train/samples"]) == (150, 2400)
    assert metrics["model/flops_per_sample"] == 2 * 96 * 6
    assert metrics["val/best_cross_entropy"] <= metrics["val/cross_entropy"]


def test_the_run_says_its_task_and_what_was_used(runs: dict[str, RecordedCell]) -> None:
    params = runs["Pixels"].params
    assert (params["task"], params["classes"]) == ("recognition", "6")
    assert (params["context_frames"], params["horizon"], params["frame_shape"]) == (
        "3",
        "0",
        "1x8x12",
    )
    # There are 40; 1,000 were asked for.
    assert (params["test_clips"], params["validation_clips"]) == ("40", "10")


def test_the_tables_give_the_figures(store: Store, runs: dict[str, RecordedCell]) -> None:
    run = runs["Pixels"]
    clips, videos = (
        pd.read_parquet(str(store.artifact(run.run_id, name)))
        for name in (records.PER_CLIP_TABLE, records.PER_VIDEO_TABLE)
    )
    assert (len(clips), len(videos)) == (40, 20)
    for prefix, table in (("", clips), ("video_", videos)):
        right = accuracy_score(table["label"], table["predicted"])
        assert run.metrics[f"test/{prefix}top1"] == pytest.approx(right)
        assert run.metrics[f"test/{prefix}top5"] == pytest.approx((table["rank"] <= 5).mean())
    assert run.metrics["test/cross_entropy"] == pytest.approx(clips["cross_entropy"].mean())


def test_the_terminal_speaks_of_shares_and_of_the_baseline(
    corners: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    lines = corners[1].stdout.splitlines()
    (ended,) = [line for line in lines if line.startswith("Pixels/Corners/0: top-1")]
    assert " %, " in ended
    assert "x class-frequency" in ended
    assert any("val loss" in line for line in lines)
    assert not any("MSE" in line for line in lines)


def test_ls_cells_and_the_plan_show_the_leading_measure(corners: tuple[Path, object]) -> None:
    rows = json.loads(_bench(corners[0], "ls", "cells", "--format", "json").stdout)
    assert all(0 < row["test_video_top1"] <= 1 and row["test_mse"] is None for row in rows)
    suite = str(corners[0] / "own.toml")
    again = _bench(corners[0], "run", "--suite", suite, "--device", "cpu", "--dry-run")
    assert "done, top-1 " in again.stdout
