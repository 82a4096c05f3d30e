"""The answer in a few sentences, computed from a section's table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench import records
from bench.report.cells import each
from bench.report.columns import COLUMNS, Column
from bench.report.marks import WHY
from bench.report.section import NEVER_BEGAN, Section
from bench.report.statistics.jackknife import Pairs
from bench.report.statistics.significance import sentence, sign_of
from bench.report.table import PERFECT
from bench.score.metrics import RECORDED, REFERENCE

if TYPE_CHECKING:  # the report needs no torch
    from datasets.contract import TaskName

MULTIPLES = 1000  # per cent above copy-last from which on multiples are said
NAMED = 3  # of models that share the best place


@dataclass(frozen=True, slots=True)
class _Words:
    """How the figures that rank the models of a task are said."""

    figure: Callable[[float], str]
    beside: Callable[[float, float], str]
    """The best figure against the reference's."""
    reference: str
    """What no model beats, where none does."""


def _against_copy_last(mse: float, copied: float) -> str:
    if copied <= PERFECT:
        return f"copy-last has {copied:.5f}: copying is perfect here, for nothing moves"
    change = 100 * (mse / copied - 1)
    if round(change) == 0:
        return "level with copy-last"
    if change >= MULTIPLES:
        return f"{mse / copied:.3g} times that of copy-last"
    whole = "more than 99" if -100 < change < -99.5 else f"{abs(change):.0f}"  # 100 is perfect
    return f"{whole} % {'below' if change < 0 else 'above'} copy-last"


_WORDS: dict[TaskName, _Words] = {
    "prediction": _Words(
        figure=lambda mse: f"{mse:.5f}",
        beside=_against_copy_last,
        reference="copying the last frame",
    ),
    "recognition": _Words(
        figure=lambda share: f"{100 * share:.1f} % of the test videos named right",
        beside=lambda _, share: f"against {100 * share:.1f} % by class_frequency",
        reference="naming the most frequent class",
    ),
}


def verdict(section: Section, summary: pd.DataFrame, pairs: Pairs | None) -> tuple[str, ...]:
    """Sentences: which model is best, in one; then how surely, and what did not finish.

    Args:
        section: the cells of the table.
        summary: the table, which is the ranking.
        pairs: the models' scores by sequence, where any are stored.
    """
    if summary["status"].isin(NEVER_BEGAN).all():
        reasons = "; ".join(filter(None, dict.fromkeys(summary["reason"])))
        return (f"Nothing ran on {section.dataset}: {reasons or 'not yet'}",)
    done = summary[summary["status"] == records.Status.DONE]
    trained, baselines = done[~done["baseline"]], done[done["baseline"]]
    marked, trained = trained[trained["marked"] != ""], trained[trained["marked"] == ""]
    sentences = []
    if trained.empty and len(marked):
        every = f"all {len(marked)} were" if len(marked) > 1 else "the only one was"
        said = f"No trained model is named best on {section.dataset}: {every} {WHY}."
        sentences.append(said)
    elif trained.empty:
        sentences.append(f"No trained model has finished on {section.dataset}.")
    else:
        sentences.append(_answer(section, trained, baselines, pairs))
        if len(trained) > 1:
            sentences.append(_runner_up(section, trained, pairs))
        if not baselines.empty and (beaten := _beaten(section, trained, baselines, pairs)):
            sentences.append(beaten)
    if len(marked):
        sentences.append(f"Not compared: {', '.join(marked['label'])}, {WHY}.")
    unfinished = summary[summary["status"] != records.Status.DONE]
    if not unfinished.empty:
        sentences.append(_unfinished(unfinished))
    return tuple(sentences)


def _answer(
    section: Section, trained: pd.DataFrame, baselines: pd.DataFrame, pairs: Pairs | None
) -> str:
    """The answer in one sentence: first what no model beats, then which model is best."""
    lost = _lost(section, trained, baselines)
    best = _best(section, trained, baselines, pairs)
    return f"No trained model beats {lost}; {best}." if lost else f"{best[0].upper()}{best[1:]}."


def _best(
    section: Section, trained: pd.DataFrame, baselines: pd.DataFrame, pairs: Pairs | None
) -> str:
    words, lead = _WORDS[section.task], COLUMNS[section.task][0]
    first, figures = trained["label"].iloc[0], trained.set_index("label")[lead.name]
    many = f"of {len(trained)} trained models"
    after = f"after {section.budget_told} of training on {section.dataset}"
    told = words.figure(figures[first])
    reference = baselines.loc[baselines["model"] == REFERENCE[section.task], lead.name]
    if len(reference):
        told += f", {words.beside(figures[first], reference.iloc[0])}"
    if len(trained) == 1:
        done = section.done
        is_alone = done.loc[~done["baseline"], "label"].nunique() == 1
        only = "the only trained model" + ("" if is_alone else " to be compared")
        return f"on {lead.measure.label} {first}, {only}, has {told}, {after}"
    alike = [str(label) for label in figures.index[1:] if figures[label] == figures[first]]
    tied = [first, *alike, *_tied(pairs, first, figures.index[1 + len(alike) :])]
    if len(tied) == 1:
        is_sure = _is_sure(pairs, first, figures.index[1:], lead)
        how = "is the best" if is_sure else "has the best figure"
        return f"on {lead.measure.label} {first} {how} {many}: {told}, {after}"
    named = [f"{label} ({words.figure(figures[label])})" for label in tied[:NAMED]]
    if more := len(tied) - NAMED:
        named = [*named, f"{more} more"] if more > 0 else named
    share = f"on {lead.measure.label} {listed(named, 'and')} share the best place {many}"
    return f"{share}, for they cannot be told apart {after}"


def _tied(pairs: Pairs | None, first: str, others: Iterable[str]) -> list[str]:
    """Those of `others` that an interval does not tell from `first`."""
    if pairs is None or first not in pairs.seeds:
        return []
    stored = (label for label in others if label in pairs.seeds)
    differences = ((label, pairs.difference(first, label)) for label in stored)
    return [label for label, its in differences if its.has_interval and not its.is_sure]


def _lost(section: Section, trained: pd.DataFrame, baselines: pd.DataFrame) -> str:
    """The trivial predictions that no trained model has a better figure than, by measure; or ""."""
    lead, *others = (
        column
        for column in COLUMNS[section.task]
        if column.is_quality
        and column.measure.better
        and not RECORDED[section.task][column.name].ratio
    )
    reference = baselines[baselines["model"] == REFERENCE[section.task]]
    on: dict[str, list[str]] = {}
    if not baselines.empty and not _ahead(trained, baselines.iloc[0], lead).any():
        strongest = baselines.iloc[0]
        name = strongest["label"]
        if strongest["model"] == REFERENCE[section.task]:
            name = _WORDS[section.task].reference
        on.setdefault(name, []).append(lead.measure.label)
    if not reference.empty:
        row = reference.iloc[0]
        for column in others:
            figures = [*trained[column.name], row[column.name]]
            is_measured = not any(map(math.isnan, figures))  # of all, or nothing is said of all
            if is_measured and not _ahead(trained, row, column).any():
                on.setdefault(_WORDS[section.task].reference, []).append(column.measure.label)
    return ", nor ".join(f"{name} on {listed(measures, 'or')}" for name, measures in on.items())


def _ahead(rows: pd.DataFrame, other: pd.Series[Any], column: Column) -> pd.Series[bool]:
    """Which of `rows` have a better figure than `other`."""
    gain = rows[column.name] - other[column.name]
    ahead: pd.Series[bool] = gain > 0 if column.measure.better == "higher" else gain < 0
    return ahead


def listed(names: Sequence[str], last: str) -> str:
    """Such as `a, b and c`."""
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _runner_up(section: Section, trained: pd.DataFrame, pairs: Pairs | None) -> str:
    first, second = trained["label"].iloc[:2]
    if pairs is None or not {first, second} <= set(pairs.seeds):
        return f"Without scores of several sequences it cannot be told from {second}, the next."
    measure = COLUMNS[section.task][0].measure
    return f"{sentence(pairs, first, second, measure)}."


def _beaten(
    section: Section, trained: pd.DataFrame, baselines: pd.DataFrame, pairs: Pairs | None
) -> str:
    """How many trained models are better than every baseline; "beat" only where that is sure.

    "" where none is, which the answer says.
    """
    lead = COLUMNS[section.task][0]
    better = trained.loc[_ahead(trained, baselines.iloc[0], lead), "label"]
    if better.empty:
        return ""
    sure = [label for label in better if _is_sure(pairs, label, baselines["label"], lead)]
    who = "the baseline" if len(baselines) == 1 else "every baseline"
    many = f"{len(better)} of {len(trained)} trained models"
    if len(better) == len(trained):
        few = {1: "The one trained model", 2: "Both trained models"}
        many = few.get(len(trained), f"All {len(trained)} trained models")
    if len(sure) == len(better):
        return f"{many} beat{'s' * (len(better) == 1)} {who} on {lead.measure.label}."
    has = "has" if len(better) == 1 else "have"
    surely = f", {len(sure)} of them surely" if sure else ", by figures alone"
    return f"{many} {has} a better {lead.measure.label} than {who}{surely}."


def _is_sure(pairs: Pairs | None, label: str, others: Iterable[str], lead: Column) -> bool:
    """Whether `label` is surely better than each of `others` by `lead`.

    A better figure is not enough: where a seed has no scores, they may say the opposite of it.
    """
    if pairs is None or not {label, *others} <= set(pairs.seeds):
        return False
    sign = sign_of(lead.measure)
    return all(pairs.difference(label, other).is_surely_better(sign) for other in others)


def _unfinished(rows: pd.DataFrame) -> str:
    named = ", ".join(
        f"{row['label']} seed{'s' if row['n'] > 1 else ''} {row['seeds']}: "
        f"{status_words(row['status'])}"
        for row in each(rows)
    )
    count = f"{rows['n'].sum()} cell{'s' if rows['n'].sum() > 1 else ''} without a result"
    return f"{count} ({named})."


def status_words(status: str) -> str:
    """How a status is said; one that this version does not know, as it is recorded."""
    return _STATUS_WORDS.get(status, f"of the unknown status {status!r}")


_STATUS_WORDS: dict[str, str] = {
    records.Status.RUNNING: "still running",
    records.Status.FAILED: "failed",
    records.Status.OUT_OF_MEMORY: "out of memory",
    records.Status.DIVERGED: "diverged",
    records.Status.INVALID: "invalid, its figures are void",
    records.Status.TIMEOUT: "timed out",
    records.Status.INTERRUPTED: "interrupted",
    records.Status.SKIPPED: "skipped",
    records.Status.MISSING: "not run yet",
    records.Status.DONE: "done",
}
