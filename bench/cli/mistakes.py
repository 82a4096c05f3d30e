"""What the parser refuses, said as every other error of a user is: in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import get_args, get_type_hints

import tyro
from tyro import _arguments, _errors

from bench import PROGRAM
from bench.errors import UserError, unknown


@contextmanager
def said_in_one_line(arguments: list[str], verbs: tuple[type, ...]) -> Iterator[None]:
    """While open, an error of the parser of `verbs` is a UserError, not the box that it draws."""

    def refuse(event: _errors.ParseErrorEvent) -> None:
        raise UserError(_line(event, arguments, verbs)) from None

    with _errors.on_parse_error(refuse):
        yield


def _line(event: _errors.ParseErrorEvent, arguments: list[str], verbs: tuple[type, ...]) -> str:
    """What is wrong, and what to do."""
    kind, program, rest = type(None), PROGRAM, arguments
    while named := {each.__name__.removeprefix(kind.__name__).lower(): each for each in verbs}:
        if not rest or rest[0].startswith("-"):
            return f"{program} needs one of: {', '.join(named)}"
        if rest[0] not in named:
            return str(unknown("verb", rest[0], named))
        kind, program, rest = named[rest[0]], f"{program} {rest[0]}", rest[1:]
        verbs = get_args(get_type_hints(kind).get("verb"))  # `data` has verbs of its own
    match event:
        case _errors.MissingArgs(unrecognized_tokens=[first, *_]):
            return _unrecognized(first, program, kind)
        case _errors.UnrecognizedArgs(tokens=[first, *_]):
            return _unrecognized(first, program, kind)
        case _errors.MissingArgs(missing_arguments=[first, *_]):
            return f"{program} needs {_described(first.arg)}"
        case _errors.InvalidChoice():
            choices = [choice for choice in event.choices if choice != "None"]
            kind_of = "value" if event.argument.is_positional() else event.argument.display_name()
            return str(unknown(kind_of, event.value, choices))
        case _errors.BadValue():
            return _described(event.argument, "has no value")
        case _errors.InstantiationFailure(argument=_arguments.ArgumentDefinition() as argument):
            quoted = re.findall(r"'[^']*'", event.message)
            return _described(argument, f"does not take {quoted[-1] if quoted else event.message}")
        case _:
            return f"not understood: {' '.join(arguments)} ({program} --help shows what there is)"


def _unrecognized(word: str, program: str, kind: type) -> str:
    if word.startswith("-"):
        problem = str(unknown("option", word.partition("=")[0], _flags(kind)))
    else:
        problem = f"{word!r} belongs to no option"
    return f"{problem} ({program} --help shows what there is)"


def _flags(part: type) -> list[str]:
    """The flags of a verb, or of what several verbs have in common."""
    flags = []
    for name, hint in get_type_hints(part, include_extras=True).items():
        kinds = [each for each in (hint, *get_args(hint)) if isinstance(each, type)]
        parts = [each for each in kinds if is_dataclass(each)]
        if parts:
            flags += [flag for each in parts for flag in _flags(each)]
        elif tyro.conf.Positional not in get_args(hint):
            flags.append(f"--{name.replace('_', '-')}")
    return flags


def _described(argument: _arguments.ArgumentDefinition, problem: str = "") -> str:
    """`--suite STR: Name of a suite, or path to a TOML file.`, with the problem before its text."""
    flag = () if argument.is_positional() else (argument.display_name(),)
    told = argument.field.helptext
    text = ((told() if callable(told) else told) or "").split()
    words = [*flag, str(argument.lowered.metavar), problem]
    return ": ".join(part for part in (" ".join(filter(None, words)), " ".join(text)) if part)
