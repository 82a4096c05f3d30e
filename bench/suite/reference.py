"""How suites and users write a model or data set: `name`, or `name(option=value, ...)`."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from bench.errors import UserError, unknown
from models.recipe import TRAINING_FIELDS, Recipe

LONGEST = 4_000  # characters of a reference; MLflow keeps 6,000 of a value
DEEPEST = 5  # lists within lists of an option's value
HIDDEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, of what is not UTF-8, and of line ends."""

_IN_FILE = re.compile(r"(.*?\.py:\w*)\s*(\(.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reference:
    """A name, or `path/to/file.py:Class`, and the options that differ from its defaults."""

    name: str
    options: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference written as `text`.

        Raises:
            UserError: the parentheses hold something else than options with literal values, or the
                text is too long or holds what cannot be shown.
        """
        if len(text) > LONGEST:
            raise UserError(
                f"{text[:40]!r}... has {len(text):,} characters: write at most {LONGEST:,}"
            )
        if any(unicodedata.category(character) in HIDDEN for character in text):
            raise UserError(f"{text!a} holds a line end, a control character or no UTF-8 text")
        name, inside = split(text)
        if not inside:
            return cls(name, {})
        try:
            return cls(name, _options(inside))
        # Deep nesting ends in the last two, long numbers in a ValueError.
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            shown = text if len(text) <= 200 else f"{text[:200]}..."
            raise UserError(
                f"{shown!r} is not understood: write name(option=value, ...), such as"
                " 'convlstm(peephole=True)'"
            ) from None

    def label(self, name: str) -> str:
        """`name` with the options, as tables and MLflow show it: in one order, however written."""
        if not self.options:
            return name
        options = (f"{key}={value!r}" for key, value in sorted(self.options.items()))
        return f"{name}({', '.join(options)})"

    def check_options(
        self, constructor: type, own: Collection[str], with_recipe: bool = False
    ) -> None:
        """Make sure that `constructor` has these options, and takes values of such types.

        `own` are the options of the constructor. `with_recipe`, as for models, the fields of a
        recipe may stand among them.

        Raises:
            UserError: it has none of that name, or is annotated for another type.
        """
        if not self.options:
            return
        fields = TRAINING_FIELDS if with_recipe else ()
        hints = _types(constructor)
        types = _types(Recipe) | {name: hints[name] for name in own if name in hints}
        for key, value in self.options.items():
            if key not in own and key not in fields:
                raise unknown(f"option of {self.name}", key, [*own, *fields])
            if key in types:
                self._check_type(key, value, types[key])

    def _check_type(self, key: str, value: object, wanted: Any) -> None:
        try:
            # As JSON, where a list may be a tuple and a text a path, but true is no number.
            adapter = TypeAdapter(wanted, config=ConfigDict(strict=True))
            adapter.validate_json(json.dumps(value))
        except (PydanticSchemaGenerationError, PydanticUserError):  # a type of the user's own
            return
        except ValidationError as error:
            what = error.errors()[0]["msg"]
            raise UserError(f"{self.name}: {key}={value!r} is of the wrong type: {what}") from error


def from_table(written: str, table: Mapping[str, Any]) -> str:
    """The reference `written` with the options of its table in a suite's file.

    A recipe's fields are a table `recipe` in it: `recipe.learning_rate = 3e-3`.

    Raises:
        UserError: `written` is no reference, or a field is none of a recipe.
    """
    options, fields = dict(table), table.get("recipe", {})
    if isinstance(fields, Mapping):
        for field in fields:
            if field not in TRAINING_FIELDS:
                raise unknown(f"field of the recipe of {written}", field, TRAINING_FIELDS)
        options |= fields
        options.pop("recipe", None)
    return with_options(written, options)


def with_options(reference: str, options: Mapping[str, Any]) -> str:
    """`reference` with `options` in place of, or behind, its own.

    Raises:
        UserError: it is no reference.
    """
    if not options:
        return reference
    written = Reference.parse(reference)
    return Reference(written.name, {**written.options, **options}).label(written.name)


def in_order(label: str) -> str:
    """A recorded `label` as it is written now: before, options stood as they were typed."""
    try:
        written = Reference.parse(label)
    except UserError:  # some other text
        return label
    return written.label(written.name)


def split(text: str) -> tuple[str, str]:
    """The name in `text`, or `path/to/file.py:Class`, and "(options)" or ""."""
    in_file = _IN_FILE.fullmatch(text)
    if in_file:
        return in_file[1], in_file[2] or ""
    name, opening, inside = text.partition("(")
    return name, opening + inside


def is_file_reference(reference: str) -> bool:
    """Whether `reference` has the form `path/to/file.py:Class`."""
    return split(reference)[0].rpartition(":")[0].endswith(".py")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a `name` that no model or data set has; one of a file has its own form."""
    of_file = name.endswith(".py") or ":" in name
    return unknown(kind, name, known, "name a class of a file as path/to/file.py:Class" * of_file)


def _options(inside: str) -> dict[str, Any]:
    """The options written as `inside`, such as "(width=8)".

    Raises:
        ValueError: it is no call, gives an option twice, or a value that is no literal.
    """
    call = ast.parse(f"_{inside}", mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ValueError
    options = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    if len(options) != len(call.keywords):
        raise ValueError
    for value in options.values():
        _require_plain(value, DEEPEST)
    return options


def _require_plain(value: object, depth: int) -> None:
    """Raise ValueError unless `value` is a number, text, None, or a short list of such values."""
    if isinstance(value, list | tuple | dict):
        if not depth:
            raise ValueError
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            _require_plain(part, depth - 1)
    elif isinstance(value, float):
        if value - value != 0:  # 1e999 is infinite
            raise ValueError
    elif not isinstance(value, bool | int | str | None):
        raise ValueError


def _types(constructor: type) -> dict[str, Any]:
    """The annotations of the constructor's parameters; none where they cannot be told."""
    try:
        return get_type_hints(constructor.__init__)  # type: ignore[misc]
    except Exception:  # a name that is imported for type checkers alone
        return {}
