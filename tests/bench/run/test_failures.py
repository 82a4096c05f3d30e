"""A cell that goes wrong costs that cell alone, and is named for what it was."""

from pathlib import Path

import pytest

from bench import records
from bench.store.address import store_uri
from bench.store.mlflow import RecordedCell, Store
from tests.bench.conftest import Bench

EXPECTED = {
    "copy_last": ("done", ""),
    "Raises": ("failed", "LookupError: no such key in the model"),
    "Crashes": ("failed", "crashed with SIGABRT"),
    "Diverges": ("diverged", "the training loss became"),
    "RunsOut": ("oom", "RuntimeError"),
    "Tiny": ("done", ""),
}
OF_ITS_OWN = "Crashes"
"""The model whose cell runs in a process of its own here."""


@pytest.fixture
def bad_suite(tmp_path: Path, user_models: Path, user_suite: Path) -> Path:
    models = [name if name == "copy_last" else f"{user_models}:{name}" for name in EXPECTED]
    text = user_suite.read_text(encoding="utf-8").splitlines()
    text[1] = f"models = {models}"
    path = tmp_path / "bad.toml"
    path.write_text("\n".join(text), encoding="utf-8")
    return path


def _runs(tmp_path: Path) -> dict[str, RecordedCell]:
    store = Store(store_uri(f"sqlite:///{tmp_path}/results/mlflow.db", tmp_path))
    return {run.params["model"]: run for run in store.cells("bad")}


def test_every_way_to_fail_has_its_name_and_spares_the_others(
    bench: Bench, bad_suite: Path, tmp_path: Path
) -> None:
    words = ["run", "--suite", bad_suite]
    others = [name for name in EXPECTED if name not in ("copy_last", OF_ITS_OWN)]
    paths = [f"{tmp_path}/mine.py:{name}" for name in others]
    first = bench(*words, "--models", "copy_last", *paths, report=False)
    assert first.returncode == 1, first.stderr
    chosen = ["--models", f"{tmp_path}/mine.py:{OF_ITS_OWN}"]
    done = bench(*words, *chosen, children=True)  # copy_last, which stands beside it, is done
    assert done.returncode == 1, done.stderr
    told = first.stdout + done.stdout
    runs = _runs(tmp_path)
    for model, (status, error) in EXPECTED.items():
        assert runs[model].tags[records.STATUS] == status, model
        assert error in runs[model].tags[records.ERROR]
        if status != "done":
            assert runs[model].tags[records.COMMAND] in told
            assert Path(runs[model].tags[records.COMMAND].split()[4]).is_file()
    store = Store(store_uri(f"sqlite:///{tmp_path}/results/mlflow.db", tmp_path))
    log = store.artifact(runs["Raises"].run_id, records.LOG)
    assert log is not None
    assert "Traceback" in log.read_text(encoding="utf-8")
    page = (tmp_path / "results" / "bad" / "report" / "report.html").read_text(encoding="utf-8")
    table = (tmp_path / "results" / "bad" / "report" / "report.md").read_text(encoding="utf-8")
    for text in (page, table):
        assert "no such key in the model" in text
        assert "Crashes" in text
    _the_failures_run_again_and_the_rest_does_not(bench, bad_suite, tmp_path)


def _the_failures_run_again_and_the_rest_does_not(
    bench: Bench, bad_suite: Path, tmp_path: Path
) -> None:
    before = _runs(tmp_path)
    words = [f"{tmp_path}/mine.py:{name}" for name in ("Raises", "Tiny")]
    again = bench("run", "--suite", bad_suite, "--models", *words, report=False)
    assert again.returncode == 1, again.stderr
    after = _runs(tmp_path)
    assert after["Tiny"].run_id == before["Tiny"].run_id
    assert after["Raises"].tags[records.STATUS] == "failed"
