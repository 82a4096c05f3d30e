"""The outcome of each test of a claim, from the cells of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from bench import units
from bench.errors import UserError
from bench.literature.claims import Beats, Claim, Effect, Gains, Longer, Sooner
from bench.report.claims.cells import Cells
from bench.report.claims.finding import Finding, Outcome, Trial
from bench.report.claims.measured import Measured, change_said, corrected
from bench.report.claims.sooner import sooner
from bench.report.curves import Curves
from bench.report.scores import SequenceScores
from bench.report.section import Section
from bench.report.statistics.jackknife import Contrast, Pairs
from bench.report.statistics.significance import sentence
from bench.score.metrics import RECORDED
from bench.train.budget import Budget

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
        curves: the learning curves of their cells.
    """
    alike: dict[tuple[str, ...], list[Section]] = {}
    for section in sections:
        alike.setdefault(section.conditions, []).append(section)
    settings = [(same[0], Cells(same, scores)) for same in alike.values()]
    found = []
    for claim in claims:
        trials = tuple(
            _trial(claim, section, cells, _shorter(section, settings), curves)
            for section, cells in settings
            if any(cells.hold(test) for test in claim.tests)
        )
        if trials:
            found.append(Finding(claim, trials))
    return found


def _shorter(section: Section, settings: Sequence[tuple[Section, Cells]]) -> list[Cells]:
    """The cells under budgets of a third or less of that of `section`, the smallest first."""
    budget = _budget(section)
    found = []
    for its, cells in settings:
        other = _budget(its)
        if budget is None or other is None or _but_budget(its) != _but_budget(section):
            continue
        if other.kind == budget.kind and other.amount * LEAST_TIMES <= budget.amount:
            found.append((other.amount, cells))
    return [cells for _, cells in sorted(found, key=lambda one: one[0])]


def _but_budget(section: Section) -> tuple[str, ...]:
    return (section.task, section.size, section.device, section.precision, section.recipe)


def _budget(section: Section) -> Budget | None:
    """The budget of its cells; None where it is recorded as none that is known."""
    try:
        return Budget.parse(section.budget)
    except UserError:
        return None


def _trial(
    claim: Claim, section: Section, cells: Cells, shorter: Sequence[Cells], curves: Curves
) -> Trial:
    measured = [_measured(claim, test, cells, shorter, curves) for test in claim.tests]
    first, *rest = measured
    told = iter(corrected([one for one in rest if isinstance(one, Measured)]))
    budget = _budget(section)
    return Trial(
        setting=_setting(section),
        budget=units.budget(section.budget),
        kind=budget.kind if budget else "",
        rest=_but_budget(section),
        primary=first.outcome(first.told()) if isinstance(first, Measured) else first,
        robustness=tuple(
            one.outcome(next(told)) if isinstance(one, Measured) else one for one in rest
        ),
        effects=tuple(
            tuple(_effect(claim, cells, effect) for effect in defect.effects)
            for defect in claim.defects
        ),
    )


def _measured(
    claim: Claim, test: Test, cells: Cells, shorter: Sequence[Cells], curves: Curves
) -> Measured | Outcome:
    """What `test` measured, or why it can tell nothing."""
    if obstacle := cells.obstacle(test, claim.minimum):
        return obstacle
    if isinstance(test, Beats):
        return _beats(cells, test)
    if isinstance(test, Gains):
        return _gains(cells, test)
    if isinstance(test, Sooner):
        return sooner(cells, test, curves.of(cells.sections[test.dataset]))
    found = Outcome("not tested", "no cells of a third of this budget or less")
    for its in filter(lambda its: its.hold(test), shorter):
        obstacle = its.obstacle(test, claim.minimum)
        if obstacle is None:
            return _longer(cells, test, its)
        budget = units.budget(its.sections[test.dataset].budget)
        found = Outcome(obstacle.told, f"under {budget}: {obstacle.said}")
    return found


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
    sample = cells.sample_beside(test.after, cells, test.before)
    before = cells.pairs(test.before, test.measure)
    after = cells.pairs(test.after, test.measure, sample)
    where = f"From {test.before} to {test.after} the"
    labels = [_labels(cells, test, dataset) for dataset in (test.before, test.after)]
    return _change(where, cells, test, labels, (before, after))


def _longer(cells: Cells, test: Longer, shorter: Cells) -> Measured:
    """How much of the gap between two models is gone with a larger budget."""
    sample = cells.sample_beside(test.dataset, shorter, test.dataset)
    before = shorter.pairs(test.dataset, test.measure)
    after = cells.pairs(test.dataset, test.measure, sample)
    budgets = (units.budget(its.sections[test.dataset].budget) for its in (shorter, cells))
    where = f"{test.dataset}: from {' to '.join(budgets)} the"
    labels = [_labels(its, test, test.dataset) for its in (shorter, cells)]
    found = _change(where, cells, test, labels, (before, after))
    return replace(found, left_out=found.left_out or shorter.left_out(test))


def _labels(cells: Cells, test: Gains | Longer, dataset: str) -> tuple[str, str]:
    """Those of both models in one table: another may tell them apart in more ways."""
    return cells.label(test.first, dataset), cells.label(test.second, dataset)


def _change(
    where: str,
    cells: Cells,
    test: Gains | Longer,
    labels: Sequence[tuple[str, str]],
    pairs: tuple[Pairs, Pairs],
) -> Measured:
    """How the ratio of two models' errors differs between two `pairs`, of which cells are left.

    `labels` are the models', in each of them.
    """
    both = [*zip(pairs, labels, strict=True)]
    gaps = [each.mean(one) - each.mean(other) for each, (one, other) in both]
    first, second = labels[-1]
    seeds = {
        label: min(each.seeds[its[place]] for each, its in both)
        for place, label in enumerate(labels[-1])
    }
    change = gaps[1] - gaps[0]
    ratios = " to ".join(f"{_ratio(gap):.2f}" for gap in gaps)
    said = f"{where} {test.measure.upper()} of {first} over that of {second} goes from {ratios}"
    said = f"{said}, {change_said(change, seeds, pairs[1].clusters)}"
    return Measured(change, True, test.margin, said, cells.left_out(test))


def _effect(claim: Claim, cells: Cells, effect: Effect) -> str:
    if missing := cells.missing(effect):
        return f"Not tested here: {missing}"
    label = RECORDED[cells.sections[effect.sound].task][effect.measure].label
    model = cells.label(effect.model, effect.sound)
    sound = cells.pairs(effect.sound, effect.measure)
    sample = cells.sample_beside(effect.defective, cells, effect.sound)
    defective = cells.pairs(effect.defective, effect.measure, sample)
    there = cells.label(effect.model, effect.defective)
    change = defective.mean(there) - sound.mean(model)
    seeds = {model: min(sound.seeds[model], defective.seeds[there])}
    unsure = "" if change.difference.is_sure else "; it may be chance"
    if obstacle := cells.obstacle(effect, claim.minimum):
        unsure = f"; but {obstacle.said}"
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
