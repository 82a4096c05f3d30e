"""What a test of a claim measured: a contrast on the side that is claimed, or on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.report.claims.finding import Outcome, Told
from bench.report.statistics.clusters import Clusters
from bench.report.statistics.jackknife import Contrast
from bench.report.statistics.significance import counted, written


@dataclass(frozen=True, slots=True)
class Measured:
    """A contrast that is negative where the claim holds, if `lower`, or else positive.

    Attributes:
        contrast: of the first model against the second.
        lower: whether the claim says that it is below zero.
        margin: by how much, in the unit of the contrast.
        said: the sentence on it.
        left_out: what is to be said of cells that do not count.
    """

    contrast: Contrast
    lower: bool
    margin: float
    said: str
    left_out: str = ""

    def told(self, together: int = 1) -> Told:
        """Whether it surely is as claimed, where so many such answers are to hold `together`."""
        difference = replace(self.contrast, pairs=together).difference
        if not difference.has_interval:
            return "cannot be told"
        sign = -1 if self.lower else 1
        gains = sign * difference.low, sign * difference.high
        if min(gains) > self.margin:
            return "as claimed"
        return "against it" if max(gains) < self.margin else "cannot be told"

    def outcome(self, told: Told) -> Outcome:
        """The outcome, with a remark where the interval by itself would have told more."""
        aside = "; not sure beside the other tests" if told != self.told() else ""
        asked = f"; claimed is by {self.margin:g} {self.contrast.scale.unit}" if self.margin else ""
        return Outcome(told, f"{self.said}{asked}{aside}{self.left_out}")


def corrected(tests: Sequence[Measured]) -> list[Told]:
    """What each of several tests tells where all are to hold together.

    Holm's procedure (Scandinavian Journal of Statistics 6, 1979): the surest need hold beside all,
    the next beside one less, and so on.
    """
    told: dict[int, Told] = {}
    while True:
        rest = [place for place in range(len(tests)) if place not in told]
        sure = {place: tests[place].told(len(rest)) for place in rest}
        found = {place: what for place, what in sure.items() if what != "cannot be told"}
        if not found:
            return [told.get(place, "cannot be told") for place in range(len(tests))]
        told |= found


def change_said(change: Contrast, seeds: Mapping[str, int], clusters: Clusters | None) -> str:
    """Such as `12 % lower, 95 % interval 9 to 15 %, 3 seeds, 42 groups`."""
    difference, unit = change.difference, change.scale.unit
    word, sign = ("lower", -1) if difference.value < 0 else ("higher", 1)
    size, low, high = written(difference, sign)
    interval = f"95 % interval {low} to {high} {unit}" if difference.has_interval else "no interval"
    return f"{size} {unit} {word}, {interval}{counted(seeds, clusters)}"
