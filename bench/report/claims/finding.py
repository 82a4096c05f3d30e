"""What is found of a claim: the outcomes of its tests, under each budget, and the verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from bench.literature.claims import Claim
from bench.literature.conventions import CONVENTIONS, described
from bench.literature.published import CERTAINTY, PublishedRow
from bench.report.published import heading
from bench.train.budget import BudgetKind

Told = Literal["as claimed", "against it", "cannot be told", "trained too little", "not tested"]
Verdict = Literal[
    "upheld",
    "not upheld",
    "mixed",
    "depends on the budget kind",
    "depends on the budget",
    "depends on the setting",
    "cannot be told",
    "trained too little",
    "not tested",
]
DECIDED: tuple[Verdict, ...] = ("upheld", "not upheld", "mixed")
OPEN: tuple[Verdict, ...] = ("cannot be told", "trained too little", "not tested")
"""Those that decide nothing, by what they say most about."""

WORDS: dict[BudgetKind, str] = {
    "seconds": "time",
    "steps": "steps",
    "samples": "samples",
    "flops": "FLOPs",
}
"""What is equal for all models under a kind of budget."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict of one test, and the sentence that explains it."""

    told: Told
    said: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A claim's tests under one setting.

    Attributes:
        setting: what all cells have in common, their budget too, in one line.
        budget: as it is printed.
        kind: of the budget, such as "seconds"; "" where it is none that is known.
        rest: of the setting, without the budget.
        primary: the outcome of the primary test.
        robustness: the others', corrected for their number.
        effects: sentences on each defect of the claim, in its order.
    """

    setting: str
    budget: str
    kind: str
    rest: tuple[str, ...]
    primary: Outcome
    robustness: tuple[Outcome, ...]
    effects: tuple[tuple[str, ...], ...]

    @property
    def verdict(self) -> Verdict:
        """That of the primary test, or mixed where another surely shows the opposite."""
        others = {outcome.told for outcome in self.robustness}
        if self.primary.told == "as claimed":
            return "mixed" if "against it" in others else "upheld"
        if self.primary.told == "against it":
            return "mixed" if "as claimed" in others else "not upheld"
        return self.primary.told

    @property
    def counted(self) -> str:
        """How many tests say what, such as `4 tests: 3 as claimed, 1 not tested`."""
        outcomes = (self.primary, *self.robustness)
        told = Counter(outcome.told for outcome in outcomes)
        many = f"{len(outcomes)} tests" if len(outcomes) > 1 else "one test"
        return f"{many}: {', '.join(f'{count} {what}' for what, count in told.items())}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim, and what was found of it under each setting, the newest first."""

    claim: Claim
    trials: tuple[Trial, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict that all settings agree on, or on what it depends."""
        decided = {trial.verdict for trial in self._deciding}
        if not decided:
            verdicts = {trial.verdict for trial in self.trials}
            return next(verdict for verdict in OPEN if verdict in verdicts)
        if len(decided) == 1:
            return decided.pop()
        if len({trial.rest for trial in self._deciding}) > 1:
            return "depends on the setting"
        return "depends on the budget kind" if self._kinds_disagree else "depends on the budget"

    @property
    def _deciding(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.verdict in DECIDED]

    @property
    def _kinds_disagree(self) -> bool:
        """Whether each kind of budget has one verdict, where all together have several."""
        by_kind: dict[str, set[Verdict]] = {}
        for trial in self._deciding:
            by_kind.setdefault(trial.kind, set()).add(trial.verdict)
        return all(len(found) == 1 for found in by_kind.values())

    @property
    def scope(self) -> str:
        """The budgets that the verdict rests on, and the kinds that have decided nothing yet."""
        same = [trial for trial in self.trials if trial.verdict == self.verdict]
        deciding = self._deciding or same
        said = f"under {' and '.join(dict.fromkeys(trial.budget for trial in deciding))}"
        tried = {trial.kind for trial in deciding}
        untried = [WORDS[kind] for kind in self.claim.budgets if kind not in tried]
        return f"{said}; nothing yet under equal {' or '.join(untried)}" if untried else said

    @property
    def published(self) -> list[str]:
        """The published figures, a line for each model."""
        return [_published(published.row) for published in self.claim.published]

    @property
    def conventions(self) -> list[str]:
        """How these figures were computed, a line for each convention."""
        return described(published.convention for published in self.claim.published)


def _published(row: PublishedRow) -> str:
    """The row's figures of its convention, in one line."""
    of_convention = CONVENTIONS[row.convention].figures
    figures = (
        f"{heading(name)} {row.figures[name]}" for name in of_convention if name in row.figures
    )
    frames = f"{row.context_frames} → {row.horizon} frames"
    setting = f"{row.dataset}, {frames}, budget: {row.budget}, test: {row.split}"
    doubt = f"; doubtful, {row.doubt}" if row.doubt else ""
    return (
        f"{row.published_as}: {', '.join(figures)} ({setting}; {CERTAINTY[row.certainty]}{doubt})"
    )
