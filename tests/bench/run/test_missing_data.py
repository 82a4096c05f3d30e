"""Data that are not here: one line that says what to get; in a suite the other cells run."""

from pathlib import Path

import pytest

from bench import records
from bench.store.mlflow import Store
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from tests.bench.conftest import Bench

ABSENT = '''
from datasets.contract import DataMissing, Dataset
from datasets.moving_mnist import MovingMNIST

class Absent(Dataset):
    """A data set whose files nobody has."""

    def __init__(self):
        raise DataMissing("get clips.npy from the authors and put it into data/")

    def train_clips(self, count, generator): ...

    def held_out(self, split): ...

class Late(MovingMNIST):
    """A data set that looks for its test clips late."""

    def held_out(self, split):
        if split == "test":
            raise DataMissing("test.npy is not there: get it")
        return super().held_out(split)

class Gone(MovingMNIST):
    """A data set whose files go while a cell trains."""

    def train_clips(self, count, generator):
        raise DataMissing("train.npy is gone: put it back")

class Few(MovingMNIST):
    """A data set of three validation clips and five test clips, or as many as asked."""

    def __init__(self, test_clips=5):
        super().__init__()
        self.counts = {"validation": 3, "test": test_clips}

    def held_out(self, split):
        return super().held_out(split)[: self.counts[split]]
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
    told = done.stdout.splitlines()
    start = told.index("1 skipped; once the reason is gone, the same line runs them:")
    assert "get clips.npy from the authors" in told[start + 1]
    assert told[start + 2 :] == ["  copy_last/Absent/0"]


def _skipped(user_suite: Path, dataset: str) -> str:
    suite = load_suite(str(user_suite)).with_overrides(datasets=[dataset], device="cpu")
    cell = settle(suite)[0]
    _ = cell.scored, cell.name
    return cell.missing_data


def test_data_that_are_found_missing_late_skip_the_cell_too(user_suite: Path, absent: str) -> None:
    late = absent.replace("Absent", "Late")
    assert _skipped(user_suite, late) == "test.npy is not there: get it"


def test_a_split_without_clips_skips_the_cell(user_suite: Path, absent: str) -> None:
    empty = absent.replace("Absent", "Few(test_clips=0)")
    assert _skipped(user_suite, empty) == f"{empty} has no test clips: prepare more of it"


def test_fewer_held_out_clips_than_asked_for_are_all_used(user_suite: Path, absent: str) -> None:
    suite = load_suite(str(user_suite)).with_overrides(
        datasets=[absent.replace("Absent", "Few")],
        device="cpu",
        evaluation={"test_clips": 4, "validation_clips": 100},
    )
    cell = settle(suite)[0]
    assert (cell.params["test_clips"], cell.params["validation_clips"]) == (4, 3)
    fewer = cell.data.digest("test", 3)
    assert cell.data_digests == {
        "validation": cell.data.digest("validation", 3),
        "test": cell.data.digest("test", 4),
    }
    assert fewer not in cell.data_digests.values()


def test_data_that_go_in_training_skip_the_cell(
    bench: Bench, user_suite: Path, user_models: Path, absent: str, tmp_path: Path
) -> None:
    gone = absent.replace("Absent", "Gone")
    words = ["--models", f"{user_models}:Tiny", "--datasets", gone]
    done = bench("run", "--suite", user_suite, *words, report=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run, copies = Store(f"sqlite:///{tmp_path}/results/mlflow.db").cells("own")
    assert run.name.startswith("Tiny")
    assert run.tags[records.STATUS] == "skipped"
    assert run.tags[records.ERROR] == "train.npy is gone: put it back"
    assert copies.tags[records.STATUS] == "done"  # which trains on nothing
    assert "1 skipped" in done.stdout


def test_a_suite_without_any_data_is_a_mistake(bench: Bench, user_suite: Path, absent: str) -> None:
    done = bench("run", "--suite", user_suite, "--datasets", absent)
    assert done.returncode == 2
    assert done.stderr == "error: get clips.npy from the authors and put it into data/\n"
