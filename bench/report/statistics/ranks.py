"""How models rank over the data sets of a suite, one vote for each family of data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bench import records
from bench.report.columns import COLUMNS
from bench.report.plots.canvas import Plot
from bench.report.section import Section
from bench.report.statistics.skills import Estimate, Skills, family, skills_of
from bench.report.table import MARK

ENOUGH = 6
"""Families of data sets from which on a mean rank is said to be best."""


@dataclass(frozen=True, slots=True)
class RankRow:
    """A model with its mean rank and its rank on each data set, as they are printed."""

    label: str
    model: str
    mean: str
    ranks: tuple[str, ...]
    is_best: bool = False
    """Whether no mean rank is better."""
    is_marked: bool = False
    """Whether other code than the rest's computed one of its figures."""
    iqm: str = ""
    """The interquartile mean of its skill in per cent, with the 95 % interval."""
    improvement: str = ""
    """The probability in per cent that the best by that mean is better than it, with interval."""

    @property
    def name(self) -> str:
        """The label, marked where it must be."""
        return f"{self.label} {MARK}" if self.is_marked else self.label


@dataclass(frozen=True, slots=True)
class Ranks:
    """Models that finished on all `datasets` under one setting, the best mean rank first."""

    title: str
    setting: str
    datasets: tuple[str, ...]
    rows: tuple[RankRow, ...]
    left_out: tuple[str, ...]
    """Models that finished on some of the data sets only, or have a marked cell."""
    skills: dict[str, Skills]
    """Of trained models by label, where there are several families and their skill is known."""
    plots: tuple[Plot, ...] = ()

    @property
    def families(self) -> int:
        """How many votes there are."""
        return len({family(name) for name in self.datasets})

    @property
    def verdict(self) -> str:
        """A sentence on the best mean rank, or why there is none."""
        if self.families < ENOUGH:
            many = "1 family" if self.families == 1 else f"{self.families} families"
            return f"{many} of data sets: too few to say who ranks best; {ENOUGH} are needed."
        first, second = self.rows[:2]
        best = [row.label for row in self.rows if row.is_best]
        if len(best) > 1:
            return f"{', '.join(best[:-1])} and {best[-1]} share the best mean rank, {first.mean}."
        said = f"{first.label} ranks best: {first.mean} on average"
        return f"{said}; {second.label} has {second.mean}."

    @property
    def best(self) -> str:
        """The label of the model with the highest interquartile mean; "" of none."""
        return max(self.skills, key=lambda label: self.skills[label].iqm.value, default="")

    @property
    def notes(self) -> list[str]:
        """Notes on models left out, and on the mark."""
        names = ", ".join(self.left_out)
        left_out = f"Not ranked, for lack of a result that counts on every data set: {names}."
        marked = f"{MARK} Made by other code than the rest, as the tables of the data sets say."
        notes = [left_out] if self.left_out else []
        return notes + ([marked] if any(row.is_marked for row in self.rows) else [])


def ranks(sections: Sequence[Section], summaries: Sequence[pd.DataFrame]) -> list[Ranks]:
    """One table for each setting under which two models or more finished on several data sets.

    The rank is by the measure that ranks a table, among the models that finished on all data
    sets; equal figures share the mean of their ranks. Of the data sets of one family the mean rank
    counts, and of one data set the newest section.
    """
    alike: dict[tuple[str, ...], dict[str, tuple[Section, pd.DataFrame]]] = {}
    for section, summary in zip(sections, summaries, strict=True):
        done = summary[summary["status"] == records.Status.DONE]
        if not done["baseline"].all():
            by_dataset = alike.setdefault(section.conditions, {})
            by_dataset.setdefault(section.dataset, (section, done))
    found = [_ranks(by_dataset) for by_dataset in alike.values() if len(by_dataset) > 1]
    return [table for table in found if len(table.rows) > 1]


def _ranks(by_dataset: dict[str, tuple[Section, pd.DataFrame]]) -> Ranks:
    section = next(iter(by_dataset.values()))[0]
    lead = COLUMNS[section.task][0]
    done = {name: rows.set_index("label") for name, (_, rows) in by_dataset.items()}
    figures = pd.DataFrame(
        {name: rows[lead.name].where(rows["marked"] == "") for name, rows in done.items()}
    )
    common = figures.dropna()
    ranked = common.rank(ascending=lead.measure.better == "lower")
    votes = ranked.T.groupby(family).mean()
    means = votes.mean().sort_values(kind="stable")
    model = {str(label): row for rows in done.values() for label, row in rows["model"].items()}
    of_datasets = {name: part for name, (part, _) in by_dataset.items()}
    skills = skills_of(of_datasets) if len(votes) > 1 and section.task == "prediction" else {}
    skills = {label: found for label, found in skills.items() if label in common.index}
    title = f"Mean rank over {len(done)} data sets{section.of_size}"
    left_out = tuple(map(str, figures.index.difference(common.index)))
    rows = tuple(
        RankRow(
            label,
            model[label],
            f"{mean:.2f}",
            tuple(f"{rank:g}" for rank in ranked.loc[label]),
            math.isclose(mean, means.iloc[0]),
            any(rows.at[label, "other_code"] for rows in done.values()),
        )
        for label, mean in ((str(label), mean) for label, mean in means.items())
    )
    table = Ranks(title, section.common_setting, tuple(done), rows, left_out, skills)
    return replace(table, rows=tuple(_with_skill(row, table) for row in rows))


def _with_skill(row: RankRow, table: Ranks) -> RankRow:
    skills = table.skills.get(row.label)
    if skills is None:
        return row
    chance = ""
    if table.best and row.label != table.best:
        chance = _written(table.skills[table.best].improvement(skills), 0)
    return replace(row, iqm=_written(skills.iqm, 1), improvement=chance)


def _written(share: Estimate, decimals: int) -> str:
    value, low, high = (f"{100 * x:.{decimals}f}" for x in (share.value, share.low, share.high))
    return value if share.low != share.low else f"{value} ({low} to {high})"
