"""The answer in a few sentences, computed from a section's table."""

from __future__ import annotations

import math

import pandas as pd

from bench import records
from bench.records import QUALITY
from bench.report.collect import Section, each
from bench.report.statistics import difference
from bench.report.table import COPY_LAST, MSE


def verdict(section: Section, summary: pd.DataFrame) -> str:
    """Who predicts best, by how much, how sure that is, and what did not finish."""
    done = summary[summary["status"] == records.Status.DONE]
    trained, baselines = done[~done["baseline"]], done[done["baseline"]]
    sentences = []
    if trained.empty:
        sentences.append(f"No trained model has finished on {section.dataset}.")
    else:
        sentences.append(_winner(section, trained, baselines))
        if len(trained) > 1:
            sentences.append(_runner_up(section, trained))
        if not baselines.empty:
            sentences.append(_beaten(trained, baselines))
    unfinished = summary[summary["status"] != records.Status.DONE]
    if not unfinished.empty:
        sentences.append(_unfinished(unfinished))
    return " ".join(sentences)


def _winner(section: Section, trained: pd.DataFrame, baselines: pd.DataFrame) -> str:
    best = trained.iloc[0]
    lead = f"{best['label']} predicts {section.dataset} best of the trained models"
    said = f"{lead}: test MSE {best[MSE]:.5f} after {section.budget} of training on "
    said += section.device
    copied = baselines.loc[baselines["model"] == COPY_LAST, MSE]
    return f"{said}, {_against(best[MSE], copied.iloc[0])}." if len(copied) else f"{said}."


def _against(mse: float, copied: float) -> str:
    change = 100 * (mse / copied - 1)
    return f"{abs(change):.0f} % {'below' if change < 0 else 'above'} copy-last"


def _runner_up(section: Section, trained: pd.DataFrame) -> str:
    first, second = trained.iloc[0], trained.iloc[1]
    gap = f"{second['label']} is {100 * (second[MSE] / first[MSE] - 1):.1f} % behind"
    low, high = (
        100 * bound / first[MSE]
        for bound in difference(_seeds(section, second), _seeds(section, first))
    )
    if math.isnan(low):
        return f"{gap}; with so few seeds that may be chance."
    seeds = f"{first['n']} and {second['n']} seeds"
    interval = f"95 % interval {low:.1f} to {high:.1f} %, {seeds}"
    if low <= 0 <= high:
        return f"{gap}, but the two cannot be told apart ({interval})."
    return f"{gap} ({interval})."


def _seeds(section: Section, row: pd.Series[float]) -> list[float]:
    """The test MSE of every finished seed of the row's model."""
    done = section.done
    values: list[float] = done.loc[done["label"] == row["label"], QUALITY[MSE].key].tolist()
    return values


def _beaten(trained: pd.DataFrame, baselines: pd.DataFrame) -> str:
    strongest = baselines.iloc[0]
    better = int((trained[MSE] < strongest[MSE]).sum())
    if better == 0:
        return f"No trained model beats {strongest['label']} ({strongest[MSE]:.5f})."
    who = "the baseline" if len(baselines) == 1 else "every baseline"
    if better == len(trained):
        many = "The one trained model beats" if better == 1 else f"All {better} trained models beat"
        return f"{many} {who}."
    return f"{better} of {len(trained)} trained models {'beats' if better == 1 else 'beat'} {who}."


def _unfinished(rows: pd.DataFrame) -> str:
    named = ", ".join(
        f"{row['label']} seed {row['seeds']}: {STATUS_WORDS[row['status']]}" for row in each(rows)
    )
    count = f"{len(rows)} cell{'s' if len(rows) > 1 else ''} without a result"
    return f"{count} ({named})."


STATUS_WORDS: dict[str, str] = {
    records.Status.RUNNING: "still running",
    records.Status.FAILED: "failed",
    records.Status.OUT_OF_MEMORY: "out of memory",
    records.Status.DIVERGED: "diverged",
    records.Status.TIMEOUT: "timed out",
    records.Status.INTERRUPTED: "interrupted",
    records.Status.SKIPPED: "skipped",
}
"""How a status is said."""
