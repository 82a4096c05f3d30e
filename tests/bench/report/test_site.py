"""A published folder has an index of its reports, with what each answers."""

import html
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from bench import report
from bench.report import site
from tests.bench.report.report_store import FakeStore


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    store = FakeStore(tmp_path / "artifacts")
    store.add("copy_last", 0.05, size="only", baseline=True)
    for seed in range(3):
        store.add("a", 0.02 + seed / 10000, seed=seed)
        store.add("b", 0.03 + seed / 10000, seed=seed)
    return store


@pytest.mark.usefixtures("undrawn")
def test_the_index_says_what_each_report_answers(store: FakeStore, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    page = report.build(store, "mnist", folder / "mnist")
    shutil.copytree(folder / "mnist", folder / "an older & odd one")
    (folder / "an older & odd one" / "report.md").write_text("# odd\n\n## no answer\n")
    (folder / "no report").mkdir()
    text = site.index(folder).read_text(encoding="utf-8")
    lines = page.with_name("report.md").read_text(encoding="utf-8").splitlines()
    assert lines[2] in html.unescape(text)
    level = re.match(r"\*\*(\w+) confidence\*\*", lines[4])
    assert level is not None
    assert f"{level[1]} confidence" in text
    assert text.count("<section") == 2
    links = _Links()
    links.feed(text)
    files = [link for link in links.found if not link.startswith("data:")]
    assert {"mnist/report.html", "mnist/scores.parquet", "mnist/table.csv"} <= set(files)
    assert all((folder / unquote(link)).is_file() for link in files), files


@pytest.mark.usefixtures("undrawn")
def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    store.add("copy_last", 0.05, size="only", baseline=True, params={"suite": "R&D [x]"})
    for seed in range(3):
        store.add(
            "dmvfn(scales=[4, 2])", 0.02 + seed / 10000, seed=seed, params={"suite": "R&D [x]"}
        )
    report.build(store, "R&D [x]", tmp_path / "site" / "own")
    text = site.index(tmp_path / "site").read_text(encoding="utf-8")
    assert "<h2>R&amp;D [x]</h2>" in re.sub(r"<a [^>]*>|</a>", "", text)
    assert "dmvfn(scales=[4, 2])-small" in text


def test_an_empty_site_says_so(tmp_path: Path) -> None:
    assert "No report yet" in site.index(tmp_path).read_text(encoding="utf-8")
