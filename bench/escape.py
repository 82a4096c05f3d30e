"""Any text as the format that it is written in shows just that; each format escapes once."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from urllib.parse import quote

_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, lone surrogates, breaks of lines
_TURNING = dict.fromkeys(map(ord, "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))
"""Characters that turn the direction of what follows them."""
# An underscore between letters is none of Markdown's signs.
_MARKS = re.compile(r"[\\`*\[\]~$]|(?<!\w)_+|_+(?!\w)")
_AT_THE_START = re.compile(r"^(?:[#+=-]|\d+(?=[.)]))")
LONGEST_NAME = 120
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def one_line(text: str, most: int | None = None) -> str:
    """`text` on one line, without control characters, cut in its middle to `most` characters."""
    seen = "".join(map(_seen, str(text).translate(_TURNING)))
    line = " ".join(seen.split())
    if most is None or len(line) <= most:
        return line
    return f"{line[: most // 2]}…{line[len(line) - (most - 1) // 2 :]}"


def name(text: str) -> str:
    """`text` as a name of one line and at most 120 characters; names that differ stay different."""
    line = one_line(text, LONGEST_NAME)
    if line == text:
        return line
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{one_line(text, LONGEST_NAME - 9)}#{digest[:8]}"


def _seen(character: str) -> str:
    category = unicodedata.category(character)
    if category not in _UNSEEN:
        return character
    return f"\\u{ord(character):04x}" if category == "Cs" else " "


def markdown(text: str) -> str:
    """`text` as Markdown that shows just that, on one line, in a table too."""
    escaped = _MARKS.sub(_as_numbers, html.escape(one_line(text), quote=False))
    return _AT_THE_START.sub(_first_as_number, escaped).replace("|", "\\|")


def _as_numbers(found: re.Match[str]) -> str:
    return "".join(f"&#{ord(character)};" for character in found[0])


def _first_as_number(found: re.Match[str]) -> str:
    return f"&#{ord(found[0][0])};{found[0][1:]}"


def web_address(text: str) -> str:
    """`text` as an address in Markdown's round brackets."""
    return quote(text, safe="/:?#&=%@+,;~!$*'", errors="surrogateescape")


def csv_cell(value: object) -> object:
    """`value`, a text of which no spreadsheet takes for a formula; a number stays one."""
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def file_stem(text: str, most: int = 60) -> str:
    """`text` as the beginning of a file's name on any system, and in any link."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:most]
