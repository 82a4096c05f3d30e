"""Names, figures and terminals of any kind: no display fails, and what it prints can be pasted."""

import io
import math
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from bench.__main__ import main
from bench.console.live import LiveDisplay
from bench.console.plain import PlainDisplay
from bench.report.columns import COLUMNS
from bench.report.table import Entry, Row, Table
from bench.run.display import PlannedCell, RunSettings
from bench.run.events import Finished, Note, Progress
from bench.units import byte_size, duration

NAMES = ["[bold]x[/none]", "a\nb", "x" * 500, "\x1b[31m\udcff", "$(x) `y`"]


def table() -> Table:
    columns = COLUMNS["prediction"]
    entries = tuple(Entry("0.1", 0.1) for _ in columns)
    rows = (
        Row(name, name, False, "0", status, "[/x] why\nnot", name, entries)
        for name, status in zip(NAMES, ["done", "failed", "dome", "invalid", "done"], strict=True)
    )
    return Table(columns, tuple(rows))


def shown(kind: type[PlainDisplay], width: int) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    terminal = kind is LiveDisplay
    with kind(Console(file=stream, force_terminal=terminal, width=width, highlight=False)) as one:
        cells = [
            PlannedCell(f"{name}/0", name, "[x]", f"[/d]{name}", 0, "run", math.nan)
            for name in NAMES
        ]
        one.plan(cells, RunSettings("suite[/x]", "cpu", "32", "small", "2 steps"))
        for cell in cells:
            one.cell_started(cell.name)
            one.event(cell.name, Note("[/x]\nnote"))
            for fraction in (0.5, math.nan, math.inf, 2.0):
                figures = {"loss": math.nan, "validation": math.inf, "frames_per_second": math.inf}
                one.event(cell.name, Progress("train", fraction, memory_bytes=2**90, **figures))
            finished = Finished("failed", "[/e]\nboom", metrics={"test/mse": math.nan})
            one.cell_finished(cell.name, finished, "run '[/x]'", Path("my logs/$(x)"))
        one.summary({"title[/x]": table()}, Path("my results/$(x)/report.html"), "ui")
    stream.flush()
    stream.seek(0)
    return stream.read()


@pytest.mark.parametrize("kind", [PlainDisplay, LiveDisplay])
@pytest.mark.parametrize("width", [1, 20, 200])
def test_no_text_figure_or_width_ends_a_run(kind: type[PlainDisplay], width: int) -> None:
    assert "[bold]" in shown(kind, width) or width < 20


def test_paths_can_be_pasted_into_a_shell() -> None:
    lines = shown(PlainDisplay, 10_000).splitlines()
    (report,) = (line.partition("  ")[2] for line in lines if line.startswith("report"))
    assert shlex.split(report) == ["my results/$(x)/report.html"]
    log = next(line for line in lines if "log: " in line).split("log: ")[1].split(";")[0]
    assert shlex.split(log) == ["my logs/$(x)"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -1.0, 1e308])
def test_every_number_has_words(value: float) -> None:
    assert duration(value)
    assert byte_size(value)


def test_a_locale_without_a_letter_ends_no_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")

    def say(_: list[str]) -> int:
        return stream.write("r\N{RIGHTWARDS ARROW}\udcff\n") * 0

    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.argv", ["bench"])
    monkeypatch.setattr("bench.cli.main", say)
    with pytest.raises(SystemExit) as end:
        main()
    stream.seek(0)
    assert (end.value.code, stream.read()) == (0, "r\\u2192\\udcff\n")
