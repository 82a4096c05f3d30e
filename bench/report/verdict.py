"""The answer in a few sentences, computed from a section's table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from bench import records, units
from bench.report.columns import COLUMNS
from bench.report.load import NEVER_BEGAN, Section, each
from bench.report.marks import WHY
from bench.report.statistics.jackknife import Pairs
from bench.report.statistics.significance import sentence
from bench.report.table import PERFECT
from bench.score.metrics import REFERENCE

if TYPE_CHECKING:  # the report needs no torch
    from datasets.contract import TaskName

MULTIPLES = 1000  # per cent above copy-last from which on multiples are said


@dataclass(frozen=True, slots=True)
class _Words:
    """How the figures that rank the models of a task are said."""

    figure: Callable[[float], str]
    beside: Callable[[float, float], str]
    """The best figure against the reference's."""


def _against_copy_last(mse: float, copied: float) -> str:
    if copied <= PERFECT:
        return f"copy-last has {copied:.5f}: copying is perfect here, for nothing moves"
    change = 100 * (mse / copied - 1)
    if round(change) == 0:
        return "level with copy-last"
    if change >= MULTIPLES:
        return f"{mse / copied:.3g} times that of copy-last"
    return f"{abs(change):.0f} % {'below' if change < 0 else 'above'} copy-last"


_WORDS: dict[TaskName, _Words] = {
    "prediction": _Words(
        figure=lambda mse: f"test MSE {mse:.5f}",
        beside=_against_copy_last,
    ),
    "recognition": _Words(
        figure=lambda share: f"{100 * share:.1f} % of the test videos named right",
        beside=lambda _, share: f"against {100 * share:.1f} % by class_frequency",
    ),
}


def verdict(section: Section, summary: pd.DataFrame, pairs: Pairs | None) -> str:
    """A paragraph: the best model, by how much and how surely, and what did not finish.

    Args:
        section: the cells of the table.
        summary: the table, which is the ranking.
        pairs: the models' scores by sequence, where any are stored.
    """
    if summary["status"].isin(NEVER_BEGAN).all():
        reasons = "; ".join(filter(None, dict.fromkeys(summary["reason"])))
        return f"Nothing ran on {section.dataset}: {reasons or 'not yet'}"
    done = summary[summary["status"] == records.Status.DONE]
    trained, baselines = done[~done["baseline"]], done[done["baseline"]]
    marked, trained = trained[trained["marked"] != ""], trained[trained["marked"] == ""]
    sentences = []
    if trained.empty and len(marked):
        sentences.append(f"No trained model is named best on {section.dataset}.")
    elif trained.empty:
        sentences.append(f"No trained model has finished on {section.dataset}.")
    else:
        sentences.append(_winner(section, trained, baselines))
        if len(trained) > 1:
            sentences.append(_runner_up(section, trained, pairs))
        if not baselines.empty:
            sentences.append(_beaten(section, trained, baselines, pairs))
    if len(marked):
        sentences.append(f"Not compared: {', '.join(marked['label'])}, {WHY}.")
    unfinished = summary[summary["status"] != records.Status.DONE]
    if not unfinished.empty:
        sentences.append(_unfinished(unfinished))
    return " ".join(sentences)


def _winner(section: Section, trained: pd.DataFrame, baselines: pd.DataFrame) -> str:
    best, words, lead = trained.iloc[0], _WORDS[section.task], COLUMNS[section.task][0].name
    said = f"Of the trained models {best['label']} has the best figure on {section.dataset}: "
    said += f"{words.figure(best[lead])} after {units.budget(section.budget)} of training"
    said += f" on {section.device}"
    reference = baselines.loc[baselines["model"] == REFERENCE[section.task], lead]
    return (
        f"{said}, {words.beside(best[lead], reference.iloc[0])}." if len(reference) else f"{said}."
    )


def _runner_up(section: Section, trained: pd.DataFrame, pairs: Pairs | None) -> str:
    first, second = trained["label"].iloc[:2]
    if pairs is None or not {first, second} <= set(pairs.seeds):
        return f"Without scores of several sequences it cannot be told from {second}, the next."
    measure = COLUMNS[section.task][0].measure
    return f"{sentence(pairs, first, second, measure)}."


def _beaten(
    section: Section, trained: pd.DataFrame, baselines: pd.DataFrame, pairs: Pairs | None
) -> str:
    """How many trained models are better than every baseline; "beat" only where that is sure."""
    lead = COLUMNS[section.task][0]
    strongest = baselines.iloc[0]
    ahead = trained[lead.name] - strongest[lead.name]
    better = trained[ahead > 0 if lead.measure.better == "higher" else ahead < 0]["label"]
    if better.empty:
        figure = f"{lead.write(strongest[lead.name])} {lead.measure.unit}".strip()
        return f"No trained model beats {strongest['label']} ({figure})."
    sure = [label for label in better if _is_sure(pairs, label, baselines["label"])]
    who = "the baseline" if len(baselines) == 1 else "every baseline"
    many = f"{len(better)} of {len(trained)} trained models"
    if len(better) == len(trained):
        many = (
            "The one trained model" if len(trained) == 1 else f"All {len(trained)} trained models"
        )
    if len(sure) == len(better):
        return f"{many} beat{'s' * (len(better) == 1)} {who}."
    has = "has" if len(better) == 1 else "have"
    surely = f", {len(sure)} of them surely" if sure else ", by figures alone"
    return f"{many} {has} a better {lead.measure.label} than {who}{surely}."


def _is_sure(pairs: Pairs | None, label: str, others: Iterable[str]) -> bool:
    """Whether `label` surely differs from each of `others`."""
    if pairs is None:
        return False
    stored = {label, *others} <= set(pairs.seeds)
    return stored and all(pairs.difference(label, other).is_sure for other in others)


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
