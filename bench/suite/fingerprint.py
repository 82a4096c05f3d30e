"""What makes two cells the same cell: a digest of configuration, code and data."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

PACKAGES = ("bench", "models", "datasets")
HOUSE = Path(__file__).resolve().parents[2]
NUMBERS_COME_FROM = ("bench/train/step.py", "bench/score/{task}.py")
"""The harness's own part in a cell's figures; the rest of it may change without re-runs."""


def digest(value: object) -> str:
    """32 hexadecimal digits that stand for a JSON-able `value`."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def code_digest(classes: Iterable[type], task: str) -> str:
    """Digest of the code behind `classes` and their `task`: files, what they import, training.

    Comments, docstrings and layout do not count. Imports are followed within the house and beside
    a user's own file, not into installed packages.
    """
    files = {HOUSE / name.format(task=task) for name in NUMBERS_COME_FROM}
    files |= {Path(inspect.getfile(cls)).resolve() for cls in classes}
    seen: dict[Path, str] = {}
    while files:
        path = files.pop()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        seen[path] = _normalised(tree)
        files |= {p for p in _imported(tree, path) if p not in seen}
    return digest(sorted(seen.values()))


def _imported(tree: ast.Module, path: Path) -> set[Path]:
    """The first-party files that `tree`, read from `path`, imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    roots = [HOUSE] if path.is_relative_to(HOUSE) else [HOUSE, path.parent]
    return {
        found
        for name in names
        for root in roots
        if root != HOUSE or name.partition(".")[0] in PACKAGES
        if (found := root.joinpath(*name.split(".")).with_suffix(".py")).is_file()
    }


def _normalised(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


@cache
def commit() -> str:
    """The commit of the house, with `-dirty` where files differ from it; "" outside a checkout."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(HOUSE), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def versions() -> Mapping[str, str]:
    """The versions of what the figures depend on."""
    import torch

    from bench import __version__

    return {
        "bench.version": __version__,
        "bench.torch": torch.__version__,
        "bench.python": sys.version.split()[0],
    }
