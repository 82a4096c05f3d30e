"""A user's own file as a module, here and in the processes that decode for it."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType


class _AsHere(SourceFileLoader):
    """Executes a file in which `models` and `datasets` mean what they mean in this one."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = globals()["__builtins__"]  # see `nextframe._folders`
        super().exec_module(module)


def load(name: str, path: Path) -> ModuleType:
    """The module `name` in the file `path`, which may import its neighbours; one of that name now.

    What the file raises is raised, and there is no such module then.
    """
    loader = _AsHere(name, str(path))
    spec = spec_from_loader(name, loader)
    if spec is None:
        raise ImportError(f"no module can be made of {path}")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        with _importable(str(path.parent)):
            loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def _importable(folder: str) -> Iterator[None]:
    """Find modules in `folder` first, and execute them as the file beside them."""
    kinds = (ExtensionFileLoader, EXTENSION_SUFFIXES), (_AsHere, SOURCE_SUFFIXES)
    sys.path.insert(0, folder)
    sys.path_importer_cache[folder] = FileFinder(folder, *kinds)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path_importer_cache.pop(folder, None)
        with contextlib.suppress(ValueError):  # the file took it away itself
            sys.path.remove(folder)
