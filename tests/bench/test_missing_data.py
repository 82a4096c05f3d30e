"""Data that are not here: one line that says what to get; in a suite the other cells run."""

from pathlib import Path

import pytest

from bench import records
from bench.tracking import Store
from tests.bench.conftest import Bench

ABSENT = '''
from datasets.contract import DataMissing, Dataset

class Absent(Dataset):
    """A data set whose files nobody has."""

    def __init__(self):
        raise DataMissing("get clips.npy from the authors and put it into data/")

    def train_clips(self, count, generator): ...

    def held_out(self, split): ...
'''


@pytest.fixture
def absent(tmp_path: Path) -> str:
    (tmp_path / "absent.py").write_text(ABSENT, encoding="utf-8")
    return f"{tmp_path}/absent.py:Absent"


def test_cells_without_data_are_skipped_with_the_reason_and_the_others_run(
    bench: Bench, user_suite: Path, absent: str, tmp_path: Path
) -> None:
    words = ["--models", "copy_last", "--datasets", "moving_mnist", absent]
    done = bench("run", "--suite", user_suite, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = Store(f"sqlite:///{tmp_path}/results/mlflow.db").cells("own")
    statuses = {run.params["dataset"]: run.tags[records.STATUS] for run in runs}
    assert statuses == {"moving_mnist": "done", "Absent": "skipped"}
    report = (tmp_path / "results" / "own" / "report" / "report.md").read_text(encoding="utf-8")
    assert "get clips.npy from the authors" in report
    assert "get clips.npy from the authors" in done.stdout


def test_a_suite_without_any_data_is_a_mistake(bench: Bench, user_suite: Path, absent: str) -> None:
    done = bench("run", "--suite", user_suite, "--datasets", absent)
    assert done.returncode == 2
    assert done.stderr == "error: get clips.npy from the authors and put it into data/\n"
