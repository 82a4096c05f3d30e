"""The cells that tests of claims ask for: of one setting, by data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard

import numpy as np
import pandas as pd

from bench import records
from bench.literature.claims import BASELINE, Beats, Effect, Gains, Longer, Minimum, Sooner
from bench.report import recipes
from bench.report.cells import UNKNOWN, each
from bench.report.claims.finding import Outcome
from bench.report.columns import COLUMNS
from bench.report.marks import lost_time
from bench.report.scores import SequenceScores
from bench.report.section import Section
from bench.report.statistics.clusters import FEW
from bench.report.statistics.jackknife import SMALLEST, Pairs
from bench.report.statistics.significance import fixed, scale_of
from bench.report.verdict import status_words
from bench.score.metrics import RECORDED

SKILL = "test/skill"  # NaN where it was not recorded, and of classifiers
Asked = Beats | Gains | Longer | Sooner | Effect


class Cells:
    """The sections of one setting by data set, and means of their scores."""

    def __init__(self, sections: Sequence[Section], scores: SequenceScores) -> None:
        """Take the newest of several sections of one data set; `sections` has it first."""
        self.sections = {section.dataset: section for section in reversed(sections)}
        self._scores = scores
        # Read often, by each test of each claim.
        self._pairs: dict[tuple[str, str, int], Pairs] = {}
        self._by_sequence: dict[tuple[str, str], pd.DataFrame] = {}
        self._of: dict[tuple[str, str], pd.DataFrame] = {}

    def hold(self, asked: Asked) -> bool:
        """Whether there are cells for all that is asked, finished or not."""
        return all(len(self.of(*cell)) for cell in asked.cells)

    def obstacle(self, asked: Asked, minimum: Minimum) -> Outcome | None:
        """Why what is asked tells nothing of a claim; None where nothing is in the way."""
        if missing := self.missing(asked):
            return Outcome("not tested", missing)
        if untrained := self.untrained(asked, minimum):
            return Outcome("trained too little", untrained)
        if unsure := self.unknown(asked, minimum) or self.disturbed(asked):
            return Outcome("cannot be told", unsure)
        return None

    def missing(self, asked: Asked) -> str:
        """Why what is asked cannot be measured; "" where it can."""
        for model, dataset in asked.cells:
            of_model = self.of(model, dataset)
            if of_model.empty:
                return f"no cell of {model} on {dataset}; the suite {asked.suite} has it"
            first = of_model.iloc[0]
            if records.Status.DONE not in set(of_model["status"]):
                why = f"{status_words(first['status'])}: {first['reason']}".removesuffix(": ")
                return f"{model} on {dataset} {why}"
            if isinstance(asked, Sooner):
                continue
            scores = self._scores_of(dataset, asked.measure)
            if len(scores) < 2 or first["label"] not in scores.columns.get_level_values(0):
                return f"no scores of several sequences of {model} on {dataset}"
            is_ratio = not isinstance(asked, Beats) and is_error(self.sections[dataset], asked)
            if is_ratio and scores[first["label"]].to_numpy().mean() <= SMALLEST:
                return f"{model} is perfect on {dataset}, of which nothing is so many per cent"
        if _asks_for_skill(asked) and not self._best_baseline(asked.dataset, asked.measure):
            return f"no baseline with scores on {asked.dataset}; the suite {asked.suite} has one"
        return ""

    def untrained(self, asked: Asked, minimum: Minimum) -> str:
        """What a trained cell lacks of the `minimum`; "" where none is known to lack anything."""
        for model, dataset, done in self._trained(asked):
            steps = done[records.TRAIN_STEPS].min()
            if steps < minimum.steps:
                few = f"{steps:,.0f} of the {minimum.steps:,} steps that are asked for"
                return f"{model} on {dataset} took {few}"
            if minimum.tuned and not all(map(recipes.trials, done["facts"])):
                return f"the recipe of {model} on {dataset} is not tuned: `bench tune`"
            if _asks_for_skill(asked):
                continue
            if done[SKILL].mean() <= 0:
                skill = f"a skill of {100 * done[SKILL].mean():.0f} %"
                return f"{model} on {dataset} has {skill} against trivial predictions"
            if better := self._baseline_that_beats(done, dataset):
                return f"{model} on {dataset} is no better than {better}"
        return ""

    def unknown(self, asked: Asked, minimum: Minimum) -> str:
        """What of the `minimum` cannot be told from what is recorded; "" where all can."""
        trials: dict[str, set[int]] = {}
        for model, dataset, done in self._trained(asked):
            if done[records.TRAIN_STEPS].isna().any():
                return f"it is not recorded how many steps {model} on {dataset} took"
            trials.setdefault(model, set()).update(map(recipes.trials, done["facts"]))
            is_compared = self.sections[dataset].done["baseline"].any()
            if not (_asks_for_skill(asked) or is_compared or done[SKILL].notna().all()):
                return f"no baseline is beside {model} on {dataset}"
        if minimum.tuned and len(set().union(*trials.values())) > 1:
            many = ", ".join(f"{model}: {_listed(of)}" for model, of in trials.items())
            return f"recipes are the best of different numbers of trials ({many})"
        return ""

    def _trained(self, asked: Asked) -> Iterator[tuple[str, str, pd.DataFrame]]:
        """The finished cells of each model that is trained, with its name and data set."""
        for model, dataset in asked.cells:
            of_model = self.of(model, dataset)
            done = of_model[(of_model["status"] == records.Status.DONE) & ~of_model["baseline"]]
            if not done.empty:
                yield model, dataset, done

    def _baseline_that_beats(self, done: pd.DataFrame, dataset: str) -> str:
        """The baseline that predicts as well as the mean of the cells `done`; "" if none does."""
        section = self.sections[dataset]
        lead = COLUMNS[section.task][0].measure
        sign = 1 if lead.better == "lower" else -1
        rest = section.done[section.done["baseline"]]
        figures = sign * rest.groupby("label")[lead.key].mean()
        if figures.empty or sign * done[lead.key].mean() < figures.min():
            return ""
        return str(figures.idxmin())

    def disturbed(self, asked: Asked) -> str:
        """Which cells trained under disturbed conditions, and why; or ""."""
        for _, _, done in self._trained(asked):
            for cell in each(done):
                why = cell["marked"]
                if isinstance(asked, Sooner) and asked.unit == "seconds":
                    why = why or lost_time(cell)  # whatever the budget
                if why:
                    return f"{cell['name']} {why}"
        return ""

    def left_out(self, asked: Asked) -> str:
        """Which seeds have no result where others have, for they could be the bad ones; or ""."""
        found = [
            f"{cell['name']} {status_words(cell['status'])}"
            for model, dataset in asked.cells
            for cell in each(self.of(model, dataset))
            if cell["status"] != records.Status.DONE
        ]
        return f"; not counted: {', '.join(found)}" if found else ""

    def label(self, model: str, dataset: str, measure: str = "") -> str:
        """The label of `model` in the table of `dataset`; of `BASELINE` that of the best one."""
        if model == BASELINE:
            return str(self._best_baseline(dataset, measure))
        return str(self.of(model, dataset).iloc[0]["label"])

    def _best_baseline(self, dataset: str, measure: str) -> str | None:
        """The baseline that is best by `measure`, of those whose scores are stored."""
        section = self.sections[dataset]
        stored = set(self._scores_of(dataset, measure).columns.get_level_values(0))
        rest = section.done[section.done["baseline"] & section.done["label"].isin(stored)]
        metric = RECORDED[section.task][measure]
        figures = rest.groupby("label")[metric.key].mean().dropna()
        if figures.empty:
            return None
        return str(figures.idxmin() if metric.better == "lower" else figures.idxmax())

    def pairs(self, dataset: str, measure: str, sample: int = 0) -> Pairs:
        """The resampled scores on `dataset`."""
        key = dataset, measure, sample
        if key not in self._pairs:
            section = self.sections[dataset]
            scores = self._scores_of(dataset, measure)
            scale = scale_of(RECORDED[section.task][measure])
            clusters = self._scores.clusters(section)
            self._pairs[key] = Pairs(
                scores, scale, sample, clusters=clusters, fixed=fixed(section), fewest=FEW
            )
        return self._pairs[key]

    def _scores_of(self, dataset: str, measure: str) -> pd.DataFrame:
        key = dataset, measure
        if key not in self._by_sequence:
            self._by_sequence[key] = self._scores.of(self.sections[dataset], measure)
        return self._by_sequence[key]

    def sample_beside(self, dataset: str, other: Cells, of: str) -> int:
        """A number for the sequences of `dataset`: 0 where `other` has the same on `of`."""
        first, second = self.sections[dataset], other.sections[of]
        is_one = first.data_digest == second.data_digest != UNKNOWN
        one, two = (self._scores.clusters(section).of for section in (first, second))
        return 0 if is_one and np.array_equal(one, two) else 1

    def of(self, model: str, dataset: str) -> pd.DataFrame:
        """The cells of `model` on `dataset`, finished ones first; not those of another suite.

        Where it was evaluated in several ways, those of the newest.
        """
        key = model, dataset
        if dataset not in self.sections:
            return pd.DataFrame()
        if key not in self._of:
            cells = self.sections[dataset].cells
            ours = cells[(cells["model"] == model) & ~cells["borrowed"]]
            alike = ours[ours["label"] == ours["label"].iloc[0]] if len(ours) else ours
            self._of[key] = alike.sort_values("status", key=_is_unfinished, kind="stable")
        return self._of[key]


def is_error(section: Section, asked: Gains | Longer | Effect) -> bool:
    """Whether what is measured is an error, which is 0 for a perfect model."""
    return RECORDED[section.task][asked.measure].better == "lower"


def _asks_for_skill(asked: Asked) -> TypeGuard[Beats]:
    """Whether that a model predicts better than trivially is the very question."""
    return isinstance(asked, Beats) and asked.second == BASELINE


def _listed(numbers: set[int]) -> str:
    return " and ".join(map(str, sorted(numbers)))


def _is_unfinished(status: pd.Series[str]) -> pd.Series[bool]:
    return status != records.Status.DONE
