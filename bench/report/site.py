"""A folder of reports that any web host serves: an index of suites, and each one's page beside."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import atomic
from bench.report.page import SCORES, TEMPLATES

_ANSWER = re.compile(
    r"# (?P<title>.+)\n\n(?P<answer>[^#|\n].*)\n\n"
    r"(?:\*\*(?P<level>\w+) confidence\*\*: (?P<why>.*)\n)?"
)
_HEADING = re.compile(r"# (?P<title>.+)\n")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index says of one report."""

    folder: str
    title: str
    answer: str
    level: str
    """Of confidence: "high", "medium", "low", or "" where the report does not say."""
    why: str
    files: tuple[str, ...]
    """Of the folder, beside the page: tables and scores."""
    picture: str
    """A plot that stands for the report; "" for none."""


def index(site: Path) -> Path:
    """The path of the written index.html of `site`: of all folders in it that hold a report."""
    page = TEMPLATES.get_template("site.html").render(entries=list(_entries(site)))
    path = site / "index.html"
    atomic.write_text(path, page)
    return path


def _entries(site: Path) -> Iterator[Entry]:
    for page in sorted(site.glob("*/report.html")):
        text = page.with_suffix(".md")
        said = text.read_text(encoding="utf-8") if text.is_file() else ""
        opening = _ANSWER.match(said)
        heading = opening or _HEADING.match(said)
        kept = ("report.md", "table.csv", "tables.tex", SCORES)
        pictures = [page.with_suffix(".png")]
        pictures += [*sorted(page.parent.glob("plots/*-mse.png")), *page.parent.glob("plots/*.png")]
        yield Entry(
            folder=page.parent.name,
            title=_plain(heading["title"]) if heading else page.parent.name,
            answer=_plain(opening["answer"]) if opening else "",
            level=(opening["level"] or "").lower() if opening else "",
            why=_plain(opening["why"] or "") if opening else "",
            files=tuple(name for name in kept if (page.parent / name).is_file()),
            picture=next((str(path.relative_to(site)) for path in pictures if path.is_file()), ""),
        )


def _plain(markdown: str) -> str:
    """What `markdown` shows, of a line that `escape.markdown` has made."""
    return html.unescape(markdown.replace("\\|", "|"))
