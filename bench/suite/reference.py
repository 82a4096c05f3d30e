"""How suites and users write a model or data set: `name`, or `name(option=value, ...)`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError, unknown


@dataclass(frozen=True, slots=True)
class Reference:
    """A name, or `path/to/file.py:Class`, and the options that differ from its defaults."""

    name: str
    options: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference written as `text`.

        Raises:
            UserError: the parentheses hold something else than options with literal values.
        """
        name, opening, inside = text.partition("(")
        if not opening:
            return cls(text, {})
        try:
            call = ast.parse(f"_({inside}", mode="eval").body
            if not isinstance(call, ast.Call) or call.args:
                raise ValueError
            options = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        except (SyntaxError, ValueError):
            raise UserError(
                f"{text!r} is not understood: write name(option=value, ...), such as"
                " 'convlstm(peephole=True)'"
            ) from None
        return cls(name, options)

    def label(self, name: str) -> str:
        """`name` with the options, as tables and MLflow show it."""
        if not self.options:
            return name
        return f"{name}({', '.join(f'{key}={value!r}' for key, value in self.options.items())})"

    def check_options(self, constructor: type) -> None:
        """Raise a `UserError` where `constructor` has no option of such a name."""
        known = [
            parameter.name
            for parameter in inspect.signature(constructor).parameters.values()
            if parameter.default is not parameter.empty or parameter.kind is parameter.KEYWORD_ONLY
        ]
        for key in self.options:
            if key not in known:
                raise unknown(f"option of {self.name}", key, known)
