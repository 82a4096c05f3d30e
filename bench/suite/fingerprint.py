"""When two cells are the same: digests of configuration, code and data."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

PACKAGES = ("models", "datasets")
REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = {
    "trained": ("bench/train", "bench/kernels"),
    "scored": ("bench/score", "models/copy_last.py", "models/linear_motion.py"),
}
"""The folders and files whose code is part of each digest; the rest of the harness is of none."""
PRESENTATION = {"label", "unit", "better", "perfect", "decimals", "outside", "definition"}
"""Fields of a metric that affect no figure."""


def digest(value: object) -> str:
    """The digest of a JSON-able `value`, 32 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def harness_digest(part: Literal["trained", "scored"]) -> str:
    """Digest of all code of the harness that the weights, or the figures beyond them, depend on."""
    rooms = (REPOSITORY / room for room in ROOMS[part])
    files = [path for room in rooms for path in ([room] if room.is_file() else _modules(room))]
    return digest([_read(path.read_bytes()).normalised for path in files])


def _modules(room: Path) -> list[Path]:
    return sorted(room.rglob("*.py"))


@cache
def code_digest(*classes: type) -> str:
    """Digest of the files of `classes` and of what these import.

    Comments, docstrings and layout do not count. Imports are followed within models and data sets
    and beside a user's own file, not into the harness or installed packages.
    """
    files = {Path(inspect.getfile(cls)).resolve() for cls in classes}
    seen: dict[Path, str] = {}
    while files:
        path = files.pop()
        code = _read(path.read_bytes())
        files |= _first_party(code.imports, path) - seen.keys() - {path}
        seen[path] = code.normalised
    return digest(sorted(seen.values()))


class _Code(NamedTuple):
    """What counts of a file: its code without comments and layout, and what it imports."""

    normalised: str
    imports: frozenset[str]


@cache
def _read(content: bytes) -> _Code:
    tree = ast.parse(content)  # which heeds a declared encoding
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return _Code(_normalised(tree), frozenset(imports))


def _first_party(imports: Collection[str], path: Path) -> set[Path]:
    """The files of `imports`, by the file at `path`, that are first-party."""
    ours = path.is_relative_to(REPOSITORY)
    roots = [REPOSITORY] if ours else [REPOSITORY, path.parent]
    return {
        place
        for name in imports
        for root in roots
        if root != REPOSITORY or name.partition(".")[0] in PACKAGES
        if (place := root.joinpath(*name.split(".")).with_suffix(".py")).is_file()
    }


def _normalised(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Metric":
            node.keywords = [word for word in node.keywords if word.arg not in PRESENTATION]
    return ast.unparse(tree)


@cache
def commit() -> str:
    """The commit checked out, with `-dirty` where files differ from it; "" outside a checkout."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(REPOSITORY), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def versions() -> Mapping[str, str]:
    """The versions of the harness, PyTorch and Python."""
    import torch

    from bench import __version__

    return {
        "bench.version": __version__,
        "bench.torch": torch.__version__,
        "bench.python": sys.version.split()[0],
    }
