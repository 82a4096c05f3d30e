"""`bench cite`: every model and data set with a publication has its reference."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench import __version__, cli, records
from bench.literature.cite import bibtex, names_of, works
from bench.store.mlflow import RecordedCell
from bench.suite import catalogue
from tests.test_readme import README

OWN = {"frames", "arrays", "pushed_disc", "water_waves"}
"""Data sets of a user's own, or of no publication."""


def test_every_model_and_data_set_that_was_published_has_a_work() -> None:
    cited = {name for work in works().values() for name in work["of"]}
    models = catalogue.all_models()
    published = {name for name, model in models.items() if model.paper}
    assert cited == published | (catalogue.all_datasets().keys() - OWN)


def test_works_say_what_the_models_say() -> None:
    by_url = {work["url"]: work for work in works().values()}
    for name, model in catalogue.all_models().items():
        if model.paper is None:
            continue
        work = by_url.get(model.paper.url)
        assert work is not None, f"{name}: {model.paper.url}"
        assert work["year"] == model.paper.year
        assert model.paper.title.startswith(work["title"]), name
        assert name in work["of"]


def test_a_suite_is_cited_as_bibtex(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cite", "--suite", "mnist", "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    keys = re.findall(r"^@\w+\{(\w+),$", printed, re.MULTILINE)
    assert set(keys) == {
        *("shi2015convlstm", "wang2017predrnn", "tu2022maxvit"),
        *("srivastava2015moving", "lecun1998mnist", "nextframe"),
    }
    assert printed.count("{") == printed.count("}")
    assert "% no reference" not in printed
    assert __version__ in printed


def test_of_what_was_run_just_that_is_cited() -> None:
    def run(model: str, status: str = "done", **params: str) -> RecordedCell:
        params |= {"model": model, "dataset": "kth(horizon=40)"}
        began, tags = datetime(2026, 1, 1, tzinfo=UTC), {records.STATUS: status}
        return RecordedCell("r", model, "", began, params, tags, {})

    runs = [run("copy_last"), run("predrnn(width=8)"), run("Mine"), run("convlstm", "failed")]
    runs.append(run("simvp", **{records.ALSO_TESTED_ON: '["ucf101"]'}))
    assert names_of(runs) == {"predrnn", "Mine", "simvp", "kth", "ucf101"}


def test_all_entries_are_whole() -> None:
    for entry in bibtex([name for work in works().values() for name in work["of"]]).split("\n\n"):
        assert re.match(r"@(inproceedings|article|misc|techreport|software)\{\w+,\n", entry)
        assert re.search(r"^  author = \{.+\},$", entry, re.MULTILINE)
        assert entry.count("{") == entry.count("}")


def test_what_is_unknown_is_said() -> None:
    assert bibtex(["convlstm", "mine"]).startswith("% no reference is known for mine\n")


def test_the_file_for_github_says_the_same_version() -> None:
    file = Path(__file__).parents[3] / "CITATION.cff"
    assert f"version: {__version__}" in file.read_text(encoding="utf-8")
    assert "bench cite" in README
