"""Claims of studies beside the figures measured here, with the verdict of the statistics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from bench import records
from bench.escape import markdown as plain
from bench.literature.claims import Beats, Claim, Effect, Gains
from bench.literature.conventions import CONVENTIONS, described
from bench.literature.published import CERTAINTY, PublishedRow
from bench.report.load import Section, each
from bench.report.published import heading
from bench.report.scores import SequenceScores
from bench.report.statistics.bootstrap import (
    POINTS,
    RELATIVE,
    SMALLEST,
    Contrast,
    Difference,
    Pairs,
)
from bench.report.statistics.significance import caveat, counted, sentence, written
from bench.report.verdict import status_words
from bench.score.metrics import RECORDED, REFERENCE

Told = Literal["as claimed", "against it", "cannot be told", "one seed", "not tested here"]
"""The verdict of a test on its claim; with one seed of a model there is none."""

Seeds = dict[str, int]
Asked = Beats | Gains | Effect


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict of one test, and the sentence that explains it."""

    told: Told
    said: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim, its tests under one setting, and the effects of its defects there.

    Attributes:
        claim: as it was published.
        setting: what all cells have in common, in one line.
        tests: one outcome for each test of the claim.
        effects: sentences on each defect of the claim, in its order.
    """

    claim: Claim
    setting: str
    tests: tuple[Outcome, ...]
    effects: tuple[tuple[str, ...], ...]

    @property
    def verdict(self) -> str:
        """Upheld where every test surely is, not upheld where one surely is not."""
        told = {test.told for test in self.tests}
        if "against it" in told:
            return "not upheld"
        if len(told) == 1 and told <= {"as claimed", "not tested here"}:
            return "upheld" if "as claimed" in told else "not tested here"
        if "cannot be told" in told:
            return "cannot be told with this budget"
        return f"cannot be told {'with one seed' if 'one seed' in told else 'from part of it'}"

    @property
    def counted(self) -> str:
        """How many tests say what, such as `2 tests: 1 as claimed, 1 not tested here`."""
        told = Counter(test.told for test in self.tests)
        many = f"{len(self.tests)} tests" if len(self.tests) > 1 else "one test"
        return f"{many}: {', '.join(f'{count} {what}' for what, count in told.items())}"

    @property
    def published(self) -> list[str]:
        """The published figures, a line for each model."""
        return [_published(published.row) for published in self.claim.published]

    @property
    def conventions(self) -> list[str]:
        """How these figures were computed, a line for each convention."""
        return described(published.convention for published in self.claim.published)

    @property
    def defects(self) -> list[tuple[str, tuple[str, ...]]]:
        """The defects of the published experiment, each with its effect here."""
        whats = (defect.what for defect in self.claim.defects)
        return list(zip(whats, self.effects, strict=True))


def findings(
    claims: Sequence[Claim], sections: Sequence[Section], scores: SequenceScores
) -> list[Finding]:
    """Every claim of which a test has its cells in `sections`, once for each setting they are of.

    Args:
        claims: what was claimed.
        sections: of the report, the newest first.
        scores: of their test sequences.
    """
    alike: dict[tuple[str, ...], list[Section]] = {}
    for section in sections:
        if section.task == "prediction":
            alike.setdefault(section.conditions, []).append(section)
    found = []
    for same_setting in alike.values():
        cells = _Cells(same_setting, scores)
        for claim in claims:
            if any(cells.hold(test) for test in claim.tests):
                tests = tuple(_outcome(cells, test) for test in claim.tests)
                effects = tuple(
                    tuple(_effect(cells, effect) for effect in defect.effects)
                    for defect in claim.defects
                )
                found.append(Finding(claim, _setting(same_setting[0]), tests, effects))
    return found


class _Cells:
    """The sections of one setting by data set, and means of their scores."""

    def __init__(self, sections: Sequence[Section], scores: SequenceScores) -> None:
        self._sections = {section.dataset: section for section in reversed(sections)}
        self._scores = scores
        self._pairs: dict[tuple[str, str, int], Pairs] = {}

    def hold(self, asked: Asked) -> bool:
        """Whether there are cells for all that is asked, finished or not."""
        return all(len(self._of(*cell)) for cell in asked.cells)

    def missing(self, asked: Asked) -> str:
        """Why what is asked cannot be measured; "" where it can."""
        for model, dataset in asked.cells:
            of_model = self._of(model, dataset)
            if of_model.empty:
                return f"no cell of {model} on {dataset}; the suite {asked.suite} has it"
            first = of_model.iloc[0]
            if records.Status.DONE not in set(of_model["status"]):
                why = f"{status_words(first['status'])}: {first['reason']}".removesuffix(": ")
                return f"{model} on {dataset} {why}"
            scores = self._scores.of(self._sections[dataset], asked.measure)
            if len(scores) < 2 or first["label"] not in scores.columns.get_level_values(0):
                return f"no scores of several sequences of {model} on {dataset}"
            is_ratio = not isinstance(asked, Beats) and self._is_error(asked.measure)
            if is_ratio and scores[first["label"]].to_numpy().mean() <= SMALLEST:
                return f"{model} is perfect on {dataset}, of which nothing is so many per cent"
        return ""

    def left_out(self, asked: Asked) -> str:
        """Which seeds have no result where others have, for they could be the bad ones; or ""."""
        found = [
            f"{cell['name']} {status_words(cell['status'])}"
            for model, dataset in asked.cells
            for cell in each(self._of(model, dataset))
            if cell["status"] != records.Status.DONE
        ]
        return f"; not counted: {', '.join(found)}" if found else ""

    def behind_copying(self, asked: Asked) -> str:
        """The data set on which no model asked for is better than copy-last; "" where none is."""
        measure = RECORDED["prediction"][asked.measure]
        sign = 1 if measure.better == "lower" else -1
        for dataset in dict.fromkeys(dataset for _, dataset in asked.cells):
            done = self._sections[dataset].done
            means = (sign * done[measure.key]).groupby(done["model"]).mean()
            models = [model for model, where in asked.cells if where == dataset]
            if means[models].min() >= means.get(REFERENCE["prediction"], math.inf):
                return dataset
        return ""

    def label(self, model: str, dataset: str) -> str:
        """The label of `model` in the table of `dataset`."""
        return str(self._of(model, dataset).iloc[0]["label"])

    def pairs(self, dataset: str, measure: str, stream: int = 0) -> Pairs:
        """The resampled scores on `dataset`."""
        key = dataset, measure, stream
        if key not in self._pairs:
            scores = self._scores.of(self._sections[dataset], measure)
            # SSIM may be 0 or less, of which nothing is so many per cent
            scale = RELATIVE if self._is_error(measure) else POINTS
            self._pairs[key] = Pairs(scores, scale, stream)
        return self._pairs[key]

    @staticmethod
    def _is_error(measure: str) -> bool:
        return RECORDED["prediction"][measure].better == "lower"

    def stream_of(self, dataset: str, other: str) -> int:
        """How to resample `dataset` beside `other`: alike where both test on the same sequences."""
        digests = {self._sections[name].data_digest for name in (dataset, other)}
        return len(digests) - 1

    def _of(self, model: str, dataset: str) -> pd.DataFrame:
        if dataset not in self._sections:
            return pd.DataFrame()
        cells = self._sections[dataset].cells
        of_model = cells[cells["model"] == model]
        return of_model.sort_values("status", key=_is_unfinished, kind="stable")


def _outcome(cells: _Cells, test: Beats | Gains) -> Outcome:
    missing = cells.missing(test)
    if missing:
        return Outcome("not tested here", missing)
    told, said = _beats(cells, test) if isinstance(test, Beats) else _gains(cells, test)
    where = cells.behind_copying(test)
    if where and told in ("as claimed", "against it"):  # neither has learnt enough to compare
        told, said = "cannot be told", f"{said}; but neither beats copy-last on {where}"
    return Outcome(told, said + cells.left_out(test))


def _beats(cells: _Cells, test: Beats) -> tuple[Told, str]:
    pairs, measure = cells.pairs(test.dataset, test.measure), RECORDED["prediction"][test.measure]
    first, second = (cells.label(model, test.dataset) for model in (test.first, test.second))
    seeds = {label: pairs.seeds[label] for label in (first, second)}
    said = sentence(pairs, first, second, measure, seeds)
    told = _told(pairs.difference(first, second), measure.better, seeds)
    return told, f"{test.dataset}: {said}"


def _gains(cells: _Cells, test: Gains) -> tuple[Told, str]:
    """How much of the gap between two models is gone on another data set."""
    measure = RECORDED["prediction"][test.measure]
    first, second = (cells.label(model, test.after) for model in (test.first, test.second))
    before = cells.pairs(test.before, test.measure)
    after = cells.pairs(test.after, test.measure, cells.stream_of(test.after, test.before))
    gaps = [pairs.mean(first) - pairs.mean(second) for pairs in (before, after)]
    seeds = {label: min(before.seeds[label], after.seeds[label]) for label in (first, second)}
    change = gaps[1] - gaps[0]
    told = _told(change.difference, measure.better, seeds)
    words = {"as claimed": f"{first} gains on {second}", "against it": f"{first} loses on {second}"}
    whether = words.get(told, f"{first} neither gains nor loses on {second} that could be told")
    ratios = " to ".join(f"{_ratio(gap):.2f}" for gap in gaps)
    said = f"{whether}: the ratio of their {measure.label} goes from {ratios}"
    return told, f"From {test.before} to {test.after} {said}, {_written(change, seeds)}"


def _effect(cells: _Cells, effect: Effect) -> str:
    missing = cells.missing(effect)
    if missing:
        return f"Not tested here: {missing}"
    label = RECORDED["prediction"][effect.measure].label
    model = cells.label(effect.model, effect.sound)
    sound = cells.pairs(effect.sound, effect.measure)
    stream = cells.stream_of(effect.defective, effect.sound)
    defective = cells.pairs(effect.defective, effect.measure, stream)
    change = defective.mean(model) - sound.mean(model)
    seeds = {model: min(sound.seeds[model], defective.seeds[model])}
    unsure = "" if change.difference.is_sure else "; it may be chance"
    said = f"{label} on {effect.defective} against {effect.sound}: {_written(change, seeds)}"
    return f"{model}, {said}{unsure}{cells.left_out(effect)}"


def _told(difference: Difference, better: str | None, seeds: Seeds) -> Told:
    """The verdict on a claim that the difference is on the better side of 0."""
    if min(seeds.values()) < 2:
        return "one seed"
    if not difference.is_sure:
        return "cannot be told"
    return "as claimed" if (difference.value < 0) == (better == "lower") else "against it"


def _written(change: Contrast, seeds: Seeds) -> str:
    """Such as `12 % lower, 95 % interval 9 to 15 %, 3 seeds`."""
    difference, unit = change.difference, change.scale.unit
    word, sign = ("lower", -1) if difference.value < 0 else ("higher", 1)
    size, low, high = written(difference, sign)
    interval = f"95 % interval {low} to {high} {unit}"
    return f"{size} {unit} {word}, {interval}{counted(seeds)}{caveat(seeds)}"


def _ratio(gap: Contrast) -> float:
    return 1 + gap.difference.value / 100


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


def _is_unfinished(status: pd.Series[str]) -> pd.Series[bool]:
    return status != records.Status.DONE


def _setting(section: Section) -> str:
    parts = (section.of_size.removeprefix(", "), section.common_setting)
    return " · ".join(filter(None, parts))


def markdown(found: Sequence[Finding]) -> Iterator[str]:
    """The section of report.md, line by line; nothing without a claim."""
    if found:
        yield "\n## Claims of earlier studies"
    for finding in found:
        claim = finding.claim
        yield f"\n### {plain(claim.sentence)}\n"
        yield f"**{finding.verdict.capitalize()}.** {finding.counted} · {plain(finding.setting)}\n"
        yield f"Claimed ({plain(claim.source)}):\n"
        yield from (f"- {plain(line)}" for line in finding.published)
        yield from (f"- Convention {plain(line)}" for line in finding.conventions)
        yield f"\nMeasured. {plain(claim.note)}\n"
        yield from (f"- **{test.told}** · {plain(test.said)}" for test in finding.tests)
        if claim.defects:
            yield "\nDefects of the published experiment:\n"
        for what, effects in finding.defects:
            yield f"- {plain(what)}"
            yield from (f"  - {plain(effect)}" for effect in effects)
