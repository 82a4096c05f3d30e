"""Names of files as they are printed, listed and stored, whatever bytes they are made of."""

from __future__ import annotations

import os
import unicodedata
from pathlib import PurePath

_UNPRINTABLE = frozenset({"Cc", "Zl", "Zp"})
"""Unicode's categories of control characters and of separators of lines and paragraphs."""


def printable(name: str | PurePath) -> str:
    r"""`name` in one line of valid Unicode: what is not, such as the byte E9, is written `\xe9`."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(_escaped(letter) for letter in text)


def folded(name: str) -> str:
    """What two names share that some file system takes for the same: case and accents aside."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) not in _UNPRINTABLE:
        return letter
    return letter.encode("unicode_escape").decode()
