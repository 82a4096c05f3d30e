"""What the page and the notebook on Python show must run as it stands there."""

import ast
import json
import re
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

import nextframe
from bench.records import Status
from tests.nextframe.conftest import PAGE, PRINTED

NOTEBOOK = PAGE.with_name("notebook.ipynb")


def test_the_page_runs_from_top_to_bottom(workplace: Path) -> None:
    printed = (workplace / PRINTED).read_text(encoding="utf-8")
    assert "unknown cell 'convlstm-small/moving_mnist/7'" in printed
    assert (workplace / "results" / "mlflow.db").is_file()


def test_the_page_names_all_that_there_is() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("| name | gives |")[2]
    first_column = re.findall(r"^\| (.*?) \|", table.partition("\n\n")[0], re.MULTILINE)
    assert set(re.findall(r"`(\w+)", " ".join(first_column))) == {*nextframe.__all__}


def test_the_notebook_runs_and_keeps_no_output(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mpl, "rcParams", mpl.rcParams | {"backend": "agg"})
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in code)
    names: dict[str, object] = {}
    shown = [_run("".join(cell["source"]), names) for cell in code]
    table, differences = shown[:2]
    assert isinstance(table, pd.DataFrame)
    assert isinstance(differences, pd.DataFrame)
    assert set(table["status"]) == {Status.DONE}
    assert len(differences) == 1


def _run(source: str, names: dict[str, object]) -> object:
    """What a cell of a notebook shows: the value of its last line."""
    lines = ast.parse(source)
    last = lines.body.pop() if isinstance(lines.body[-1], ast.Expr) else None
    exec(compile(lines, NOTEBOOK.name, "exec"), names)  # noqa: S102
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)  # noqa: S307
