"""`bench speed` from the command line to MLflow, the table and the report."""

import csv
import importlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from bench import records
from bench.run.events import Finished
from bench.run.launchers.launcher import Job
from bench.run.launchers.local import LocalLauncher
from bench.speed.measure import measured
from bench.speed.speed import Subjects
from bench.store.mlflow import RecordedCell, Store
from tests.bench.conftest import Bench
from tests.bench.run.test_recognition import MINE as RECOGNITION

pytestmark = pytest.mark.usefixtures("here")

SMALLEST = "convlstm(kernel=3, layers=2, width=4)"
SHORT = "moving_mnist(context_frames=3, horizon=3)"
FAST = ("--dataset", SHORT, "--batch", 2, "--seconds", 0.01)
OF_EACH_STEP = (
    records.STEP_SECONDS,
    records.STEP_CPU_SECONDS,
    records.LATENCY_SECONDS,
    records.FLOPS_PER_SECOND,
    records.SHARE_OF_PEAK,
    records.OPERATIONS_PER_STEP,
    records.BYTES_PER_STEP,
    "memory/peak_bytes",
)


def recorded(results: Path) -> dict[str, RecordedCell]:
    """The newest row of each model, by its run's name."""
    store = Store(f"sqlite:///{results / 'mlflow.db'}")
    return {run.name: run for run in reversed(store.cells(records.SPEED, records.SPEED))}


def test_every_model_has_a_row_in_mlflow_the_table_and_the_report(
    bench: Bench, user_models: Path, tmp_path: Path
) -> None:
    results, table = tmp_path / "results", tmp_path / "table.md"
    models = ("copy_last", SMALLEST, f"{user_models}:Tiny", f"{user_models}:RunsOut")
    ended = bench("speed", *models, *FAST, "--against", "literal", "--out", table)
    assert ended.returncode == 1, ended.stderr  # one of them ran out of memory
    rows = recorded(results)
    built_in, own = rows[f"{SMALLEST}-small/{SHORT}"], rows[f"Tiny/{SHORT}"]

    for row in (built_in, own):
        assert row.is_done
        assert all(row.metrics[key] > 0 for key in OF_EACH_STEP)
        seconds, frames = row.metrics[records.STEP_SECONDS], row.metrics[records.FRAMES_PER_SECOND]
        assert frames == pytest.approx(2 * 6 / seconds)
        assert row.params["recipe.batch_size"] == "2"
        assert row.tags[records.DEVICE]
        assert row.tags[records.KERNELS]
    low, middle, high = (
        built_in.metrics[records.LITERAL_RATIO + ending]
        for ending in (records.LOWER_QUARTILE, "", records.UPPER_QUARTILE)
    )
    assert 0 < low <= middle <= high
    assert records.LITERAL_RATIO not in own.metrics
    baseline = rows[f"copy_last/{SHORT}"]
    assert records.LATENCY_SECONDS in baseline.metrics
    assert records.STEP_SECONDS not in baseline.metrics
    out = rows[f"RunsOut/{SHORT}"]
    assert out.tags[records.STATUS] == records.Status.OUT_OF_MEMORY

    report = results / "speed" / "report"
    (drawn,) = (report / "plots").iterdir()
    picture = drawn.read_bytes()
    assert picture.startswith(b"\x89PNG")
    texts = [ended.stdout, table.read_text(), (report / "report.md").read_text()]
    for text in (*texts, (report / "report.html").read_text()):
        assert all(name in text for name in ("copy", "Tiny", "convlstm", "literal / ours"))
        assert "out of memory" in text
    with (report / "table.csv").open(newline="") as file:
        exact = {line["model"]: line for line in csv.DictReader(file)}
    assert float(exact["Tiny"][records.STEP_SECONDS]) == own.metrics[records.STEP_SECONDS]

    again = bench("report", "--suite", "speed", "--out", tmp_path / "again")
    assert again.returncode == 0
    assert (tmp_path / "again" / "plots" / drawn.name).read_bytes() == picture


def test_classifiers_are_measured_on_a_data_set_of_their_own(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "seen.py").write_text(RECOGNITION, encoding="utf-8")
    dataset = ("--dataset", f"{tmp_path}/seen.py:Corners")
    models = ("class_frequency", f"{tmp_path}/seen.py:Pixels")
    ended = bench("speed", *models, *dataset, "--seconds", 0.01)
    assert ended.returncode == 0, ended.stderr
    rows = recorded(tmp_path / "results")
    trained = rows["Pixels/Corners"].metrics
    assert trained[records.FRAMES_PER_SECOND] == pytest.approx(
        16 * 3 / trained[records.STEP_SECONDS]
    )
    assert rows["class_frequency/Corners"].metrics[records.LATENCY_SECONDS] > 0


def test_what_cannot_be_recorded_is_shown(
    bench: Bench, user_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Store, "points", fail)
    ended = bench("speed", f"{user_models}:Tiny", *FAST)
    assert ended.returncode == 1
    assert "no space left" in ended.stderr
    assert "samples/s" in ended.stdout


def test_a_row_says_how_to_measure_it_again_and_the_newest_counts(
    bench: Bench, user_models: Path, tmp_path: Path
) -> None:
    bench("speed", f"{user_models}:Tiny", *FAST)
    first = recorded(tmp_path / "results")[f"Tiny/{SHORT}"]
    words = shlex.split(first.tags[records.COMMAND])
    assert bench(*words[3:]).returncode == 0
    newest = recorded(tmp_path / "results")[f"Tiny/{SHORT}"]
    assert newest.run_id != first.run_id
    assert newest.params == first.params
    report = (tmp_path / "results" / "speed" / "report" / "report.html").read_text()
    assert newest.run_id in report
    assert first.run_id not in report


def test_one_settled_cell_is_measured_by_hand_and_not_recorded(
    bench: Bench, user_models: Path, tmp_path: Path
) -> None:
    bench("speed", f"{user_models}:Tiny", *FAST)
    (cell,) = (tmp_path / "results" / "speed" / "cells").glob("*.json")
    before = recorded(tmp_path / "results")[f"Tiny/{SHORT}"].run_id
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.run.stop.StopRequest.on_signals", lambda _: None)
        alone = bench("speed", "--cell", cell, "--seconds", 0.01)
    assert records.STEP_SECONDS in alone.stdout
    assert recorded(tmp_path / "results")[f"Tiny/{SHORT}"].run_id == before


def test_a_process_that_crashes_costs_its_row_which_says_so(
    bench: Bench, user_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # a child, that is
    ended = bench("speed", f"{user_models}:Crashes", *FAST)
    row = recorded(tmp_path / "results")[f"Crashes/{SHORT}"]
    assert ended.returncode == 1
    assert row.tags[records.STATUS] == records.Status.FAILED
    assert "SIGABRT" in row.tags[records.ERROR]
    assert "SIGABRT" in ended.stdout


@pytest.mark.parametrize("stopped", [False, True])
def test_a_process_killed_from_outside_is_recorded_but_not_one_that_was_to_stop(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    def run(launcher: LocalLauncher, jobs: Sequence[Job]) -> Iterator[tuple[Job, Finished]]:
        if stopped:
            launcher.stop()
        for job in jobs:
            yield job, Finished(records.Status.INTERRUPTED, "killed")

    monkeypatch.setattr("tests.bench.speed.conftest.LauncherHere.run", run)
    ended = bench("speed", "copy_last", *FAST)
    assert ended.returncode == (130 if stopped else 1)
    assert "killed" in ended.stderr
    assert bool(recorded(tmp_path / "results")) is not stopped


def test_sides_that_do_not_compute_the_same_are_not_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    literal = importlib.import_module("tests.literal.convlstm")
    right = literal.training_loss
    monkeypatch.setattr(literal, "training_loss", lambda *given: 1.01 * right(*given))
    (cell,) = Subjects((SMALLEST,), SHORT, "small", 2, "cpu", "32").cells()
    finished = measured(cell, 0.01, "literal", lambda _: None)
    assert finished.status is records.Status.FAILED
    assert "transcription" in finished.error
    assert records.STEP_SECONDS in finished.metrics
    assert records.LITERAL_RATIO not in finished.metrics


def test_a_users_model_of_a_known_name_is_not_taken_for_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from models.copy_last import CopyLast\nclass Mine(CopyLast):\n    name = 'convlstm'\n",
        encoding="utf-8",
    )
    (cell,) = Subjects((f"{file}:Mine",), SHORT, "auto", 2, "cpu", "32").cells()
    finished = measured(cell, 0.01, "literal", lambda _: None)
    assert finished.status is records.Status.DONE
    assert records.PAIRS not in finished.metrics


def test_all_sizes_of_a_model_are_cells_of_their_own() -> None:
    cells = Subjects(("predrnn", "copy_last"), "moving_mnist", "all", None, "cpu", "32").cells()
    names = [cell.name.partition("/")[0] for cell in cells]
    assert names == ["predrnn-published", "predrnn-small", "copy_last"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("convlstmm",), "convlstm"),
        (("--dataset", "moving_mnits"), "moving_mnist"),
        (("convlstm", "--size", "smal"), "small"),
        (("copy_last", "--batch", 0), "--batch"),
        (("copy_last", "--seconds", 0), "--seconds"),
        (("copy_last", "--seconds", "nan"), "--seconds"),
        (("copy_last", "--threads", 0), "--threads"),
        (("copy_last", "--out", "no/such/folder/table.md"), "--out"),
    ],
)
def test_bad_input_is_said_in_a_line(bench: Bench, words: tuple[object, ...], said: str) -> None:
    ended = bench("speed", *words)
    assert ended.returncode == 2
    assert said in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_absent_is_said_before_anything_is_measured(bench: Bench) -> None:
    ended = bench("speed", "copy_last", "--device", "cuda")
    assert ended.returncode == 2
    assert "cuda" in ended.stderr


def test_without_a_checkout_there_are_no_transcriptions(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.speed.literal.FOLDER", tmp_path / "none")
    ended = bench("speed", "copy_last", "--against", "literal")
    assert ended.returncode == 2
    assert "tests/literal" in ended.stderr


def test_a_report_of_nothing_says_what_measures(bench: Bench) -> None:
    ended = bench("report", "--suite", "speed")
    assert ended.returncode == 2
    assert "bench speed" in ended.stderr
