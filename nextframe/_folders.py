"""Finds `bench`, `models` and `datasets` below this package, whatever else has such a name.

Installed, the three folders lie in this package; in a checkout beside it. Their code says
`from models.contract import Predictor`, and so may a user's own file: in these modules such a name
means ours. In all others it is left to Python: there `datasets` is Hugging Face's.

A module is executed with an `__import__` of its own, in the `__builtins__` of its namespace: `exec`
documents that these may be replaced, and torch.package imports so, too.

Where `bench` was imported by that plain name, as `python -m bench` does in a checkout, ours are the
plain names, and those below this package are the same modules.
"""

from __future__ import annotations

import builtins
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

FOLDERS = ("bench", "models", "datasets")
PACKAGE = __name__.partition(".")[0]
HERE = Path(__file__).resolve().parent
IN_CHECKOUT = not (HERE / FOLDERS[0]).is_dir()
ROOT = HERE.parent if IN_CHECKOUT else HERE
"""What holds the three folders."""


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,  # noqa: A002  as `__import__` calls it
    locals: Mapping[str, object] | None = None,  # noqa: A002
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """`__import__` for our modules and users' files."""
    root = name.partition(".")[0]
    if level or root not in FOLDERS:
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    importer = str((globals or {}).get("__name__", ""))
    if not importer.startswith(f"{PACKAGE}.") and not _is_ours(name, fromlist or ()):
        return builtins.__import__(name, globals, locals, fromlist or ())
    if fromlist:
        return builtins.__import__(f"{PACKAGE}.{name}", globals, locals, fromlist)
    import_module(f"{PACKAGE}.{name}")
    return sys.modules[f"{PACKAGE}.{root}"]


def _is_ours(name: str, parts: Sequence[str]) -> bool:
    """Whether `name` means ours where a user's file imports it, or these `parts` of it.

    A module below ours does, whatever else is there; `datasets` alone where there is no other.
    """
    modules = [name] if "." in name else [f"{name}.{part}" for part in parts]
    if modules and all(map(_is_there, modules)):
        return True
    if "." in name:
        return False
    other = importlib.util.find_spec(name)
    return other is None or _is_at(other.submodule_search_locations, ROOT / name)


def _is_there(name: str) -> bool:
    """Whether there is a module `name` of ours."""
    try:
        return importlib.util.find_spec(f"{PACKAGE}.{name}") is not None
    except ModuleNotFoundError:
        return False


def _is_at(locations: Sequence[str] | None, folder: Path) -> bool:
    """Whether a package with these `locations` is the one in `folder`."""
    return [Path(place).resolve() for place in locations or ()] == [folder]


BUILTINS = {**vars(builtins), "__import__": _import}


class _Ours(SourceFileLoader):
    """Executes a module of ours, in which the three names mean ours."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = BUILTINS
        super().exec_module(module)


class _Same(Loader):
    """Gives the module that has the plain name."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(spec.name.removeprefix(f"{PACKAGE}."))
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # which the import has replaced


class _Finder(MetaPathFinder):
    """Finds the modules of this package, and other packages that have the three names."""

    def __init__(self) -> None:
        bench = sys.modules.get("bench")
        self._plain = _is_at(getattr(bench, "__path__", None), ROOT / "bench")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in FOLDERS and IN_CHECKOUT and not self._plain:
            # With the checkout on the path, another `datasets` would be hidden from all others.
            elsewhere = [place for place in sys.path if Path(place).resolve() != ROOT]
            return PathFinder.find_spec(fullname, elsewhere, target)
        package, _, name = fullname.partition(".")
        if package != PACKAGE or not name:
            return None
        if self._plain and name.partition(".")[0] in FOLDERS:
            return importlib.util.spec_from_loader(fullname, _Same())
        spec = PathFinder.find_spec(fullname, [str(ROOT)] if name in FOLDERS else path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Ours(fullname, spec.loader.path)
        return spec


sys.meta_path.insert(0, _Finder())
