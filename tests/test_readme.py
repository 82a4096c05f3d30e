"""What the README and the pages of docs/ show must run as it stands there."""

import re
from pathlib import Path
from typing import get_args

import pytest

from bench import cli
from bench.check import check
from bench.literature.conventions import CONVENTIONS
from bench.score.metric import Metric
from bench.score.metrics import METRICS, RECORDED
from bench.suite import catalogue
from bench.train.budget import Budget

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")}
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def _blocks(language: str, page: str) -> list[str]:
    """The blocks of that language on a page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


def test_the_model_is_complete_in_under_40_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = _blocks("python", "extend")
    assert source.count("\n") < 40
    path = tmp_path / "residual.py"
    path.write_text(source, encoding="utf-8")
    assert check.check(f"{path}:Residual") == 0, capsys.readouterr().out


def test_the_suite_is_valid_but_for_the_users_own_model(tmp_path: Path) -> None:
    from bench.suite.suite import load_suite

    text, tables = _blocks("toml", "commands")
    path = tmp_path / "own.toml"
    path.write_text(text.replace(', "mine.py:Mine"', ""), encoding="utf-8")
    assert load_suite(str(path)).budget == Budget("seconds", 600)
    others = [line for line in text.splitlines() if line.startswith(("datasets", "budget ="))]
    path.write_text("\n".join([*others, tables]), encoding="utf-8")
    models = load_suite(str(path)).models
    assert models == ("copy_last", "convlstm(learning_rate=0.003, peephole=True)")


def test_the_first_command_installs_and_runs_and_the_second_installs_and_tests() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert ["bench run --suite quick" in commands[0], "pytest" in commands[1]] == [True, True]
    assert all("-c constraints.txt" in command for command in commands)


VERBS = [verb.__name__.lower() for verb in get_args(cli.Verb) if verb is not cli.Data]


@pytest.mark.parametrize(
    "verb", [*VERBS, "data prepare", "data status", "data verify", "data show"]
)
def test_every_verb_is_named_and_exists(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"python -m bench {verb}" in PAGES["commands"] + PAGES["data"]
    with pytest.raises(SystemExit) as end:
        cli.main([*verb.split(), "--help"])
    assert end.value.code == 0
    assert "usage" in capsys.readouterr().out


def _users(metric: Metric) -> str:
    figures = {name: convention.figures.values() for name, convention in CONVENTIONS.items()}
    users = [name for name, used in figures.items() if metric.name in {f.column for f in used}]
    ratios = (each for each in RECORDED["prediction"].values() if each.ratio)
    users += [each.name for each in ratios if metric.name in each.parts]
    return ", ".join(f"`{name}`" for name in users)


def test_its_tables_of_definitions_are_those_of_the_metrics() -> None:
    for metric in (metric for metrics in RECORDED.values() for metric in metrics.values()):
        assert f"| {metric.label} | {metric.definition} |\n" in PAGES["metrics"]
    for metric in METRICS["prediction"].values():
        if not metric.is_recorded:
            row = f"| `{metric.name}` | {metric.definition} | {_users(metric)} |\n"
            assert row in PAGES["metrics"]


def test_all_data_sets_and_models_are_named() -> None:
    for name in catalogue.all_models():
        assert f"`{name}`" in README, name
    for name in catalogue.all_datasets():
        assert f"`{name}`" in PAGES["data"], name


def test_every_link_leads_somewhere() -> None:
    for name, text in {
        "README": README,
        **{f"docs/{name}": text for name, text in PAGES.items()},
    }.items():
        folder = (ROOT / name).parent
        for target in LINK.findall(text):
            assert (folder / target).exists(), f"{name}: {target}"


def test_every_page_is_named_in_the_readme() -> None:
    for page in PAGES:
        assert f"(docs/{page}.md)" in README, page
