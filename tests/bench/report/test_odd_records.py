"""Runs as no version of the harness records them: by hand, renamed, hostile, of another version."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import records, report
from bench.errors import UserError
from bench.records import Status
from bench.report import table
from bench.report.cells import cell_table
from bench.report.verdict import status_words
from tests.bench.report.report_store import HARDNESS, FakeStore, only_section, table_of, verdict_of

HOSTILE = {
    "lines": "a\nb\r\nc",
    "mathematics": r"$\frac{1}{0}$ \input{x}",
    "table": "a|b `c` *d*",
    "script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "long": "word " * 1000,
    "other bytes": "a\udcffb",
    "terminal": "a\x1b[31mred\0",
    "formula": "=cmd|' /C calc'!A1",
    "rich": "[bold]x[/bold][/none]",
    "no reference": "frames(name='x(",
    "infinite option": "frames(size=1e400)",
    "large option": "frames(size=10**400)",
    "no font": "👩 模型",
    "path": "../../etc/passwd",
}


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    store = FakeStore(tmp_path / "artifacts")
    store.add("copy_last", 0.05, size="only", baseline=True)
    store.add("good", 0.02)
    store.add("fair", 0.03)
    return store


def test_names_of_any_kind_break_no_form_of_the_report(store: FakeStore, tmp_path: Path) -> None:
    for text in HOSTILE.values():
        store.add(text, 0.025)
        tags = {records.ERROR: text, records.COMMAND: text, records.NOTICE: text}
        store.add(text, None, seed=2, status=Status.FAILED, tags=tags)
    for kind in ("other bytes", "no reference", "infinite option", "path"):
        text = HOSTILE[kind]
        store.add("good", 0.02, params={"dataset": text, "budget": text, "recipe": text})
    page = report.build(store, "mnist", tmp_path / "out")
    html, markdown = page.read_text(), page.with_name("report.md").read_text()
    for written in (html, markdown):
        assert "<script>alert" not in written
        assert "<img" not in written
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    tables = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    for lines in map(str.splitlines, tables):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert len(rows) > 2 * len(HOSTILE)
    sheet = pd.read_csv(page.with_name("table.csv"), dtype=str, keep_default_na=False)
    assert not sheet.map(lambda cell: cell.startswith(("=", "@"))).any(axis=None)
    for linked in re.findall(r"\((plots/.*?)\)", markdown):
        assert (page.parent / linked).exists()
    assert {path.parent for path in tmp_path.rglob("*.png")} == {page.parent / "plots"}


ODD: dict[str, tuple[dict[str, str], dict[str, str], dict[str, float], str]] = {
    "unknown-status": ({}, {records.STATUS: "dome"}, {}, "of the unknown status 'dome'"),
    "void": ({}, {records.STATUS: "invalid", records.ERROR: "no numbers"}, {}, "no numbers"),
    "other-task": ({"task": "generation"}, {}, {}, "its task 'generation' is unknown"),
    "seed-in-words": ({"seed": "one"}, {}, {}, "its seed 'one' is no number"),
    "no-number": ({}, {}, {"test/mse": float("nan")}, "without a MSE"),
    "infinite": ({}, {}, {"test/mse": float("inf")}, "without a MSE"),
    "as-MLflow-keeps-it": ({}, {}, {"test/mse": 1.7976931348623157e308}, "without a MSE"),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_cell_that_counts_for_nothing_says_why_and_takes_part_in_nothing(
    store: FakeStore, kind: str
) -> None:
    params, tags, metrics, why = ODD[kind]
    store.add(kind, 0.001, params=params, tags=tags, metrics=metrics)
    for model, mse in (("good", 0.02), ("fair", 0.03)):
        store.add(model, mse, seed=1)
    section = only_section(store)
    assert "On MSE good-small is the best of 2 trained models" in verdict_of(store, section)
    assert f"1 cell without a result ({kind}-small seed" in verdict_of(store, section)
    rows = {row.label: row for row in table_of(store, section).rows}
    assert not rows[f"{kind}-small"].done
    said = status_words(rows[f"{kind}-small"].status) + rows[f"{kind}-small"].reason
    assert why in said
    assert {row.label for row in rows.values() if row.entries[0].best} == {"good-small"}


def test_metrics_of_any_name_and_value_leave_the_rest(store: FakeStore, tmp_path: Path) -> None:
    odd = {"status": 1.0, "label": 2.0, "": 3.0, "test/other": 4.0, "memory/peak_bytes": np.inf}
    store.add("odd", 0.025, metrics=odd | {"time/train_seconds": 0.0, "train/steps": 0.0})
    for key in [*store.curves]:
        store.curves[key] = [(step, np.nan if step % 20 else 0.0) for step, _ in store.curves[key]]
    markdown = report.build(store, "mnist", tmp_path / "out").with_name("report.md").read_text()
    assert "| odd-small | 1 seed | 0.02500" in markdown
    assert not re.search(r"\b(nan|inf)\b", markdown)


def still(store: FakeStore, mse: float) -> None:
    """Make copying's error `mse` on every frame."""
    for run in store.runs:
        if run.params["model"] == "copy_last":
            run.metrics |= {"test/mse": mse, "test/ssim": 1 - mse, "test/psnr": 100.0}
            store.keep_scores(run.run_id, mse * HARDNESS)


@pytest.mark.parametrize("mse", [0.0, 1e-9])
def test_where_nothing_moves_the_report_says_so(
    store: FakeStore, tmp_path: Path, mse: float
) -> None:
    still(store, mse)
    markdown = report.build(store, "mnist", tmp_path / "out").with_name("report.md").read_text()
    assert "copying is perfect here, for nothing moves" in markdown
    assert "No trained model beats copying the last frame on MSE" in markdown
    assert not re.search(r"\b(nan|inf)\b", markdown)
    assert not re.search(r"\d{6,} %", markdown)


def test_perfect_models_are_level(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    store.add("copy_last", 0.05, size="only", baseline=True)
    for name in ("one", "two"):
        for seed in (0, 1):
            run = store.add(name, 0.02, seed=seed, metrics={"test/mse": 0.0, "test/ssim": 1.0})
            store.keep_scores(run, 0 * HARDNESS)
    still(store, 0.0)
    page = report.build(store, "mnist", tmp_path / "out")
    markdown = page.with_name("report.md").read_text()
    assert "two-small and one-small cannot be told apart" in markdown
    assert not re.search(r"\b(nan|inf)\b", markdown)


def test_what_cannot_be_written_leaves_the_former_report(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    store.add("copy_last", 0.05, size="only", baseline=True)
    page = report.build(store, "mnist", tmp_path / "out")
    before = {path: path.read_bytes() for path in page.parent.rglob("*") if path.is_file()}
    store.add("best", 0.01)
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: object) -> str:
            raise OSError(28, "No space left on device")

        patch.setattr("bench.report.page._page", full)
        with pytest.raises(UserError, match="No space left on device"):
            report.build(store, "mnist", page.parent)
    after = {path: path.read_bytes() for path in page.parent.rglob("*") if path.is_file()}
    assert after == before
    assert not [path for path in page.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("taken", ["out", "out/plots", "out/report.html/mine"])
def test_a_place_that_is_taken_is_told_in_one_line(
    store: FakeStore, tmp_path: Path, taken: str
) -> None:
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).touch()
    with pytest.raises(UserError, match="the report cannot be written to") as error:
        report.build(store, "mnist", tmp_path / "out")
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("undrawn")
def test_the_line_that_writes_the_report_can_be_pasted(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    store.add("good", 0.02, params={"suite": "my suite; $(x)"})
    page = report.build(store, "my suite; $(x)", tmp_path / "out").read_text()
    line = re.findall(r"Made from MLflow by <code>(.*?)</code>", page)[0]
    words = shlex.split(line.replace("&#39;", "'"))
    assert words == ["python", "-m", "bench", "report", "--suite", "my suite; $(x)"]


def test_models_whose_names_meet_keep_rows_of_their_own(store: FakeStore) -> None:
    store.add("good-small", 0.01, size="only")
    section = only_section(store)
    rows = {row.label: row for row in table.printed(section, table.summary(section)).rows}
    assert rows["good-small (small)"].entries[0].text == "0.02000"
    assert rows["good-small (only)"].entries[0].text == "0.01000"


def test_a_plan_that_names_other_bytes_is_shown(store: FakeStore) -> None:
    name = json.loads('"m\\udcff"')
    store.add(name, None, status=Status.MISSING)
    store.plan.append(store.runs.pop())
    assert cell_table(store, "mnist")["label"].str.startswith("m\\udcff").any()
