"""Of several sections the report has one table over all of them, before any."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import report
from tests.bench.report.report_store import FakeStore

BUDGETS = ("3e+12 flops", "3e+13 flops")


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    """Two budgets, of which one model is in the first alone; and a baseline."""
    store = FakeStore(tmp_path / "artifacts")
    store.add("copy_last", 0.05, size="only", baseline=True, params={"budget": BUDGETS[0]})
    for place, budget in enumerate(BUDGETS):
        for seed in range(3):
            for model, mse in (("a", 0.02), ("b", 0.03), ("early", 0.04)):
                if model != "early" or place == 0:
                    figure = mse - 0.005 * place + seed / 10000
                    store.add(model, figure, seed=seed, params={"budget": budget})
    return store


@pytest.mark.usefixtures("undrawn")
def test_the_leading_figure_of_every_model_in_every_section(
    store: FakeStore, tmp_path: Path
) -> None:
    page = report.build(store, "mnist", tmp_path / "out")
    markdown, text = page.with_name("report.md").read_text(), page.read_text()
    lines = markdown.splitlines()
    place = lines.index("## Overview")
    assert lines[place + 2] == (
        "| model | moving_mnist, small models, 30 TFLOPs: MSE \N{DOWNWARDS ARROW} "
        "| moving_mnist, small models, 3 TFLOPs: MSE \N{DOWNWARDS ARROW} |"
    )
    rows = lines[place + 4 : place + 9]
    spread = "\N{PLUS-MINUS SIGN} 0.00025"
    assert rows[0] == f"| a-small | **0.01510** {spread} | **0.02010** {spread} |"
    assert [row.split("|")[1].strip() for row in rows] == [
        "a-small",
        "b-small",
        "copy_last",
        "early-small",
        "confidence",
    ]
    assert rows[3].startswith("| early-small |  | 0.04010 ")
    assert rows[4] == "| confidence | medium | medium |"
    assert text.index('id="overview"') < text.index('id="section-1"')
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert len(titles) == len({*titles})


@pytest.mark.usefixtures("undrawn")
def test_one_section_needs_none(store: FakeStore, tmp_path: Path) -> None:
    store.runs = [run for run in store.runs if run.params["budget"] == BUDGETS[0]]
    page = report.build(store, "mnist", tmp_path / "out")
    assert 'id="overview"' not in page.read_text()
    assert "## Overview" not in page.with_name("report.md").read_text()


@pytest.mark.usefixtures("undrawn")
def test_page_and_markdown_open_with_the_same_answer(store: FakeStore, tmp_path: Path) -> None:
    page = report.build(store, "mnist", tmp_path / "out")
    markdown = page.with_name("report.md").read_text().splitlines()
    text = page.read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert markdown[2].startswith("On MSE a-small is the best of 2 trained models: 0.01510")
    assert f'<p class="verdict">{markdown[2]}</p>' in text
    level, reasons = re.fullmatch(r"\*\*(.*?)\*\*: (.*)\.", markdown[4]).groups()  # type: ignore[union-attr]
    assert f"<strong>{level}</strong> {reasons}</p>" in text
