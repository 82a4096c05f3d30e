"""What a user types and reads: one clear line for a mistake, exit code 2, nothing half-written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cli
from bench.__main__ import main
from bench.errors import UserError
from bench.suite import catalogue
from tests.bench.conftest import Bench, command, environment


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--suite", "mnits"], "unknown suite 'mnits': did you mean 'mnist'?"),
        (["run", "--suite", "smoke", "--models", "convlstn"], "did you mean 'convlstm'?"),
        (["run", "--suite", "smoke", "--budget", "soon"], "write 60s, 5m"),
        (["run", "--suite", "smoke", "--size", "tiny", "--models", "convlstm"], "published"),
        (["run", "--suite", "smoke", "--device", "mps"], "there is no mps device here"),
        (["run", "--suite", "absent.toml"], "no suite file absent.toml"),
        (["report", "--suite", "smoke"], "no cell of the suite 'smoke'"),
        (["check", "convltsm"], "did you mean 'convlstm'?"),
        (["data", "prepare", "moving_mnits"], "did you mean 'moving_mnist'?"),
        (["data", "show", "moving_mnist", "--clips", "0"], "from 1 on"),
        (["predict", "--model", "m", "--input", "no.mp4", "--out", "o"], "there is no no.mp4"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    shutil.copytree(empty_store, tmp_path / "results")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit) as end:
        main()
    out, error = capsys.readouterr()
    assert end.value.code == 2
    assert message in error
    assert error.count("\n") == 1
    assert "Traceback" not in error + out
    written = {p.name for p in tmp_path.rglob("*") if p.is_file()} - {p.name for p in before}
    assert written <= {"mlflow.lock"}


def test_a_mistake_is_one_line_in_a_process_of_its_own_too() -> None:
    line = command("run", "--suite", "mnits")
    done = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=280)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown suite 'mnits': did you mean 'mnist'?\n"


def test_debug_does_not_hide_where_a_mistake_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "run", "--suite", "mnits", "--debug"])
    with pytest.raises(UserError):
        main()


def test_a_dry_run_shows_the_plan_and_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    done = bench("run", "--suite", "smoke", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "predrnn" in done.stdout
    assert not (tmp_path / "results" / "smoke").exists()


@pytest.mark.parametrize(
    ("what", "name"), [("models", "convlstm"), ("datasets", "moving_mnist"), ("suites", "mnist")]
)
def test_ls_lists_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str, name: str
) -> None:
    if what == "models":  # to count the operations of every published one takes a minute
        few = {each: catalogue.all_models()[each] for each in ("convlstm", "copy_last")}
        monkeypatch.setattr(catalogue, "all_models", lambda: few)
    assert cli.main(["ls", what, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert name in {row["name"] for row in rows}


def test_ls_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ls", "suites"]) == 0
    assert "mnist" in capsys.readouterr().out


def test_check_of_a_misspelt_class_suggests_the_near_one(bench: Bench, user_models: Path) -> None:
    done = bench("check", f"{user_models}:Tyni")
    assert done.returncode == 2
    assert "did you mean 'Tiny'?" in done.stderr


def test_check_keeps_a_good_model_and_breaks_a_bad_one(bench: Bench, user_models: Path) -> None:
    good = bench("check", f"{user_models}:Tiny")
    assert good.returncode == 0, good.stdout
    bad = bench("check", f"{user_models}:Raises")
    assert bad.returncode == 1
    assert "no such key in the model" in bad.stdout
