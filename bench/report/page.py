"""report.html, report.md and table.csv with their pictures, from finished chapters."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from bench.report.collect import Section, each
from bench.report.plots import Picture, Style
from bench.report.table import COLUMNS, Entry, Row, csv, rows
from bench.report.verdict import STATUS_WORDS, verdict

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_TEMPLATES.filters["drawing"] = lambda picture: Markup(picture.svg)  # noqa: S704 - our own SVG


@dataclass(frozen=True, slots=True)
class Chapter:
    """A section with all that the report shows of it."""

    section: Section
    summary: pd.DataFrame
    plots: list[Picture]
    strips: list[Picture]

    @property
    def verdict(self) -> str:
        """The answer in a few sentences."""
        return verdict(self.section, self.summary)

    @property
    def rows(self) -> list[Row]:
        """The printed table."""
        return rows(self.summary)

    @property
    def notices(self) -> list[str]:
        """What a reader must know of the data, and why figures are missing."""
        cells = self.section.cells
        reasons = (
            f"{name.upper()} not measured for some cells: {why}"
            for missing in cells["not_measured"]
            for name, why in missing.items()
        )
        return list(dict.fromkeys([*filter(None, cells["notice"]), *reasons]))

    @property
    def shared_facts(self) -> dict[str, str]:
        """What was recorded alike for every trained cell, whatever a failed one left out."""
        done = self.section.done
        trained = done[~done["baseline"]]
        known = (self.section.cells if trained.empty else trained)["facts"]
        first: dict[str, str] = known.iloc[0]
        return {
            key: value
            for key, value in sorted(first.items())
            if all(facts.get(key) == value for facts in known)
        }

    def own_facts(self, facts: dict[str, str]) -> dict[str, str]:
        """What sets one cell apart from `shared_facts`."""
        shared = self.shared_facts
        return {key: facts[key] for key in sorted(facts) if facts[key] != shared.get(key)}


def write(suite: str, chapters: list[Chapter], styles: dict[str, Style], out: Path) -> Path:
    """The path of report.html, after everything is written under `out`."""
    plots = out / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for chapter in chapters:
        for picture in (*chapter.plots, *chapter.strips):
            (plots / f"{picture.name}.png").write_bytes(picture.png)
    (out / "table.csv").write_text(csv([chapter.summary for chapter in chapters]), encoding="utf-8")
    (out / "report.md").write_text("\n".join(_markdown(suite, chapters)), encoding="utf-8")
    page = _TEMPLATES.get_template("report.html").render(
        suite=suite, chapters=chapters, styles=styles, columns=COLUMNS, words=STATUS_WORDS
    )
    report = out / "report.html"
    report.write_text(page, encoding="utf-8")
    return report


def _markdown(suite: str, chapters: list[Chapter]) -> Iterator[str]:
    yield f"# {_plain(suite)}"
    for chapter in chapters:
        yield f"\n## {_plain(chapter.section.title)}\n\n{_plain(chapter.verdict)}\n"
        yield _plain(chapter.section.setting) + "\n"
        yield from (f"> {_plain(notice)}\n" for notice in chapter.notices)
        yield from _markdown_table(chapter)
        for picture in (*chapter.plots, *chapter.strips):
            yield f"\n![{picture.title}](plots/{picture.name}.png)"
        yield "\n| cell | MLflow run | the line that runs it again |\n|---|---|---|"
        for cell in each(chapter.section.cells):
            name, run, command = (_plain(cell[key]) for key in ("name", "run_id", "command"))
            yield f"| {name} | {run} | <code>{command}</code> |"


def _markdown_table(chapter: Chapter) -> Iterator[str]:
    yield "| model | seeds | " + " | ".join(column.heading for column in COLUMNS) + " |"
    yield "|---|---|" + "--:|" * len(COLUMNS)
    for row in chapter.rows:
        if row.done:
            figures = " | ".join(_figure(entry) for entry in row.entries)
            yield f"| {_plain(row.label)} | {row.seeds} | {figures} |"
        else:
            why = f"{STATUS_WORDS[row.status]}: {row.reason}".removesuffix(": ")
            line = f"{_plain(why)}; run again: <code>{_plain(row.command)}</code>"
            yield f"| {_plain(row.label)} | {row.seeds} | {line} |" + " |" * (len(COLUMNS) - 1)


def _figure(entry: Entry) -> str:
    text = f"**{entry.text}**" if entry.best else entry.text
    return f"{text} {entry.half_width}".strip()


def _plain(text: str) -> str:
    """`text` as Markdown that neither breaks a table nor smuggles in HTML."""
    one_line = " ".join(html.escape(str(text), quote=False).split())
    return one_line.replace("|", "\\|").replace("`", "&#96;")
