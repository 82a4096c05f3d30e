"""A suite on a data set with covariates: what a user sees, and what is recorded."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nextframe
from bench import cli, records
from bench.errors import UserError
from bench.predict.trained import _spec as recorded_spec
from bench.run.plan import settings
from bench.run.record import Record
from bench.store.mlflow import RecordedCell, Store
from bench.suite import catalogue
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from tests.bench.conftest import run_here

MINE = '''
import torch
from datasets.contract import Covariate, Dataset, Spec

class Lamp(Dataset):
    """Frames of one brightness: that of the switch beside the frame before."""

    def __init__(self, *, switches: tuple[str, ...] = ("switch",), more: int = 0):
        switches += tuple(f"switch {number}" for number in range(more))
        self.spec = Spec((1, 8, 8), 2, 2, covariates=tuple(map(Covariate, switches)))

    def train_clips(self, count, generator):
        return self.train_clips_with_covariates(count, generator)[0]

    def train_clips_with_covariates(self, count, generator):
        switch = torch.randint(2, (count, 5), generator=generator)
        frames = (200 * switch[:, :-1, None, None, None]).byte().repeat(1, 1, 1, 8, 8)
        numbers = len(self.spec.covariates)
        return frames, switch[:, 1:, None].float().repeat(1, 1, numbers)

    def held_out(self, split):
        seed = {"validation": 1, "test": 2}[split]
        return Fixed(*self.train_clips_with_covariates(8, torch.Generator().manual_seed(seed)))

class Fixed:
    def __init__(self, clips, beside):
        self.clips, self.beside = clips, beside

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, window):
        return self.clips[window]

    def covariates(self, window):
        return self.beside[window]
'''
SUITE = """
models = ["copy_last", "predrnn_v2(kernel=3, layers=1, width=4)"]
datasets = ["{mine}:Lamp"]
budget = "4steps"

[recipe]
source = "test"
learning_rate = 1e-2
batch_size = 4

[evaluation]
test_clips = 8
validation_clips = 4
evaluations = 1
showcase_clips = 1
also_test_on = [{also}]
"""
SAID = "Take no covariates (switch), so shown frames only: copy_last."


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    return tmp_path / "mine.py"


def _suite(mine: Path, also: str = "") -> Path:
    path = mine.parent / "lamps.toml"
    path.write_text(SUITE.format(mine=mine, also=also), encoding="utf-8")
    return path


def _cells(results: Path) -> dict[str, RecordedCell]:
    return {
        run.params["model"]: run for run in Store(f"sqlite:///{results}/mlflow.db").cells("lamps")
    }


def test_the_plan_the_table_and_the_records_say_who_was_given_what(
    mine: Path, empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = mine.parent / "results"
    shutil.copytree(empty_store, results)
    done = run_here("run", "--suite", _suite(mine), "--results", results, report=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " ".join(done.stdout.split()).count(SAID) == 2  # in the plan, and below the table

    given, blind = (_cells(results)[name] for name in (PREDRNN, "copy_last"))
    assert given.params[records.COVARIATES] == '["switch"]'
    assert records.NOT_SHOWN not in given.tags
    assert blind.tags[records.NOT_SHOWN] == "switch"
    assert records.COVARIATES not in blind.params

    model = nextframe.load(given.run_id, results=results, device="cpu")
    assert model.covariates == ("switch",)
    clips = catalogue.open_dataset(f"{mine}:Lamp").held_out("test")
    numbers = clips.covariates(slice(8))  # type: ignore[attr-defined]
    predicted = model.predict(clips[:][:, :2], covariates=numbers.numpy())
    error = (predicted - clips[:][:, 2:] / 255).square().mean()
    np.testing.assert_allclose(error, given.metrics["test/mse"], rtol=1e-5)
    reversed_view = numbers.numpy().astype(">f8").copy()[::-1]
    other_layout = model.predict(clips[:][:, :2].flip(0), covariates=reversed_view)
    torch.testing.assert_close(other_layout.flip(0), predicted)
    for wrong, said in (
        (None, "pass them as covariates"),
        (numbers[:, :3], r"not \[8, 3, 1\]"),
        (numbers * torch.nan, "not all finite real numbers"),
        (numbers * 1j, "not all finite real numbers"),
    ):
        with pytest.raises(UserError, match=rf"given covariates \(switch\).*{said}"):
            model.predict(clips[:][:, :2], covariates=wrong)
    no_numbers: tuple[Any, ...] = ("on", np.full((8, 4, 1), "on"), [[1], [1, 2]], {})
    for none in no_numbers:
        with pytest.raises(UserError, match="covariates are an array of numbers"):
            model.predict(clips[:][:, :2], covariates=none)
    with pytest.raises(UserError, match="clips are an array of numbers"):
        model.predict("clip.npy", covariates=numbers)  # type: ignore[arg-type]
    copier = nextframe.load(blind.run_id, results=results, device="cpu")
    with pytest.raises(UserError, match="takes no covariates"):
        copier.predict(clips[:][:, :2], covariates=numbers)

    np.save(mine.parent / "clip.npy", np.zeros((3, 8, 8), np.uint8))
    words = ["predict", "--model", given.run_id, "--input", str(mine.parent / "clip.npy")]
    words += ["--out", str(mine.parent / "out"), "--tracking-uri", f"sqlite:///{results}/mlflow.db"]
    with pytest.raises(UserError, match=r"given covariates \(switch\), which files"):
        cli.main(words)
    assert not (mine.parent / "out").exists()


PREDRNN = "predrnn_v2(kernel=3, layers=1, width=4)"


@pytest.mark.parametrize(
    ("option", "there"), [("(switches=('dial',))", "dial"), ("(switches=())", "none")]
)
def test_a_model_that_is_given_some_is_tested_where_there_are_the_same(
    mine: Path, option: str, there: str
) -> None:
    settle(load_suite(str(_suite(mine, f"\"{mine}:Lamp(switches=('switch',))\""))))
    with pytest.raises(UserError, match=rf"covariates of Lamp \(switch\), .* which has {there}$"):
        settle(load_suite(str(_suite(mine, f'"{mine}:Lamp{option}"'))))


def test_how_many_a_model_is_given_is_up_to_the_data_set() -> None:
    with pytest.raises(UserError, match="unknown option of predrnn_v2 'covariates'"):
        catalogue.model("predrnn_v2(covariates=3)")
    model = nextframe.build_model("predrnn_v2", (1, 8, 8), size="small", covariates=2)
    assert model(torch.rand(1, 2, 1, 8, 8), 2, torch.rand(1, 4, 2)).shape == (1, 2, 1, 8, 8)
    with pytest.raises(UserError, match="takes no covariates"):
        nextframe.build_model("convlstm", (1, 8, 8), covariates=2)


def test_of_many_covariates_the_first_are_named_and_all_are_counted(mine: Path) -> None:
    suite = load_suite(str(_suite(mine)))
    cells = settle(suite.model_copy(update={"datasets": (f"{mine}:Lamp(switches=(), more=1000)",)}))
    said = "(switch 0, switch 1, " + ", ".join(f"switch {n}" for n in range(2, 12))
    assert f"{said} and 988 more)" in " ".join(settings(cells).remarks)

    blind, given = (Record.of(cell, results=mine.parent, command="", parent="") for cell in cells)
    assert f"({blind.tags[records.NOT_SHOWN]})" == f"{said} and 988 more)"
    assert given.params[records.COVARIATES] == "1000"
    run = RecordedCell("id", given.name, "", datetime.now(UTC), given.params, given.tags, {})
    assert len(recorded_spec(run, ()).covariates) == 1000
