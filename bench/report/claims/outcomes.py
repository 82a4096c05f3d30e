"""The outcome of each test of a claim, from the cells of a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pandas as pd

from bench.errors import UserError
from bench.literature.claims import Beats, Claim, Effect, Gains, Longer, Sooner
from bench.report.claims.cells import Cells
from bench.report.claims.finding import Finding, Outcome, Trial
from bench.report.claims.measured import Measured, change_said, corrected
from bench.report.claims.sooner import sooner
from bench.report.load import Section
from bench.report.scores import SequenceScores
from bench.report.statistics.jackknife import Contrast
from bench.report.statistics.significance import sentence
from bench.score.metrics import RECORDED
from bench.train.budget import Budget

Curves: TypeAlias = Callable[[Section], pd.DataFrame]
Test: TypeAlias = Beats | Gains | Longer | Sooner

LEAST_TIMES = 3  # the smaller budget that `Longer` compares with


def findings(
    claims: Sequence[Claim], sections: Sequence[Section], scores: SequenceScores, curves: Curves
) -> list[Finding]:
    """Every claim of which a test has its cells in `sections`, with each setting they are of.

    Args:
        claims: what was claimed.
        sections: of the report, the newest first.
        scores: of their test sequences.
        curves: gives the learning curves of a section.
    """
    alike: dict[tuple[str, ...], list[Section]] = {}
    for section in sections:
        alike.setdefault(section.conditions, []).append(section)
    settings = [(same, Cells(same, scores)) for same in alike.values()]
    found = []
    for claim in claims:
        trials = tuple(
            _trial(claim, same[0], cells, _shorter(same[0], settings), curves)
            for same, cells in settings
            if any(cells.hold(test) for test in claim.tests)
        )
        if trials:
            found.append(Finding(claim, trials))
    return found


def _shorter(
    section: Section, settings: Sequence[tuple[list[Section], Cells]]
) -> tuple[str, Cells] | None:
    """The smallest budget, a third or less of that of `section`, with its cells; None without."""
    budget = _budget(section)
    if budget is None:
        return None
    found = []
    for same, cells in settings:
        other = _budget(same[0])
        if other is None or _but_budget(same[0]) != _but_budget(section):
            continue
        if other.kind == budget.kind and other.amount * LEAST_TIMES <= budget.amount:
            found.append((other.amount, same[0].budget, cells))
    return min(found, key=lambda one: one[0])[1:] if found else None


def _but_budget(section: Section) -> tuple[str, ...]:
    return (section.task, section.size, section.device, section.precision, section.recipe)


def _budget(section: Section) -> Budget | None:
    """The budget of its cells; None where it is recorded as none that is known."""
    try:
        return Budget.parse(section.budget)
    except UserError:
        return None


def _trial(
    claim: Claim,
    section: Section,
    cells: Cells,
    shorter: tuple[str, Cells] | None,
    curves: Curves,
) -> Trial:
    measured = [_measured(claim, test, cells, shorter, curves) for test in claim.tests]
    first, *rest = measured
    told = iter(corrected([one for one in rest if isinstance(one, Measured)]))
    budget = _budget(section)
    return Trial(
        setting=_setting(section),
        budget=section.budget,
        kind=budget.kind if budget else "",
        primary=first.outcome(first.told()) if isinstance(first, Measured) else first,
        robustness=tuple(
            one.outcome(next(told)) if isinstance(one, Measured) else one for one in rest
        ),
        effects=tuple(
            tuple(_effect(cells, effect) for effect in defect.effects) for defect in claim.defects
        ),
    )


def _measured(
    claim: Claim, test: Test, cells: Cells, shorter: tuple[str, Cells] | None, curves: Curves
) -> Measured | Outcome:
    """What `test` measured, or why it can tell nothing."""
    if missing := cells.missing(test):
        return Outcome("not tested", missing)
    if untrained := cells.untrained(test, claim.minimum):
        return Outcome("trained too little", untrained)
    if disturbed := cells.disturbed(test):
        return Outcome("cannot be told", disturbed)
    if isinstance(test, Longer):
        if shorter is None:
            return Outcome("not tested", "no cells of a third of this budget or less")
        if missing := shorter[1].missing(test) or shorter[1].disturbed(test):
            return Outcome("not tested", f"under {shorter[0]}: {missing}")
        return _longer(cells, test, *shorter)
    if isinstance(test, Sooner):
        return sooner(cells, test, curves(cells.sections[test.dataset]))
    return _beats(cells, test) if isinstance(test, Beats) else _gains(cells, test)


def _beats(cells: Cells, test: Beats) -> Measured:
    section = cells.sections[test.dataset]
    pairs, measure = cells.pairs(test.dataset, test.measure), RECORDED[section.task][test.measure]
    first, second = (
        cells.label(model, test.dataset, test.measure) for model in (test.first, test.second)
    )
    said = f"{test.dataset}: {sentence(pairs, first, second, measure)}"
    contrast = pairs.mean(first) - pairs.mean(second)
    return Measured(contrast, measure.better == "lower", test.margin, said, cells.left_out(test))


def _gains(cells: Cells, test: Gains) -> Measured:
    """How much of the gap between two models is gone on another data set."""
    sample = cells.sample_of(test.after, test.before)
    before = cells.pairs(test.before, test.measure)
    after = cells.pairs(test.after, test.measure, sample)
    first, second = (cells.label(model, test.after) for model in (test.first, test.second))
    gaps = [pairs.mean(first) - pairs.mean(second) for pairs in (before, after)]
    seeds = {label: min(before.seeds[label], after.seeds[label]) for label in (first, second)}
    change = gaps[1] - gaps[0]
    ratios = " to ".join(f"{_ratio(gap):.2f}" for gap in gaps)
    said = f"From {test.before} to {test.after} the {test.measure.upper()} of {first} over that of"
    said = f"{said} {second} goes from {ratios}, {change_said(change, seeds, after.clusters)}"
    return Measured(change, True, test.margin, said, cells.left_out(test))


def _longer(cells: Cells, test: Longer, budget: str, shorter: Cells) -> Measured:
    """How much of the gap between two models is gone with a larger budget."""
    before, after = (its.pairs(test.dataset, test.measure) for its in (shorter, cells))
    first, second = (cells.label(model, test.dataset) for model in (test.first, test.second))
    gaps = [pairs.mean(first) - pairs.mean(second) for pairs in (before, after)]
    seeds = {label: min(before.seeds[label], after.seeds[label]) for label in (first, second)}
    change = gaps[1] - gaps[0]
    ratios = " to ".join(f"{_ratio(gap):.2f}" for gap in gaps)
    said = f"{test.dataset}: from {budget} to {cells.sections[test.dataset].budget} the"
    said = f"{said} {test.measure.upper()} of {first} over that of {second} goes from {ratios}"
    said = f"{said}, {change_said(change, seeds, after.clusters)}"
    return Measured(change, True, test.margin, said, cells.left_out(test))


def _effect(cells: Cells, effect: Effect) -> str:
    if missing := cells.missing(effect):
        return f"Not tested here: {missing}"
    label = RECORDED["prediction"][effect.measure].label
    model = cells.label(effect.model, effect.sound)
    sound = cells.pairs(effect.sound, effect.measure)
    sample = cells.sample_of(effect.defective, effect.sound)
    defective = cells.pairs(effect.defective, effect.measure, sample)
    change = defective.mean(model) - sound.mean(model)
    seeds = {model: min(sound.seeds[model], defective.seeds[model])}
    unsure = "" if change.difference.is_sure else "; it may be chance"
    if disturbed := cells.disturbed(effect):
        unsure = f"; but {disturbed}"
    said = f"{label} on {effect.defective} against {effect.sound}"
    return (
        f"{model}, {said}: {change_said(change, seeds, sound.clusters)}{unsure}"
        f"{cells.left_out(effect)}"
    )


def _ratio(gap: Contrast) -> float:
    return 1 + gap.difference.value / 100


def _setting(section: Section) -> str:
    parts = (section.of_size.removeprefix(", "), section.common_setting)
    return " · ".join(filter(None, parts))
