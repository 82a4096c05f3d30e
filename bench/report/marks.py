"""Which cells are marked, for how they trained: they decide nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench import records

LOWEST_SHARE = 0.9  # of the processor time asked for, and of the calibration's speed
HIGHEST_OVERSPEND = 0.02
FEWEST_STEPS = 100

DISTURBED = "¶"
"""Behind the name of a model with such a cell."""
WHY = "trained too briefly or under disturbed conditions"


def mark(figures: Mapping[str, float], budget: str) -> str:
    """Why a cell with these metrics decides nothing; "" where it may, or nothing is recorded.

    A busy machine takes nothing but time: it changes what a cell learns from a `budget` in seconds,
    such as "120 s", and not what it learns from so many steps, samples or FLOPs.
    """
    of_time = [lost_time(figures)] if budget.endswith(" s") else []
    return ", ".join(filter(None, [*of_time, *_off_budget(figures)]))


def lost_time(figures: Mapping[str, float]) -> str:
    """Why the seconds that a cell trained for say little of what it does in as many; or ""."""
    return ", ".join(_lost_time(figures))


def _lost_time(figures: Mapping[str, float]) -> Iterator[str]:
    share = figures.get(records.CPU_SHARE, 1.0)
    if share < LOWEST_SHARE:
        yield f"got {_per_cent(share)} of the processor time it asked for"
    speed = figures.get(records.SPEED_OF_CALIBRATION, 1.0)
    if speed < LOWEST_SHARE:
        yield f"ran at {_per_cent(speed)} of the speed of its calibration"
    stopped = figures.get(records.STOPPED_SECONDS, 0.0)
    if stopped > 0:
        yield f"was stopped for {stopped:.1f} s"


def _off_budget(figures: Mapping[str, float]) -> Iterator[str]:
    overspend = figures.get(records.OVERSPEND, 0.0)
    if overspend > HIGHEST_OVERSPEND:
        yield f"spent {_per_cent(overspend)} more than its budget"
    steps = figures.get(records.TRAIN_STEPS, 0.0)
    if 0 < steps < FEWEST_STEPS:  # a baseline takes none
        yield f"took {steps:.0f} step{'s' if steps != 1 else ''}, fewer than {FEWEST_STEPS}"


def of_seeds(reasons: Mapping[int, str]) -> str:
    """The reasons of a model's marked cells by seed, "" of those that are not, in one text."""
    seeds: dict[str, list[str]] = {}
    for seed, reason in sorted(reasons.items()):
        seeds.setdefault(reason, []).append(str(seed))
    if len(seeds) == 1:
        return next(iter(seeds))
    return "; ".join(
        f"seed{'s' if len(of) > 1 else ''} {' '.join(of)} {reason}"
        for reason, of in seeds.items()
        if reason
    )


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %"
