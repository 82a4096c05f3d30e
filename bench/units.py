"""Figures as people read them: 0.0312, 2 min 5 s, 1.2 GiB."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from itertools import islice

SHOWN = 12  # names listed in one message

_WORK = re.compile(r"([0-9.]+(?:e[+-]?[0-9]+)?) (flops|steps|samples)")


def figure(value: float) -> str:
    """`value` to three significant digits, such as 0.0312, 12.3 or 1,310."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def duration(seconds: float) -> str:
    """`seconds` in its two largest units, such as 1.3 s, 45 s, 2 min 5 s, 1 h 2 min or 3 d 4 h."""
    if not math.isfinite(seconds):
        return f"{seconds} s"
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _pair(whole, 60, "min", "s")
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return _pair(minutes, 60, "h", "min")
    return _pair(round(seconds / 3600), 24, "d", "h")


def byte_size(count: float) -> str:
    """`count` bytes in binary units, such as 512 B, 96 MiB or 1.2 GiB."""
    if not math.isfinite(count):
        return f"{count} B"
    power = min(int(math.log2(max(count, 1))) // 10, 4)
    if power < 4 and count / 1024**power >= 1023.5:
        power += 1
    amount = count / 1024**power
    digits = 1 if power and amount < 9.95 else 0
    return f"{amount:.{digits}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def budget(recorded: str) -> str:
    """A budget as it is recorded, such as 1e+13 flops, as it is read: 10 TFLOPs, 2,000 steps.

    Any other text stays as it is.
    """
    found = _WORK.fullmatch(recorded)
    if found is None or found[1].count(".") > 1:
        return recorded
    amount = float(found[1])
    if found[2] != "flops":
        return f"{amount:,.12g} {found[2] if amount != 1 else found[2][:-1]}"
    power = _thousands(amount)
    return f"{amount / 1000**power:.12g} {('', 'k', 'M', 'G', 'T', 'P', 'E')[power]}FLOPs"


def of_budget(spent: float, recorded: str) -> str:
    """What is `spent` of a budget as it is recorded, such as 4.16/10 TFLOPs or 300/2,000 steps."""
    amount, _, unit = recorded.partition(" ")
    part = figure(spent / 1000 ** _thousands(float(amount))) if unit == "flops" else f"{spent:,.0f}"
    return f"{part}/{budget(recorded)}"


def unequal_batches(batches: Collection[float]) -> str:
    """What recipes of several batch sizes mean for a budget in steps; "" where they are alike."""
    if len(set(batches)) < 2:
        return ""
    return (
        f"Batches are of {min(batches):.0f} to {max(batches):.0f} clips: in the same number of"
        " steps the models see different numbers of samples."
    )


def frames_only(models: Iterable[str], covariates: Iterable[str]) -> str:
    """That `models` are not given the `covariates` of their data sets; "" where there are none."""
    labels, names = ", ".join(sorted({*models})), ", ".join(dict.fromkeys(covariates))
    return f"Take no covariates ({names}), so shown frames only: {labels}." if labels else ""


def listed(names: Collection[str]) -> str:
    """The `names` with commas; of many the first, and how many more there are."""
    first = ", ".join(islice(names, SHOWN))
    return f"{first} and {len(names) - SHOWN:,} more" if len(names) > SHOWN else first


def counted(count: int, noun: str) -> str:
    """`1 point`, or `12 points`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _thousands(amount: float) -> int:
    """The power of 1000 whose prefix `amount` is written with."""
    return min(int(math.log10(max(amount, 1))) // 3, 6)


def _pair(count: int, per_large: int, large: str, small: str) -> str:
    whole, rest = divmod(count, per_large)
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"
