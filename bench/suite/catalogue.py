"""Finds models and data sets: built in, in a user's own file, or in an installed package.

A reference is a name or `path/to/file.py:Class`, either with options (`bench.suite.reference`).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_args

import datasets
import models
from bench import as_started
from bench.errors import UserError, line_in, one_line, unknown
from bench.suite.reference import Reference, is_file_reference, split, unknown_name
from bench.units import listed
from datasets.contract import DataMissing, Dataset, TaskName
from datasets.sources import own_file
from models.contract import Model, Predictor, Recipe, Size

NAME = re.compile(r"\w[\w .+-]*(/\w[\w .+-]*)*")
LONGEST_NAME = 100
OURS = {
    "nextframe",
    "tests",
    *(each.partition(".")[0] for each in (__name__, models.__name__, datasets.__name__)),
}

Found = TypeVar("Found", type[Model], type[Dataset])


@cache
def all_models() -> dict[str, type[Model]]:
    """Every model by name: in `models/` and under the entry point `nextframe.models`."""
    return _found(models, Model)


@cache
def predictors() -> dict[str, type[Predictor]]:
    """Every model that predicts frames, by name."""
    return {name: cls for name, cls in all_models().items() if issubclass(cls, Predictor)}


@cache
def all_datasets() -> dict[str, type[Dataset]]:
    """Every data set by name: in `datasets/` and under the entry point `nextframe.datasets`."""
    return _found(datasets, Dataset)


def model(reference: str) -> type[Model]:
    """The class of the model that `reference` names.

    Raises:
        UserError: there is none, or it has no such option; the message suggests the nearest name.
    """
    cls: type[Model] = _get("model", reference, models, all_models, Model)
    return cls


def dataset(reference: str) -> type[Dataset]:
    """The class of the data set that `reference` names.

    Raises:
        UserError: there is none, or it has no such option; the message suggests the nearest name.
    """
    cls: type[Dataset] = _get("data set", reference, datasets, all_datasets, Dataset)
    return cls


def model_for(task: TaskName, reference: str) -> type[Model]:
    """The class of the model that `reference` names, which must be for `task`.

    Raises:
        UserError: as `model`, and where it is for another task.
    """
    return _checked(task, reference, model(reference))


def dataset_for(task: TaskName, reference: str) -> type[Dataset]:
    """The class of the data set that `reference` names, which is for `task`.

    Raises:
        UserError: as `dataset`, and where it is for another task.
    """
    return _checked(task, reference, dataset(reference))


def _checked(task: TaskName, reference: str, cls: Found) -> Found:
    if cls.task != task:
        raise UserError(
            f"{reference} is for {cls.task}, this suite for {task}: choose another, or write"
            f' task = "{cls.task}" in the suite'
        )
    return cls


def open_dataset(reference: str) -> Dataset:
    """The data set that `reference` names, with its options.

    Raises:
        UserError: there is none, or it cannot take these options.
        DataMissing: its data are not on this machine.
    """
    cls, options = dataset(reference), Reference.parse(reference).options
    try:
        return cls(**options)
    except (DataMissing, UserError):
        raise
    except Exception as error:  # by a user's class, anything
        kind = "" if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: "
        raise UserError(f"{reference}: {kind}{one_line(error)}") from error


def require_dataset(reference: str) -> Dataset:
    """As `open_dataset`, for a verb that cannot do without the data.

    Raises:
        UserError: there is none, it cannot take these options, or its data are not here.
    """
    try:
        return open_dataset(reference)
    except DataMissing as error:
        raise UserError(as_started(str(error))) from error


def size_of(cls: type[Model], asked: str) -> tuple[str, Size]:
    """The name and content of the size `asked` for; a model with one size has just that one.

    Raises:
        UserError: the model has several sizes and none of that name.
    """
    if asked in cls.sizes:
        return asked, cls.sizes[asked]
    if len(cls.sizes) == 1:
        return next(iter(cls.sizes.items()))
    raise unknown(f"size of {cls.name}", asked, cls.sizes)


def options_of(cls: type[Model | Dataset]) -> tuple[str, ...]:
    """The options that may be written behind its name, apart from those of a recipe.

    How many covariates a model is given is up to the data set.
    """
    told = {"covariates"} if getattr(cls, "takes_covariates", False) else set()
    return tuple(
        parameter.name
        for parameter in inspect.signature(cls).parameters.values()
        if (parameter.default is not parameter.empty or parameter.kind is parameter.KEYWORD_ONLY)
        and parameter.name not in told
    )


def model_options(reference: str) -> dict[str, Any]:
    """The options written in `reference` that build the model; those of its recipe are left out."""
    return _written(reference)[0]


def recipe_options(reference: str) -> dict[str, Any]:
    """The fields of a recipe written in `reference`, such as `convlstm(learning_rate=3e-3)`.

    An option that the model itself calls so is the model's.
    """
    return _written(reference)[1]


def _written(reference: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options written in `reference`: the model's own, and those of its recipe."""
    own, written = options_of(model(reference)), Reference.parse(reference).options
    parts: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for key, value in written.items():
        parts[key not in own][key] = value
    return parts


def without_recipe(reference: str) -> str:
    """`reference` of a model without what it says of a recipe, for one that is not trained."""
    own, of_recipe = _written(reference)
    name = split(reference)[0]
    return Reference(name, own).label(name) if of_recipe else reference


def recipe_as_asked(recipe: Recipe, fields: Mapping[str, Any]) -> Recipe:
    """`recipe` with other `fields`; then it is nobody's but the user's.

    Raises:
        UserError: a field is of another type or out of its range.
    """
    if not fields:
        return recipe
    told = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    source = f"{recipe.source}; as asked {told}"
    changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    changes |= {"source": source, "origin": "ours", "trials": 0}
    try:
        return replace(recipe, **changes)
    except ValueError as error:
        raise UserError(str(error)) from error


def absolute(reference: str) -> str:
    """`reference`, with the path of a file made absolute."""
    if not is_file_reference(reference):
        return reference
    place, options = split(reference)
    file, _, name = place.rpartition(":")
    return f"{Path(file).absolute()}:{name}{options}"


# A base is abstract, which `type[T]` does not admit: hence Any.
def _found(package: ModuleType, base: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for cls in _defined(info.name, base):
            _add(found, cls)
    for point in _installed(package):
        try:
            cls = point.load()
        except Exception as error:
            raise UserError(
                f"the installed {point.value} ({point.group}) cannot be imported:"
                f" {one_line(error)}; mend or uninstall its package"
            ) from error
        if not _is_concrete(cls, base):
            raise UserError(f"the installed {point.value} ({point.group}) is no {base.__name__}")
        _add(found, cls)
    return found


@cache
def _installed(package: ModuleType) -> tuple[EntryPoint, ...]:
    """What installed packages offer; looked for once, which opens the files of every package."""
    return tuple(entry_points(group=f"nextframe.{package.__name__.rpartition('.')[2]}"))


def _add(found: dict[str, Any], cls: Any) -> None:
    _require_sound(cls)
    if found.setdefault(cls.name, cls) is not cls:
        raise UserError(f"two classes are named {cls.name!r}: {found[cls.name]} and {cls}")


def _is_concrete(cls: object, base: Any) -> bool:
    return inspect.isclass(cls) and issubclass(cls, base) and not inspect.isabstract(cls)


def _built_in(package: ModuleType, name: str, base: Any) -> Any:
    """The class `name` of the module that is called as the name begins; None where it is elsewhere.

    This spares the import of all others. It says nothing where an installed package may have a
    class of that name, too.
    """
    stem = name.partition("/")[0]
    if stem not in {info.name for info in pkgutil.iter_modules(package.__path__)}:
        return None
    if _installed(package):
        return None
    return next(
        (cls for cls in _defined(f"{package.__name__}.{stem}", base) if cls.name == name), None
    )


def _defined(module_name: str, base: Any) -> Iterator[Any]:
    """The classes that a module defines itself."""
    for cls in vars(importlib.import_module(module_name)).values():
        if _is_concrete(cls, base) and cls.__module__ == module_name:
            yield cls


def _get(
    kind: str,
    reference: str,
    package: ModuleType,
    known: Callable[[], dict[str, Any]],
    base: Any,
) -> Any:
    written = Reference.parse(reference)
    if is_file_reference(written.name):
        cls = _from_file(kind, written.name, base)
    else:
        cls = _built_in(package, written.name, base)
        if cls is None:
            if written.name not in known():
                raise unknown_name(kind, written.name, known())
            cls = known()[written.name]
    _require_sound(cls)
    written.check_options(cls, options_of(cls), with_recipe=base is Model)
    return cls


def _require_sound(cls: Any) -> None:
    """Raise UserError unless the class attributes of `cls` are what the contract says.

    A name stands in tables, charts and the names of files.
    """
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__module__
    where, name = f"{file}:{cls.__qualname__}", cls.name
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UserError(
            f"the name of {where} is {name!a:.60}: give it letters, digits, '_', '-', '.', '+',"
            f" ' ' and '/', at most {LONGEST_NAME}"
        )
    if getattr(cls, "task", None) not in get_args(TaskName):
        raise UserError(f"the task of {where} is none of {', '.join(get_args(TaskName))}")
    if issubclass(cls, Model):
        sizes = cls.sizes
        named = isinstance(sizes, Mapping) and all(isinstance(size, str) for size in sizes)
        if not named or not sizes or not all(isinstance(s, Size) for s in sizes.values()):
            raise UserError(f"the sizes of {where} are no mapping of names to models.contract.Size")


def _from_file(kind: str, reference: str, base: Any) -> Any:
    path_text, _, name = reference.rpartition(":")
    path = Path(path_text).absolute()
    if not os.path.isfile(path):  # noqa: PTH113, which raises where a name is too long
        raise UserError(f"there is no file {path}")
    module = _load(path)
    if not _is_concrete(getattr(module, name, None), base):
        raise _no_such_class(kind, path, module, name, base)
    return getattr(module, name)


def _no_such_class(kind: str, path: Path, module: ModuleType, name: str, base: Any) -> UserError:
    """Why the module in the file `path` has no class `name` that is a `base`, and what to do."""
    found = getattr(module, name, None)
    if not inspect.isclass(found) or found.__module__ != module.__name__:
        classes = [n for n, cls in vars(module).items() if _is_concrete(cls, base)]
        return unknown(f"{kind} in {path.name}", name, (n for n in classes if n != base.__name__))
    if issubclass(found, (Model, Dataset)):
        if missing := sorted(getattr(found, "__abstractmethods__", ())):
            return UserError(f"{name} in {path.name} lacks {listed(missing)}: see docs/extend.md")
        return UserError(f"{name} in {path.name} is no {kind}: name it where its own kind is asked")
    return UserError(
        f"{name} in {path.name} is no {kind}: derive a model from Predictor or Classifier of"
        " models.contract, a data set from Dataset of datasets.contract"
    )


@cache
def _load(path: Path) -> ModuleType:
    """The module in the file `path`, which may import its neighbours.

    Its name has a digest of the path: two files of one name are two modules. What it prints goes to
    the standard error, for verbs that print data.
    """
    place = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    name = f"nextframe_user_{path.stem}_{place}"
    with _neighbours_of(path), contextlib.redirect_stdout(sys.stderr):
        try:
            return own_file.load(name, path)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit() is none of Python's Exceptions
            what = f"{line_in(error, str(path))}{type(error).__name__}: {one_line(error)}"
            raise UserError(f"{path} cannot be imported: {what}") from error


_neighbours: dict[str, Path] = {}
"""The modules that users' files imported from beside them, with the folder of each."""


@contextlib.contextmanager
def _neighbours_of(path: Path) -> Iterator[None]:
    """Forget what another file imported from beside it; keep in mind what `path` does."""
    for name in [name for name, folder in _neighbours.items() if folder != path.parent]:
        sys.modules.pop(name, None)
        del _neighbours[name]
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in sys.modules.keys() - before:
            if _is_beside(name, path.parent):
                _neighbours[name] = path.parent


def _is_beside(name: str, folder: Path) -> bool:
    """Whether the module `name` was found in `folder`, and is none of the harness's own."""
    place = Path(getattr(sys.modules[name], "__file__", None) or "")
    own = folder.joinpath(*name.split("."))
    return name.partition(".")[0] not in OURS and place in (
        own.with_name(f"{own.name}.py"),
        own / "__init__.py",
    )
