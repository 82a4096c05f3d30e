"""Which models change places as the budget grows, and what it takes to beat the baselines."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from bench.records import Measure
from bench.report.statistics.jackknife import Difference, Pairs
from bench.report.statistics.significance import sign_of, written


@dataclass(frozen=True, slots=True)
class Rung:
    """The models of one budget: their scores, and which of them compete.

    Attributes:
        budget: as it is read, such as 10 TFLOPs.
        pairs: the models' scores by sequence.
        trained: the labels of trained models that are not marked.
        baselines: those of the others.
    """

    budget: str
    pairs: Pairs
    trained: Collection[str]
    baselines: Collection[str]

    @property
    def has_intervals(self) -> bool:
        """Whether any trained model can be told from another."""
        return any(self.pairs.has_interval(its) for its in self.trained if its in self.pairs.seeds)

    def gain(self, first: str, second: str) -> Difference | None:
        """`first` against `second`; None where one is not there, or there is no interval."""
        there = {first, second} <= {*self.trained, *self.baselines} & {*self.pairs.seeds}
        if not there or not all(map(self.pairs.has_interval, (first, second))):
            return None
        return self.pairs.difference(first, second)


def crossings(rungs: Sequence[Rung], measure: Measure) -> Iterator[str]:
    """A sentence on each two models that surely change places, at the budgets where they do.

    Args:
        rungs: the lowest budget first.
        measure: what the scores are; its better direction decides who is ahead.
    """
    sign = sign_of(measure)
    labels = list(dict.fromkeys(label for rung in rungs for label in rung.trained))
    baselines = list(dict.fromkeys(label for rung in rungs for label in rung.baselines))
    for first, second in [*combinations(labels, 2), *((b, t) for t in labels for b in baselines)]:
        found = [(rung, rung.gain(first, second)) for rung in rungs]
        sure = [(rung, gain) for rung, gain in found if gain is not None and gain.is_sure]
        for (before, lost), (after, won) in pairwise(sure):
            if (lost.value < 0) != (won.value < 0):
                first_leads = sign * lost.value > 0
                behind, ahead = (second, first) if first_leads else (first, second)
                yield (
                    f"{behind} overtakes {ahead} on {measure.label} between"
                    f" {_said(before, ahead, behind, measure)} and"
                    f" {_said(after, behind, ahead, measure)}."
                )


def to_beat_baselines(rungs: Sequence[Rung], measure: Measure) -> str:
    """A sentence on the lowest budget at which a trained model surely beats every baseline.

    Args:
        rungs: the lowest budget first.
        measure: what the scores are.
    """
    sign = sign_of(measure)
    for rung in rungs:
        beating = [label for label in rung.trained if _beats(rung, label, sign)]
        if beating:
            verb = "beats" if len(beating) == 1 else "beat"
            who = ", ".join(beating)
            return f"{measure.label}: at {rung.budget} {who} surely {verb} every baseline."
    top = rungs[-1].budget
    return f"{measure.label}: up to {top} no trained model surely beats every baseline."


def _beats(rung: Rung, label: str, sign: int) -> bool:
    gains = [rung.gain(label, baseline) for baseline in rung.baselines]
    return bool(gains) and all(g is not None and g.is_surely_better(sign) for g in gains)


def _said(rung: Rung, ahead: str, behind: str, measure: Measure) -> str:
    """The budget, and by how much `ahead` is ahead there."""
    gain, low, high = written(rung.pairs.difference(ahead, behind), sign_of(measure))
    unit = rung.pairs.scale.unit
    lead = f"{ahead} {gain} {unit} {measure.better}, 95 % interval {low} to {high} {unit}"
    return f"{rung.budget} ({lead})"
