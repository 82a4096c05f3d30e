"""The order of images in time, which the numbers in their names tell, and where time jumps."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise, product
from pathlib import Path
from statistics import median_low

from natsort import natsorted, ns

from datasets.video.names import printable

_WHOLE, _REAL = r"\d+", r"\d+(?:\.\d+)?"
_UNSIGNED, _SIGNED, _SIGNED_ANYWHERE = "", r"(?:(?<![^\W_])[+-])?", "[+-]?"
"""`frame-2` is frame 2, unless others lack the hyphen; `t_-2` may be frame -2."""

_CLEAR = [
    re.compile(f"({sign}{size})") for sign, size in product((_UNSIGNED, _SIGNED), (_WHOLE, _REAL))
]
_LAST_RESORT = [re.compile(f"({_SIGNED_ANYWHERE}{size})") for size in (_WHOLE, _REAL)]


class Unordered(Exception):
    """Names that tell no order, or several; the message is the reason, and what to do."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """The number of each image, all different, in one way to read them."""

    numbers: tuple[Decimal, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The places of the images in time."""
        return tuple(sorted(range(len(self.numbers)), key=self.numbers.__getitem__))

    @property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """The images between jumps of the numbers, as (first, one beyond the last) in time."""
        numbers = sorted(self.numbers)
        steps = [later - earlier for earlier, later in pairwise(numbers)]
        usual = median_low(steps)
        jumps = [n for n, step in enumerate(steps, 1) if abs(step - usual) * 2 >= usual]
        return tuple(pairwise((0, *jumps, len(numbers))))


def natural(paths: Iterable[Path]) -> tuple[Path, ...]:
    """`paths` in the order in which people count."""
    return tuple(natsorted(sorted(paths), key=str, alg=ns.PATH))  # 1.png and 01.png tie


def numbered(paths: Iterable[Path]) -> bool:
    """Whether any of the names of `paths` has a number in it."""
    return any(re.search(r"\d", path.stem) for path in paths)


def in_time(paths: Iterable[Path]) -> tuple[tuple[Path, ...], tuple[tuple[int, int], ...]]:
    """The images `paths` of one folder in time, and the runs of them that are evenly spaced.

    They come in the order of the one number in which their names differ: whole, decimal
    (`0.25.png`) or with a sign (`t_-3.png`); where several differ the first one counts, if it is
    another in each name. Names without any number come in natural order, as one run. Time jumps
    where a step differs by half or more from the usual one, the median.

    Raises:
        Unordered: names of several kinds, as of masks beside frames or of several recordings; one
            number twice; or numbers that can be read in two ways.
    """
    found = tuple(sorted(paths))
    stems = [path.stem for path in found]
    if len(found) < 2 or not numbered(found):
        return natural(found), ((0, len(found)),)
    reading = _reading(stems)
    if reading is None:
        raise Unordered(_what_is_wrong(found))
    return tuple(found[place] for place in reading.order), reading.runs


def _reading(stems: Sequence[str]) -> _Reading | None:
    """The numbers of images called so; None where these do not tell."""
    for patterns, only in ((_CLEAR, True), (_LAST_RESORT, True), (_CLEAR + _LAST_RESORT, False)):
        readings = [it for it in (_read(stems, pattern, only) for pattern in patterns) if it]
        readings = [it for it in readings if len(it.runs) == 1] or readings
        if len({it.order for it in readings}) > 1:
            raise Unordered(
                f"holds images whose numbers can be read in two ways, such as"
                f" {printable(stems[0])}: count them in whole numbers without a sign"
            )
        if readings:
            return readings[0]
    return None


def _read(stems: Sequence[str], pattern: re.Pattern[str], only: bool) -> _Reading | None:
    """The first number in which `stems` differ, if it is another in each; the `only` such one."""
    split = [pattern.split(stem) for stem in stems]
    if len({_text(pieces) for pieces in split}) > 1:
        return None
    columns = zip(*(map(Decimal, pieces[1::2]) for pieces in split), strict=True)
    differing = [column for column in columns if len(set(column)) > 1]
    if not differing or (only and len(differing) > 1) or len(set(differing[0])) < len(stems):
        return None
    return _Reading(differing[0])


def _text(pieces: Sequence[str]) -> tuple[str, ...]:
    """What a split name has beside its numbers."""
    return tuple(piece.casefold() for piece in pieces[::2])


def _what_is_wrong(paths: Sequence[Path]) -> str:
    """Why the names of `paths` tell no order."""
    apart = "put each recording, and masks or labels, into a folder of its own"
    kinds = defaultdict[tuple[str, ...], list[Path]](list)
    for path in paths:
        kinds[_text(re.split(f"({_WHOLE})", path.stem))].append(path)
    if len(kinds) > 1:
        one, other = sorted(kinds.values(), key=len)[-2:]
        return f"holds images of several kinds of name, {_pair(other[0], one[0])}: {apart}"
    seen = dict[tuple[int, ...], Path]()
    for path in paths:
        numbers = tuple(map(int, re.findall(_WHOLE, path.stem)))
        if numbers in seen:
            return f"holds two images of one number, {_pair(seen[numbers], path)}: {apart}"
        seen[numbers] = path
    several = f"differ in several numbers, {_pair(paths[0], paths[-1])}"
    return f"holds images whose names {several}: {apart}, and count its images in one number"


def _pair(one: Path, other: Path) -> str:
    return f"{printable(one.name)} and {printable(other.name)}"
