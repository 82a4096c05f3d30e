"""How models rank over the data sets of a suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench import records
from bench.report.columns import COLUMNS
from bench.report.load import Section
from bench.report.table import MARK


@dataclass(frozen=True, slots=True)
class RankRow:
    """A model with its mean rank and its rank on each data set, as they are printed."""

    label: str
    model: str
    mean: str
    ranks: tuple[str, ...]
    is_marked: bool = False
    """Whether other code than the rest's computed one of its figures."""

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

    @property
    def verdict(self) -> str:
        """A sentence on the best mean rank."""
        first, second = self.rows[:2]
        if first.mean == second.mean:
            return f"{first.label} and {second.label} share the best mean rank, {first.mean}."
        said = f"{first.label} ranks best: {first.mean} on average"
        return f"{said}; {second.label} has {second.mean}."

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
    sets; equal figures share the mean of their ranks. Of one data set the newest section counts.
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
    means = ranked.mean(axis=1).sort_values(kind="stable")
    model = {str(label): row for rows in done.values() for label, row in rows["model"].items()}
    rows = tuple(
        RankRow(
            label,
            model[label],
            f"{mean:.2f}",
            tuple(f"{rank:g}" for rank in ranked.loc[label]),
            any(rows.at[label, "other_code"] for rows in done.values()),
        )
        for label, mean in ((str(label), mean) for label, mean in means.items())
    )
    left_out = tuple(map(str, figures.index.difference(common.index)))
    title = f"Mean rank over {len(done)} data sets{section.of_size}"
    return Ranks(title, section.common_setting, tuple(done), rows, left_out)
