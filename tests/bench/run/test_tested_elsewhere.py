"""Models tested on data sets that they were not trained on: what a user does and sees."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bench import records
from bench.errors import UserError
from bench.store.mlflow import RecordedCell, Store
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from tests.bench.conftest import run_here

MINE = '''
import torch
from torch import nn
from datasets.contract import Dataset, Spec
from models.contract import Predictor, Recipe, Size

class Grey(Dataset):
    """Clips of one brightness up to `most`."""

    def __init__(self, most: int = 100, horizon: int = 2, side: int = 8):
        self.spec, self.most = Spec((1, side, 12), 3, horizon), most

    def train_clips(self, count, generator):
        levels = torch.randint(0, self.most, (count, 1, 1, 1, 1), generator=generator)
        return levels.byte().repeat(1, self.spec.clip_frames, *self.spec.frame_shape)

    def held_out(self, split):
        seed = {"validation": 1, "test": 2}[split]
        return self.train_clips(20, torch.Generator().manual_seed(seed))

class Constant(Predictor):
    """One brightness, learnt, for whatever clip; the weight has two names, as tied ones have."""

    sizes = {"only": Size(Recipe("test", learning_rate=0.02, batch_size=16))}

    def __init__(self, frame_shape):
        super().__init__(frame_shape)
        self.level = self.tied = nn.Parameter(torch.zeros(1))

    def forward(self, context, horizon):
        return self.level.expand(len(context), horizon, *context.shape[2:])
'''
SUITE = """
models = ["{mine}:Constant"]
datasets = ["{mine}:Grey"]
budget = "60steps"

[evaluation]
test_clips = 16
validation_clips = 4
evaluations = 2
also_test_on = [{also}]
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    return tmp_path / "mine.py"


def suite(mine: Path, *options: str) -> Path:
    """A suite that is also tested on `Grey` with these options."""
    also = ", ".join(f'"{mine}:Grey{option}"' for option in options)
    (mine.parent / "own.toml").write_text(SUITE.format(mine=mine, also=also), encoding="utf-8")
    return mine.parent / "own.toml"


def run(mine: Path, *options: str) -> tuple[RecordedCell, str]:
    """The newest cell of the suite, and what was printed."""
    results = mine.parent / "results"
    done = run_here("run", "--suite", suite(mine, *options), "--results", results)
    assert done.returncode == 0, done.stdout + done.stderr
    newest = max(Store(f"sqlite:///{results}/mlflow.db").cells("own"), key=lambda c: c.started)
    return newest, done.stdout


def test_a_model_is_tested_elsewhere_and_later_ones_need_no_training(
    mine: Path, empty_store: Path
) -> None:
    shutil.copytree(empty_store, mine.parent / "results")
    first, _ = run(mine, "", "(most=250, horizon=4)")
    assert first.params[records.ALSO_TESTED_ON] == '["Grey(horizon=4, most=250)"]'
    learnt = first.metrics["test/mse"]
    assert 0 < learnt < first.metrics["elsewhere/0/mse"]

    second, printed = run(mine, "(most=101)", "(most=250, horizon=4)")
    assert "rescore" in printed
    assert second.metrics["test/mse"] == learnt
    assert second.metrics["elsewhere/0/mse"] == pytest.approx(learnt, rel=0.3)
    assert second.metrics["elsewhere/1/mse"] == first.metrics["elsewhere/0/mse"]

    artifacts = mine.parent / "results" / "artifacts" / "own" / second.run_id / "artifacts"
    for place, frames in enumerate((2, 4)):
        table = pd.read_parquet(artifacts / "elsewhere" / str(place) / records.PER_FRAME_TABLE)
        assert len(table) == 16 * frames
        assert table["mse"].mean() == pytest.approx(second.metrics[f"elsewhere/{place}/mse"])
    report = (mine.parent / "results" / "own" / "report" / "report.md").read_text()
    assert "| model | trained on | Grey | Grey(most=101) | Grey(horizon=4, most=250) |" in report


def test_a_further_data_set_that_cuts_the_same_clips_elsewhere_is_another_test(mine: Path) -> None:
    digests = set()
    for context, horizon in ((3, 2), (2, 3)):
        also = mine.with_name(f"also{context}.py")
        also.write_text(MINE.replace("3, horizon)", f"{context}, {horizon})"), encoding="utf-8")
        text = SUITE.format(mine=mine, also=f'"{also}:Grey(most=250)"')
        (mine.parent / "own.toml").write_text(text, encoding="utf-8")
        loaded = load_suite(str(mine.parent / "own.toml")).with_overrides(device="cpu")
        digests |= {(cell.trained, cell.scored) for cell in settle(loaded)}
    assert len(digests) == 2
    assert len({trained for trained, _ in digests}) == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("(side=16)", r"frames of 1x8x12 \(Grey\) cannot be tested on those of 1x16x12"),
        ("(depth=3)", "unknown option"),
    ],
)
def test_what_no_model_of_the_suite_can_be_tested_on_is_told_before_the_run(
    mine: Path, option: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        settle(load_suite(str(suite(mine, option))).with_overrides(device="cpu"))


def test_what_is_recognised_is_no_further_data_set_of_predictors(mine: Path) -> None:
    text = suite(mine, "").read_text().replace(f'{mine}:Grey"]\n', 'ucf101/actions"]\n', 2)
    (mine.parent / "own.toml").write_text(text.replace('ucf101/actions"]', f'{mine}:Grey"]', 1))
    with pytest.raises(UserError, match="ucf101/actions is for recognition"):
        load_suite(str(mine.parent / "own.toml"))
