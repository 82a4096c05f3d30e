"""A folder in which the page on Python has run: its cells are there for all tests."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from bench.store.mlflow import Store
from tests.bench.conftest import LauncherHere, empty_report
from tests.made_once import made_once

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
PRINTED = "printed.txt"


@pytest.fixture
def workplace(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which the page has run; what it printed is in a file there.

    Cells run in this process, and their report, which nobody reads, is not drawn.
    """
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("bench.run.invocation.LocalLauncher", LauncherHere)
    monkeypatch.setattr("bench.report.build", empty_report)
    store = made_once(
        tmp_path_factory, "store", lambda folder: Store(f"sqlite:///{folder / 'mlflow.db'}")
    )

    def run_the_page(folder: Path) -> None:
        (folder / "results").mkdir()
        (folder / "results" / "mlflow.db").write_bytes((store / "mlflow.db").read_bytes())
        blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile("\n".join(blocks), "python.md", "exec"), {})  # noqa: S102
        (folder / PRINTED).write_text(printed.getvalue(), encoding="utf-8")

    folder = made_once(tmp_path_factory, "python-page", run_the_page)
    monkeypatch.chdir(folder)
    return folder
