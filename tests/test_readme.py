"""What the README shows must run as it stands there."""

import re
from pathlib import Path

import pytest

from bench import cli
from bench.check import check
from bench.literature.conventions import CONVENTIONS
from bench.score.metrics import METRICS, RECORDED, Metric
from bench.train.budget import Budget

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_model_is_complete_in_under_40_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = _blocks("python")
    assert source.count("\n") < 40
    path = tmp_path / "residual.py"
    path.write_text(source, encoding="utf-8")
    assert check.check(f"{path}:Residual") == 0, capsys.readouterr().out


def test_the_suite_is_valid_but_for_the_users_own_model(tmp_path: Path) -> None:
    from bench.suite.suite import load_suite

    (text,) = _blocks("toml")
    path = tmp_path / "own.toml"
    path.write_text(text.replace(', "mine.py:Mine"', ""), encoding="utf-8")
    assert load_suite(str(path)).budget == Budget("seconds", 600)


def test_the_first_command_installs_and_runs_and_the_second_installs_and_tests() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert ["bench run --suite mnist" in commands[0], "pytest" in commands[1]] == [True, True]
    assert all("-c constraints.txt" in command for command in commands)


@pytest.mark.parametrize(
    "verb",
    [
        "run",
        "cell",
        "rescore",
        "clean",
        "report",
        "ls",
        "check",
        "ui",
        "predict",
        "data prepare",
        "data status",
        "data show",
    ],
)
def test_every_verb_it_names_exists(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"python -m bench {verb}" in README
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
        assert f"| {metric.label} | {metric.definition} |\n" in README
    for metric in METRICS["prediction"].values():
        if not metric.is_recorded:
            assert f"| `{metric.name}` | {metric.definition} | {_users(metric)} |\n" in README
