"""What a verb imports before it does anything: libraries that take seconds, only where used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.conftest import run_here

SCRIPT = """
import sys
from bench import cli

HEAVY = {"torch", "mlflow", "sqlalchemy", "pandas", "matplotlib", "scipy", "pydantic", "rich"}

def tell(verb, *words):
    try:
        cli.main([verb, *words])
    except SystemExit:
        pass
    loaded = sorted(HEAVY & sys.modules.keys()) + ["report"] * ("bench.report" in sys.modules)
    print(":", verb, *words[:1], *loaded, file=sys.stderr)

# Each imports all that those before it do.
tell("--help")
tell("ls", "suites")
tell("ls", "cells", "--results", sys.argv[1])
tell("run", "--suite", "smoke", "--models", "copy_last", "--dry-run", "--results", sys.argv[1])
"""


def test_a_verb_imports_no_more_than_it_uses(empty_store: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(empty_store)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line.split()[1:] for line in done.stderr.splitlines() if line.startswith(": ")]
    assert len(said) == 4, done.stderr
    helped, suites, cells, planned = (set(words) for words in said)
    assert not helped & {"torch", "mlflow", "sqlalchemy", "pandas", "pydantic"}
    assert not suites & {"torch", "mlflow", "sqlalchemy", "pandas"}
    assert not cells & {"torch", "report", "matplotlib"}
    assert not planned & {"report", "matplotlib"}


def test_a_plan_without_a_store_needs_no_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bench.store.mlflow", None)  # cannot be imported
    arguments = ["--models", "copy_last", "--dry-run", "--results", str(tmp_path / "none")]
    done = run_here("run", "--suite", "smoke", *arguments)
    assert done.returncode == 0, done.stderr
    assert "copy_last" in done.stdout
    assert not (tmp_path / "none").exists()
