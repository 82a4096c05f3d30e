"""The cells that tests of claims ask for: of one setting, by data set."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench import records
from bench.literature.claims import BASELINE, Beats, Effect, Gains, Longer, Minimum, Sooner
from bench.report.columns import COLUMNS
from bench.report.load import Section, each
from bench.report.scores import SequenceScores
from bench.report.statistics.jackknife import POINTS, RELATIVE, SMALLEST, Pairs
from bench.report.statistics.significance import fixed
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
        self._pairs: dict[tuple[str, str, int], Pairs] = {}

    def hold(self, asked: Asked) -> bool:
        """Whether there are cells for all that is asked, finished or not."""
        return all(len(self.of(*cell)) for cell in asked.cells)

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
            scores = self._scores.of(self.sections[dataset], asked.measure)
            if len(scores) < 2 or first["label"] not in scores.columns.get_level_values(0):
                return f"no scores of several sequences of {model} on {dataset}"
            is_ratio = not isinstance(asked, Beats) and is_error(self.sections[dataset], asked)
            if is_ratio and scores[first["label"]].to_numpy().mean() <= SMALLEST:
                return f"{model} is perfect on {dataset}, of which nothing is so many per cent"
        return ""

    def untrained(self, asked: Asked, minimum: Minimum) -> str:
        """What a trained cell lacks of the `minimum`; "" where none lacks anything."""
        for model, dataset in asked.cells:
            done = self.of(model, dataset)
            done = done[(done["status"] == records.Status.DONE) & ~done["baseline"]]
            if done.empty:
                continue
            steps = done["train/steps"].min()
            if steps < minimum.steps:
                few = f"{steps:,.0f} of the {minimum.steps:,} steps that are asked for"
                return f"{model} on {dataset} took {few}"
            if minimum.tuned and not all(map(_is_tuned, done["facts"])):
                return f"the recipe of {model} on {dataset} is not tuned: `bench tune`"
            if done[SKILL].mean() <= 0:
                skill = f"a skill of {100 * done[SKILL].mean():.0f} %"
                return f"{model} on {dataset} has {skill} against trivial predictions"
            if better := self._baseline_that_beats(done, dataset):
                return f"{model} on {dataset} is no better than {better}"
        return ""

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
        for model, dataset in asked.cells:
            of_model = self.of(model, dataset)
            for cell in each(of_model[of_model["status"] == records.Status.DONE]):
                if cell.get("marked"):
                    return f"{cell['name']} {cell['marked']}"
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
            section = self.sections[dataset]
            key = RECORDED[section.task][measure].key
            figures = section.done[section.done["baseline"]].groupby("label")[key].mean()
            lower = RECORDED[section.task][measure].better == "lower"
            return str(figures.idxmin() if lower else figures.idxmax())
        return str(self.of(model, dataset).iloc[0]["label"])

    def pairs(self, dataset: str, measure: str, sample: int = 0) -> Pairs:
        """The resampled scores on `dataset`."""
        key = dataset, measure, sample
        if key not in self._pairs:
            section = self.sections[dataset]
            scores = self._scores.of(section, measure)
            # SSIM may be 0 or less, of which nothing is so many per cent
            scale = RELATIVE if RECORDED[section.task][measure].better == "lower" else POINTS
            clusters = self._scores.clusters(section)
            self._pairs[key] = Pairs(scores, scale, sample, clusters=clusters, fixed=fixed(section))
        return self._pairs[key]

    def sample_of(self, dataset: str, other: str) -> int:
        """A number for the sequences of `dataset`: 0 where those of `other` are the same."""
        digests = {self.sections[name].data_digest for name in (dataset, other)}
        return len(digests) - 1

    def of(self, model: str, dataset: str) -> pd.DataFrame:
        """The cells of `model` on `dataset`, finished ones first."""
        if dataset not in self.sections:
            return pd.DataFrame()
        cells = self.sections[dataset].cells
        of_model = cells[cells["model"] == model]
        return of_model.sort_values("status", key=_is_unfinished, kind="stable")


def is_error(section: Section, asked: Gains | Longer | Effect) -> bool:
    """Whether what is measured is an error, which is 0 for a perfect model."""
    return RECORDED[section.task][asked.measure].better == "lower"


def _is_tuned(facts: dict[str, str]) -> bool:
    return facts.get("recipe.origin") == "tuned"


def _is_unfinished(status: pd.Series[str]) -> pd.Series[bool]:
    return status != records.Status.DONE
