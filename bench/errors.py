"""Errors that end a verb or a cell in one line, and how any error is said in one."""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Iterable
from pathlib import Path

from bench.units import listed

LONGEST = 100  # characters of a name in one message


class UserError(Exception):
    """Bad input: the message says what is wrong and what to do; the program exits with 2."""


class Invalid(Exception):
    """A model broke a rule of the comparison: its figures are void. The message says which."""


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UserError:
    """The error for an unknown `name`, and a `hint`, by default the nearest known one."""
    names = sorted(known)
    bare = [each for each in names if re.sub(r"\(.*\)", "", each) == name]  # without its options
    near = bare or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    known_ones = f"there are: {listed(names) or 'none'}"
    hint = hint or (f"did you mean {near[0]!r}?" if near else known_ones)
    shown = name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
    return UserError(f"unknown {kind} {shown!r}: {hint}")


def one_line(error: BaseException) -> str:
    """The message of any `error` as one line of a bounded length."""
    return " ".join(str(error).split())[:300]


def described(error: BaseException) -> str:
    """The kind of `error`, where that is no user's, and its message on one line."""
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{kind}{one_line(error)}"


def line_in(error: BaseException, file: str | None) -> str:
    """`file.py:12: ` of the last line of `file` that led to `error`, or ""."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return f"{Path(file).name}:{lines[-1]}: " if file and lines else ""
