"""The table of a section: one DataFrame behind the page, report.md, table.csv and the terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bench import records, units
from bench.escape import csv_cell
from bench.report import recipes
from bench.report.cells import each, short_commit
from bench.report.columns import (
    BEYOND_MEAN_ERROR,
    COLUMNS,
    CONDITION_COLUMNS,
    PREDICTABLE,
    SKILLS,
    WAITING,
    Column,
    further,
)
from bench.report.marks import DISTURBED, WHY, of_seeds
from bench.report.section import SETTING, TASK, Section
from bench.report.statistics.best import Best
from bench.report.statistics.interval import half_width
from bench.score.metrics import RECORDED, REFERENCE

ROW_FIELDS = (
    *("label", "model", "baseline", "seeds", "status", "reason", "command"),
    *("other_code", "damaged", "eager", "marked", "recipe_from", "paper"),
)
MARK, DAMAGED, EAGER = "†", "‡", "§"
PERFECT = 1e-7
"""How near to perfect copy-last is where nothing moves: nobody can be so many per cent better."""
NONE_IS_BEST = Best()


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure of a row as it is printed."""

    text: str
    value: float | None = None
    half_width: str = ""
    best: bool = False
    reason: str = ""
    """Why the figure is not there."""


@dataclass(frozen=True, slots=True)
class Row:
    """A model's figures over its finished seeds, or cells that have none and why."""

    label: str
    model: str
    baseline: bool
    seeds: str
    status: str
    reason: str
    command: str
    entries: tuple[Entry, ...]
    other_code: str = ""
    """The commit, where other code of the harness or the data set made the figures than the newest
    row's; else ""."""
    damaged: str = ""
    """Why some of its stored tables or frames cannot be used; else ""."""
    eager: str = ""
    """How its training steps ran, where that was "eager" and other rows' were a graph; else ""."""
    marked: str = ""
    """Why it is never the best: see `bench.report.marks`; "" where it may be."""
    recipe_from: str = ""
    """Whose recipe trained it; "" for a model that is not trained."""
    paper: str = ""
    """The address of the publication that it follows; "" where none is recorded."""

    @property
    def n(self) -> int:
        """How many seeds it stands for."""
        return len(self.seeds.split())

    @property
    def counted(self) -> str:
        """How many seeds its figures are of, or which seeds have none."""
        plural = "s" * (self.n != 1)
        return f"{self.n} seed{plural}" if self.done else f"seed{plural} {self.seeds}"

    @property
    def name(self) -> str:
        """The label, marked where its figures were made in another way, or a part is damaged."""
        marks = MARK * bool(self.other_code) + DAMAGED * bool(self.damaged)
        marks += EAGER * bool(self.eager) + DISTURBED * bool(self.marked)
        return f"{self.label} {marks}".strip()

    @property
    def done(self) -> bool:
        """Whether the row has figures."""
        return self.status == records.Status.DONE


@dataclass(frozen=True, slots=True)
class Table:
    """The printed table of a section; the entries of every row follow `columns`."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    remark: str = ""
    """What makes the same budget unequal between its models."""
    bold: str = ""
    """What the mark of the best means."""

    @property
    def note(self) -> str:
        """What is bold, which rows are marked and why, and the remark; "" without any."""
        other = [f"{row.label} at commit {row.other_code}" for row in self.rows if row.other_code]
        damaged = [f"{row.label}, {row.damaged}" for row in self.rows if row.damaged]
        code = f"{MARK} Made by other code than the rest: {'; '.join(other)}." if other else ""
        lost = f"{DAMAGED} Left out of plots and comparisons: {'; '.join(damaged)}."
        eager = "; ".join(f"{row.label}, {row.eager}" for row in self.rows if row.eager)
        slow = f"{EAGER} Trained step by step, the rest by replays of one CUDA graph: {eager}."
        whose = recipes.note(self.rows)
        notes = (
            *(self.bold, code, lost if damaged else "", slow if eager else ""),
            *(self._disturbed, whose, self.remark),
        )
        return " ".join(filter(None, notes))

    @property
    def _disturbed(self) -> str:
        labels: dict[str, list[str]] = {}
        for row in self.rows:
            if row.marked:
                labels.setdefault(row.marked, []).append(row.label)
        said = "; ".join(f"{', '.join(of)} ({why})" for why, of in labels.items())
        return f"{DISTURBED} {WHY.capitalize()}, so never named best: {said}." if said else ""


def summary(section: Section) -> pd.DataFrame:
    """The table: finished models, the best first, then the cells that did not finish.

    Each figure is the mean over finished seeds, beside `<name>_half_width`, half its 95 %
    t-interval; it is NaN unless every finished seed has it. Cells that ended alike share a row.
    """
    cells = _with_ratios(_with_eager(_with_other_code(section.cells)))
    columns = (*COLUMNS[section.task], *further(section.task), *CONDITION_COLUMNS)
    done = cells["status"] == records.Status.DONE
    models = [_model(seeds, columns) for _, seeds in cells[done].groupby("label", sort=False)]
    lead, sign = columns[0].name, -1 if columns[0].measure.better == "higher" else 1
    models.sort(key=lambda row: (math.isnan(row[lead]), sign * row[lead]))
    rest = cells[~done].sort_values(["label", "seed"])
    alike = rest.groupby(["label", "status", "reason"], sort=False)
    rows = models + [_model(seeds, columns) for _, seeds in alike]
    frame = pd.DataFrame(rows)
    setting = {name: getattr(section, name) for name in (*TASK, *SETTING)}
    return frame.assign(**setting)


def printed(section: Section, summary: pd.DataFrame, best: Best = NONE_IS_BEST) -> Table:
    """`summary` as it is printed, in its order; a column without a figure is left out.

    `best` says which figures of quality have the mark of the best. Of costs the lowest or highest
    have it, and share it when they print alike; they are compared among trained models only, for a
    baseline costs next to nothing. A model of a marked cell competes in nothing.
    """
    lead, *others = COLUMNS[section.task]
    columns = (lead, *(column for column in others if _says_something(summary, column)))
    table = _table(summary, columns, best)
    remarks = (_unequal_batches(section), _frames_only(section))
    return replace(table, remark=" ".join(filter(None, remarks)), bold=best.note)


def against_copy_last(
    section: Section, summary: pd.DataFrame, best: Best = NONE_IS_BEST
) -> Table | None:
    """The skill of the finished models by every measure; None where there is none to tell."""
    done = summary[summary["status"] == records.Status.DONE]
    skills = SKILLS.values() if section.task == "prediction" else ()
    columns = tuple(c for c in skills if bool(done[c.name].notna().any()))
    rest = done[done["model"] != REFERENCE["prediction"]]
    return _table(rest, columns, best) if columns and len(rest) else None


def _unequal_batches(section: Section) -> str:
    """That models trained on other numbers of samples, where the budget is in steps."""
    if not section.budget.endswith(" steps"):
        return ""
    trained = section.done[~section.done["baseline"]]
    batches = trained["train/samples"] / trained["train/steps"]
    return units.unequal_batches(batches.dropna().round().tolist())


def _frames_only(section: Section) -> str:
    """Which models take no covariates, where the data set has some."""
    without = section.cells[section.cells["not_shown"] != ""]
    return units.frames_only(without["label"], without["not_shown"])


def beyond_mean_error(summary: pd.DataFrame, best: Best = NONE_IS_BEST) -> Table | None:
    """What a mean error does not say of the finished models; None where it is not known of any."""
    done = summary[summary["status"] == records.Status.DONE]
    known = (c for c in BEYOND_MEAN_ERROR if c.name in done and bool(done[c.name].notna().any()))
    columns = tuple(known)
    return _table(done, columns, best) if columns else None


def _table(summary: pd.DataFrame, columns: tuple[Column, ...], best: Best) -> Table:
    cheapest = {column.name: _cheapest(summary, column) for column in columns}
    rows = []
    for row in each(summary):
        entries = []
        for column in columns:
            entry = _entry(row, column)
            is_best = best.is_marked(row["label"], column)
            if not column.is_quality:
                competes = not (row["baseline"] or row["marked"])
                is_best = competes and entry.text == cheapest[column.name]
            entries.append(replace(entry, best=is_best and entry.value is not None))
        rows.append(Row(**{name: row[name] for name in ROW_FIELDS}, entries=tuple(entries)))
    return Table(columns, tuple(rows))


def csv(summaries: list[pd.DataFrame]) -> str:
    """All tables as one CSV; `not_measured` has the reasons for missing figures.

    A quality that no row has a figure of, nor a reason, has no column.
    """
    frame = pd.concat(summaries, ignore_index=True)
    named = {name for reasons in frame["not_measured"] for name in reasons}
    for column in (c for task in COLUMNS for c in (*COLUMNS[task], *further(task))):
        unsaid = column.is_quality and column.name in frame and column.name not in named
        if unsaid and bool(frame[column.name].isna().all()):
            frame = frame.drop(columns=[column.name, f"{column.name}_half_width"])
    frame["not_measured"] = [
        "; ".join(f"{name}: {why}" for name, why in reasons.items())
        for reasons in frame["not_measured"]
    ]
    return frame.map(csv_cell).to_csv(index=False)


def _with_ratios(cells: pd.DataFrame) -> pd.DataFrame:
    """`cells` with what is a ratio of recorded figures."""
    seconds = cells["time/train_seconds"]
    derived = cells.get(PREDICTABLE.key, np.nan)  # not in a terminal's table
    found = {
        PREDICTABLE.key: derived,
        WAITING.key: cells["time/waiting_seconds"] / seconds.where(seconds > 0),
    }
    copied = cells[cells["model"] == REFERENCE["prediction"]]
    for name, column in SKILLS.items():
        metric = RECORDED["prediction"][name]
        values, by_copying = cells[metric.key], copied[metric.key].mean()
        gained = values - by_copying
        room = 1.0 if metric.perfect is None else metric.perfect - by_copying
        found[column.measure.key] = gained / (room if abs(room) > PERFECT else np.nan)
    return cells.assign(**found)


def _with_other_code(cells: pd.DataFrame) -> pd.DataFrame:
    """`cells` with `other_code`, as `Row` has it."""
    newest = cells["common_code"].iloc[cells["started"].argmax()]
    other = cells["common_code"] != newest
    return cells.assign(other_code=cells["commit"].where(other, ""))


def _with_eager(cells: pd.DataFrame) -> pd.DataFrame:
    """`cells` with `eager`, as `Row` has it."""
    graphs = bool((cells["ran_step"] == "graph").any())
    is_eager = cells["ran_step"].str.startswith("eager") & graphs
    return cells.assign(eager=cells["ran_step"].where(is_eager, ""))


def _model(seeds: pd.DataFrame, columns: tuple[Column, ...]) -> dict[str, Any]:
    """The row of the cells `seeds` of one model."""
    first = seeds.iloc[0]
    row = {name: first[name] for name in ("label", "model", "size", "baseline", "status")}
    commits = sorted({short_commit(commit) for commit in seeds["other_code"] if commit})
    row["other_code"] = " and ".join(commits)
    row["eager"] = "; ".join(sorted({how for how in seeds["eager"] if how}))
    row["recipe_from"] = recipes.origins(seeds)
    row["seeds"] = " ".join(map(str, sorted(seeds["seed"])))
    row["n"] = len(seeds)
    row["paper"] = first["paper"]
    for column in columns:
        values = seeds[column.measure.key]
        row[column.name] = values.mean(skipna=False)
        row[f"{column.name}_half_width"] = half_width(values.tolist())
    row["marked"] = of_seeds(dict(zip(seeds["seed"], seeds["marked"], strict=True)))
    row["damaged"] = "; ".join(
        f"seed {cell['seed']}: {cell['damaged']}" for cell in each(seeds) if cell.get("damaged")
    )
    row["not_measured"] = {
        name: why for reasons in seeds["not_measured"] for name, why in reasons.items()
    }
    return row | {"reason": first["reason"], "command": "\n".join(seeds["command"])}


def _says_something(summary: pd.DataFrame, column: Column) -> bool:
    """Whether a model has a figure in `column`, or a reason why it has none."""
    done = summary[summary["status"] == records.Status.DONE]
    reasons = (column.name in missing for missing in done["not_measured"])
    return bool(done[column.name].notna().any()) or any(reasons)


def _cheapest(summary: pd.DataFrame, column: Column) -> str | None:
    """The best figure of a cost as printed; None where nothing competes for it."""
    counts = (summary["status"] == records.Status.DONE) & (summary["marked"] == "")
    values = summary.loc[counts & ~summary["baseline"], column.name].dropna()
    if column.is_quality or column.measure.better is None or len(values) < 2:
        return None
    return column.write(values.min() if column.measure.better == "lower" else values.max())


def _entry(row: dict[str, Any], column: Column) -> Entry:
    value = float(row[column.name])
    if row["status"] != records.Status.DONE:
        return Entry("")
    if math.isnan(value):
        reason = row["not_measured"].get(column.name, "")
        return Entry("not measured" if reason else "—", reason=reason)
    text = column.write(value)
    spread = column.write(float(row[f"{column.name}_half_width"]), value)
    certain = row["n"] < 2 or spread == column.write(0.0, value)
    return Entry(text, value, "" if certain else f"± {spread}")
