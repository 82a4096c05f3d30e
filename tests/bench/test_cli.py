"""What a user types and reads: one clear line for a mistake, exit code 2, nothing half-written."""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from bench import cli
from bench.__main__ import main
from bench.cli.options import OF_SEVERAL
from bench.errors import UserError, unknown
from bench.store.address import database_file, store_uri
from bench.store.mlflow import Store
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
        (["data", "show", "moving_mnist", "--clips", "0"], "from 1 to"),
        (["predict", "--model", "m", "--input", "no.mp4", "--out", "o"], "there is no no.mp4"),
        (["predict", "--model", "m", "--input", "", "--out", "o"], "a path is empty: write ."),
        (["data", "prepare", "frames", "--source", ""], "a path is empty: write ."),
        (["data", "show", "moving_mnist", "--out", ""], "a path is empty: write ."),
        (["push", "--suite", "smoke", "--to", "/x"], "/x is a path, where a store has an address"),
        (["ls", "cells", "--tracking-uri", "file:///x/a.db"], "write sqlite:////x/a.db"),
        (["report", "--suite", "smoke", "--publish", ""], "a path is empty: write ."),
        (["run", "--suite", "smoke", "--seeds", "0", "--seeds", "1"], "--seeds is given twice"),
        (["run", "--suite", "smoke", "--set", "a=1", "--set=b=2"], "--set is given twice"),
        (["run", "--suite", "smoke", "--force", "predrn/*"], "unknown cell 'predrn/*': there are"),
        (["ls", "cells", "--tracking-uri", "http://[::1"], "http://[::1 is no address"),
        (["ls", "cells", "--tracking-uri", "127.0.0.1:5000"], "write http://127.0.0.1:5000"),
        (["push", "--suite", "smkoe", "--to", "sqlite:///u.db"], "unknown suite 'smkoe'"),
        (["rn", "--suite", "smoke"], "unknown verb 'rn': did you mean 'run'?"),
        (["--suite", "smoke"], "python -m bench needs one of: run, tune"),
        (["data"], "python -m bench data needs one of: prepare, status"),
        (["data", "prepre", "bair"], "unknown verb 'prepre': did you mean 'prepare'?"),
        (["run"], "run needs --suite STR: Name of a suite"),
        (["diff", "one"], "diff needs B: The other."),
        (["run", "--suit", "smoke"], "unknown option '--suit': did you mean '--suite'?"),
        (["run", "--suite", "smoke", "--sedes=1"], "'--sedes': did you mean '--seeds'?"),
        (["data", "show", "bair", "--clps", "2"], "'--clps': did you mean '--clips'?"),
        (["report", "--suite", "smoke", "more"], "'more' belongs to no option (python -m ben"),
        (["run", "--suite"], "--suite STR has no value: Name of a suite"),
        (["run", "--suite", "smoke", "--seeds"], "--seeds names nothing"),
        (["run", "--suite", "smoke", "--seeds", "x"], "--seeds SEED ... does not take 'x': These"),
        (["data", "show", "bair", "--clips", "z"], "--clips N does not take 'z'"),
        (["run", "--suite", "smoke", "--step", "gaph"], "--step 'gaph': did you mean 'graph'?"),
        (["ls", "modls"], "unknown value 'modls': did you mean 'models'?"),
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
    monkeypatch.setattr("bench.run.own_files.require_sound", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        main()
    out, error = capsys.readouterr()
    assert end.value.code == 2
    assert message in error
    assert error.count("\n") == 1
    assert "Traceback" not in error + out
    written = {p.name for p in tmp_path.rglob("*") if p.is_file()} - {p.name for p in before}
    assert written <= {"mlflow.lock"}


READING = {
    "report": ["report", "--suite", "smoke"],
    "compare": ["report", "--suite", "smoke", "--compare", "mnist"],
    "ls": ["ls", "cells"],
    "clean": ["clean", "--suite", "smoke"],
    "rescore": ["rescore", "--suite", "smoke"],
    "predict": ["predict", "--model", "m", "--input", "file.npy", "--out", "out"],
    "ui": ["ui"],
}
PLACES = {
    "typo": (["--results", "typo"], "there is no MLflow store"),
    "typo of a URI": (["--tracking-uri", "sqlite:///typo.db"], "there is no MLflow store"),
    "a path": (["--tracking-uri", "./typo"], "typo is a path, where a store has an address"),
    "no name": (["--results", ""], "is empty"),
    "no URI": (["--tracking-uri", ""], "is empty"),
    "a file": (["--results", "file.npy"], "there is no MLflow store"),
    "too long": (["--results", "x" * 5000], "too long"),
    "NUL": (["--results", "a\0b"], "control characters"),
    "not UTF-8": (["--results", b"\xff".decode("utf-8", "surrogateescape")], "not UTF-8"),
    "no file": (["--tracking-uri", "sqlite:///"], "names no file"),
    "memory": (["--tracking-uri", "sqlite:///:memory:"], "names no file"),
    "options": (["--tracking-uri", "sqlite:///a.db?mode=ro"], "%3F"),
    "one slash": (["--tracking-uri", "sqlite:/a.db"], "sqlite:///FILE"),
    "no scheme of MLflow's": (["--tracking-uri", "foo://"], "cannot open the MLflow store foo://"),
    "no driver": (["--tracking-uri", "postgresql://u:secret@h/x"], "postgresql://h/x"),
    "a bad port": (["--tracking-uri", "http://127.0.0.1:99999"], "cannot open the MLflow store"),
}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        *((words + PLACES["typo"][0], PLACES["typo"][1]) for words in READING.values()),
        *((READING["ls"] + place, message) for place, message in PLACES.values()),
    ],
    ids=[*(f"typo-{name}" for name in READING), *PLACES],
)
def test_a_place_that_is_none_is_one_line_and_stays_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "file.npy", np.zeros((1, 12, 8, 8, 1), np.uint8))
    _one_line(words, message, monkeypatch, capsys)
    assert [path.name for path in tmp_path.rglob("*")] == ["file.npy"]


def _one_line(
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    monkeypatch.setattr("bench.run.own_files.require_sound", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        main()
    out, error = capsys.readouterr()
    assert end.value.code == 2
    assert message in error
    assert error.count("\n") == 1
    assert len(error) < 700
    assert out == ""


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file", "use another --results"),
        ("file/below", "use another --results"),
        ("x" * 5000, "File name too long"),
    ],
    ids=["file", "file/below", "long"],
)
def test_results_that_cannot_be_a_folder_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    user_suite: Path,
    place: str,
    message: str,
) -> None:
    (tmp_path / "file").touch()
    before = {*tmp_path.rglob("*")}
    words = ["run", "--suite", str(user_suite), "--results", str(tmp_path / place)]
    _one_line(words, message, monkeypatch, capsys)
    assert {*tmp_path.rglob("*")} == before


@pytest.mark.parametrize("port", ["0", "-1", "99999", "taken"])
def test_the_pages_need_a_free_port(
    tmp_path: Path,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    port: str,
) -> None:
    results = shutil.copytree(empty_store, tmp_path / "results")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1]) if port == "taken" else port
        _one_line(["ui", "--results", str(results), "--port", number], number, monkeypatch, capsys)


def test_a_server_is_not_served(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ui", "--serve", "--tracking-uri", "http://127.0.0.1:1"]
    _one_line(words, "--serve takes a database", monkeypatch, capsys)


def test_the_line_that_opens_the_pages_can_be_pasted(tmp_path: Path, empty_store: Path) -> None:
    results = shutil.copytree(empty_store, tmp_path / "it's #1 (a%41b)?")
    store = Store(store_uri(None, results))
    words = shlex.split(store.ui_command)
    assert words[:-1] == ["python", "-m", "bench", "ui", "--tracking-uri"]
    assert database_file(store_uri(words[-1], tmp_path)) == results / "mlflow.db"


def test_a_full_disk_under_the_output_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        _one_line(["ls", "suites"], "No space left on device", monkeypatch, capsys)


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


def test_a_name_without_its_options_is_the_nearest() -> None:
    known = ["predrnn(batch_size=2)-small/a/0", "Mine(residual=True, rate=0.002)-small/a/0"]
    assert "did you mean 'Mine(residual" in str(unknown("cell", "Mine-small/a/0", known))


def test_every_flag_of_several_values_is_known_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    found = set()
    for verb in get_args(cli.Verb):
        with pytest.raises(SystemExit):
            cli.main([verb.__name__.lower(), "--help"])
        found |= set(re.findall(r"(--[a-z-]+) [^-\n]*\.\.\.\s", capsys.readouterr().out))
    assert found == set(OF_SEVERAL)
