"""When two cells are the same: digests of configuration, code and data."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Generator, Tensor

PACKAGES = ("models", "datasets")
REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = {
    "trained": ("bench/train", "bench/kernels"),
    "scored": ("bench/score", "models/copy_last.py", "models/linear_motion.py"),
}
"""The folders and files whose code is part of each digest; the rest of the harness is of none."""
PRESENTATION = {"label", "unit", "better", "perfect", "decimals", "outside", "definition"}
"""Fields of a metric that affect no figure."""
COARSER = (
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
)
"""The variables by which libraries compute in fewer bits than PyTorch asks them for."""
TRAINING_CLIPS, TRAINING_SEED = 2, 0


def digest(value: object) -> str:
    """The digest of a JSON-able `value`, 32 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def harness_digest(part: Literal["trained", "scored"]) -> str:
    """Digest of all code of the harness that the weights, or the figures beyond them, depend on."""
    return room_digest(*ROOMS[part])


def room_digest(*rooms: str) -> str:
    """Digest of the code in these folders and files of the harness."""
    places = (REPOSITORY / room for room in rooms)
    files = [path for room in places for path in ([room] if room.is_file() else _modules(room))]
    return digest([_read(path.read_bytes()).normalised for path in files])


def _modules(room: Path) -> list[Path]:
    return sorted(room.rglob("*.py"))


@cache
def code_digest(*classes: type) -> str:
    """Digest of the files of `classes` and of what these import, as `file_digest`."""
    return file_digest(*(Path(inspect.getfile(cls)).resolve() for cls in classes))


def file_digest(*paths: Path) -> str:
    """Digest of the code in the files `paths`, which are resolved, and in what these import.

    Comments, docstrings and layout do not count. Imports are followed within models and data sets
    and beside a user's own file, not into the harness or installed packages.

    Raises:
        OSError, SyntaxError, ValueError: a file cannot be read, or is no Python.
    """
    files = {path: path.parent for path in paths}  # beside which a file's neighbours are
    seen: dict[Path, str] = {}
    while files:
        path, folder = files.popitem()
        code = _read(path.read_bytes())
        seen[path] = code.normalised
        files |= {f: folder for f in _first_party(code.imports, path, folder) if f not in seen}
    return digest(sorted(seen.values()))


class _Code(NamedTuple):
    """What counts of a file: its code without comments and layout, and what it imports.

    Relative imports begin with as many dots as they do there.
    """

    normalised: str
    imports: frozenset[str]


@cache
def _read(content: bytes) -> _Code:
    tree = ast.parse(content)  # which heeds a declared encoding
    imports: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            place = "." * node.level + (node.module or "")
            stem = f"{place}." if node.module else place
            imports |= {place, *(f"{stem}{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    if b"Metric" in content:
        _leave_out_presentation(tree)
    return _Code(ast.unparse(tree), frozenset(imports))


def _statements(tree: ast.Module) -> Iterator[Any]:
    """The module and every statement in it: a twelfth of the nodes that `ast.walk` visits."""
    found: list[Any] = [tree]
    for node in found:
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            found += getattr(node, part, ())


def _leave_out_presentation(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Metric":
            node.keywords = [word for word in node.keywords if word.arg not in PRESENTATION]


def _first_party(imports: Collection[str], path: Path, folder: Path) -> set[Path]:
    """The files of `imports`, by the file at `path`, that are first-party.

    Beside a user's own file, those in `folder` are, too.
    """
    found: set[Path] = set()
    for name in imports:
        if dots := len(name) - len(name.lstrip(".")):
            package = path.parents[min(dots, len(path.parents)) - 1]
            found |= {package / "__init__.py", *_places(package, name[dots:])}
            continue
        if not path.is_relative_to(REPOSITORY):
            found |= _places(folder, name)
        if (ours := name.removeprefix("nextframe.")).partition(".")[0] in PACKAGES:
            found |= _places(REPOSITORY, ours)
    return {place for place in found if place.is_file()}


def _places(root: Path, name: str) -> set[Path]:
    """Where the module `name` may be below `root`, and the packages that it is in."""
    if not name:
        return set()
    parts = name.split(".")
    packages = (root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1))
    return {root.joinpath(*parts).with_suffix(".py"), *(each / "__init__.py" for each in packages)}


def arithmetic() -> dict[str, str]:
    """What decides which arithmetic the code means: PyTorch's release, and `COARSER` where set.

    A release may compute by another algorithm, begin from other weights or draw other numbers. Its
    build, as for CUDA 12.6 or 13.0, is left out, and so are threads, CPU, GPU, driver and their
    libraries: they round otherwise, which moves a figure by less than another seed does. A month of
    cells is not trained again for it; `bench.run.environment` records it, so that `bench verify`
    and `bench diff` can name it. Precision, kind of device and how steps run are the cell's own.
    """
    import torch

    release = torch.__version__.partition("+")[0]
    return {"torch": release} | {name: os.environ[name] for name in COARSER if name in os.environ}


def training_digest(draw: Callable[[int, Generator], tuple[Tensor, ...]]) -> str | None:
    """Digest of a few training clips, with their labels, that `draw` gives for a fixed generator.

    A sample: it tells other sources, motion, order or augmentation, and not one altered frame in a
    thousand. None where the clips cannot be drawn, or are others the second time, which
    `bench check` reports: such cells are known by all the rest.
    """
    import torch

    def sample() -> str:
        generator = torch.Generator().manual_seed(TRAINING_SEED)
        return digest([pixels(part) for part in draw(TRAINING_CLIPS, generator)])

    try:
        first, second = sample(), sample()
    except (Exception, SystemExit):  # a data set is anybody's code: its cells say what it was
        return None
    return first if first == second else None


def pixels(values: Tensor) -> str:
    """Digest of the `values` of frames."""
    return hashlib.sha256(values.cpu().contiguous().numpy().data).hexdigest()


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
