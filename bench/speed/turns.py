"""Times pieces of work turn by turn, interleaved, by the wall and by process-CPU time."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from bench import records

TURN_SECONDS = 0.2  # a turn takes at least: the wait for the device at its ends is no matter then
MOST_CALLS = 10_000  # in a turn
FEWEST_TURNS = 7

Work = Callable[[int], object]
"""Called with 0, 1, 2 and so on; what it queues on the device counts as its work."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds of one call, the mean of those in the turn."""

    wall_seconds: float
    cpu_seconds: float


class Turns:
    """Times works in turn. The device is idle at both ends of a turn, as a cell's clock has it."""

    def __init__(
        self, seconds: float, synchronize: Callable[[], None], pause: Callable[[], None]
    ) -> None:
        """How to time.

        Args:
            seconds: about how long each work is timed in all.
            synchronize: waits for the work queued on the device.
            pause: called between turns, outside the time; it may raise to end all.
        """
        self._seconds, self._synchronize, self._pause = seconds, synchronize, pause

    def take(self, *works: Work, one_by_one: bool = False) -> list[list[Turn]]:
        """The turns of each of `works`: as many of one as of another, every other round reversed.

        There are seven rounds at least, but where a single turn takes all of the seconds. The first
        call of each work, which also says how many of them make a turn, is not counted.

        Args:
            works: what to time.
            one_by_one: whether each call is a turn of its own.
        """
        numbers = [count() for _ in works]
        calls = [1] * len(works)
        for i, work in enumerate(works):
            first = self._turn(work, numbers[i], 1)
            if not one_by_one:
                shortest = max(first.wall_seconds, TURN_SECONDS / MOST_CALLS)
                calls[i] = math.ceil(TURN_SECONDS / shortest)
        taken: list[list[Turn]] = [[] for _ in works]
        limit, spent, rounds = self._seconds * len(works), 0.0, 0
        while spent < limit or (rounds < FEWEST_TURNS and spent < rounds * limit):
            for i in range(len(works))[:: -1 if rounds % 2 else 1]:
                turn = self._turn(works[i], numbers[i], calls[i])
                spent += turn.wall_seconds * calls[i]
                taken[i].append(turn)
                self._pause()
            rounds += 1
        return taken

    def _turn(self, work: Work, numbers: count[int], calls: int) -> Turn:
        self._synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            work(next(numbers))
        self._synchronize()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Turn(wall / calls, cpu / calls)


def spread(key: str, values: Iterable[float]) -> dict[str, float]:
    """The metric `key` with the median of `values`, and those of their quartiles."""
    found = [*values]
    if len(found) == 1:
        found *= 2
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
    return {key: middle, key + records.LOWER_QUARTILE: low, key + records.UPPER_QUARTILE: high}


def ratios(
    clock: Callable[[Turn], float], ours: Sequence[Turn], theirs: Sequence[Turn]
) -> list[float]:
    """Theirs over ours by a `clock` of the turns, pair by pair."""
    return [clock(b) / clock(a) for a, b in zip(ours, theirs, strict=True)]
