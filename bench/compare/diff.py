"""The verb `diff`: what differs between two recorded runs, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from bench import records
from bench.compare.likeness import same
from bench.compare.recorded import Recorded
from bench.compare.rows import ABSENT, Row, differing
from bench.console.tables import Output, empty_table
from bench.report.statistics.clusters import FEW, Clusters
from bench.report.statistics.jackknife import Difference, Pairs, Scale
from bench.report.statistics.significance import scale_of
from bench.score.metrics import RECORDED
from bench.store.mlflow import Store
from bench.store.named import newest
from bench.units import figure

if TYPE_CHECKING:
    from datasets.contract import TaskName

CODE = (records.COMMIT, records.CODE_DIGEST, records.COMMON_CODE, "bench.version")
DATA = (records.DATA_DIGEST, records.NOTICE)
OF_A_RUN = (
    *(records.TRAINED, records.CELL, records.COMMAND, records.FOLDER, records.KIND),
    *(records.ERROR, records.WEIGHTS_BYTES, records.PAPER),
)
"""Tags that follow from the rest, or say nothing of the result."""
MEASURED = ("time/", "speed/", "memory/")
"""Costs that differ from one run to the next on one machine."""


@dataclass(frozen=True, slots=True)
class Score:
    """One test figure of both, and the second against the first with its 95 % interval.

    The interval is of the paired difference by test sequence; None where the two were not tested on
    the same, these have under ten clusters, scores by sequence are not stored, or the figure is no
    mean over them.
    """

    name: str
    first: float
    second: float
    unit: str
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two runs, by section."""

    first: str
    second: str
    sections: Mapping[str, list[Row]]
    scores: list[Score]
    costs: list[Row]

    @property
    def is_empty(self) -> bool:
        """Whether all is equal but what a clock or a memory gauge says."""
        counted = [row for row in self.costs if not row.name.startswith(MEASURED)]
        return not (any(self.sections.values()) or self.scores or counted)


def diff(store: Store, asked: tuple[str, str], form: Literal["table", "json"]) -> int:
    """Print what differs between the runs `asked` for by id or cell; the exit code.

    Raises:
        UserError: there is none of them.
    """
    first, second = (Recorded(store, newest(store, each)) for each in asked)
    found = compare(first, second)
    if form == "json":
        sys.stdout.write(json.dumps(asdict(found), indent=2) + "\n")
    else:
        _print(found)
    return 0


def compare(first: Recorded, second: Recorded) -> Diff:
    """What differs between two runs."""
    tags = [{k: v for k, v in each.run.tags.items() if v} for each in (first, second)]
    rest = [{k: v for k, v in each.items() if _is_condition(k)} for each in tags]
    data = [
        {k: each[k] for k in DATA if k in each} | dict(recorded.settled_data)
        for each, recorded in zip(tags, (first, second), strict=True)
    ]
    sections = {
        "settings": differing(first.run.params, second.run.params),
        "code": differing(*({k: each[k] for k in CODE if k in each} for each in tags)),
        "data": differing(*data),
        "conditions": differing(*rest),
        "environment": _environment(first, second),
    }
    costs = [
        Row(key, _figure(a), _figure(b))
        for key in records.COST
        for a, b in [(first.run.metrics.get(key), second.run.metrics.get(key))]
        if not same(a, b)
    ]
    return Diff(_name(first), _name(second), sections, _scores(first, second), costs)


def _name(recorded: Recorded) -> str:
    return f"{recorded.run.name} ({recorded.run.run_id})"


def _is_condition(tag: str) -> bool:
    return tag.startswith("bench.") and tag not in (*CODE, *DATA, *OF_A_RUN)


def _environment(first: Recorded, second: Recorded) -> list[Row]:
    a, b = first.environment, second.environment
    if a is None or b is None:
        known = ["recorded" if each is not None else "not recorded" for each in (a, b)]
        return [Row("environment", *known)] if known[0] != known[1] else []
    return differing(a, b)


def _scores(first: Recorded, second: Recorded) -> list[Score]:
    """The figures that differ: best validation, which is all that a trial has, and test."""
    task: TaskName = "recognition" if first.task == "recognition" else "prediction"
    found, metrics = [], RECORDED[task]
    best = records.BEST_VALIDATION[task]
    a, b = (each.run.metrics.get(best) for each in (first, second))
    if a is not None and b is not None and not same(a, b):
        found.append(Score(best, a, b, "", None))
    for name, metric in metrics.items():
        a, b = (each.run.metrics.get(metric.key) for each in (first, second))
        if a is not None and b is not None and not same(a, b):
            scale = scale_of(metric)
            interval = _interval(first, second, name, scale)
            found.append(Score(metric.key, a, b, scale.unit, interval))
    return found


def _interval(first: Recorded, second: Recorded, name: str, scale: Scale) -> Difference | None:
    """The second against the first by the metric `name`; None where sequences are not paired.

    It is an interval over test sequences, of these very weights: other seeds would have others.
    """
    if first.run.tags.get(records.DATA_DIGEST) != second.run.tags.get(records.DATA_DIGEST):
        return None
    both = [_by_sequence(each, name) for each in (first, second)]
    if both[0] is None or both[1] is None or not both[0].index.equals(both[1].index):
        return None
    columns = pd.DataFrame({("first", 0): both[0], ("second", 0): both[1]})
    if len(columns) < 2 or columns.isna().to_numpy().any():
        return None
    clusters = _clusters(first) or _clusters(second)
    pairs = Pairs(columns, scale, clusters=clusters, fixed=("first", "second"), fewest=FEW)
    found = pairs.difference("second", "first")
    return found if found.has_interval else None


def _clusters(recorded: Recorded) -> Clusters | None:
    """Those of its test sequences; None where they were not recorded."""
    table = recorded.scores
    if table is None or "cluster" not in table:
        return None
    level = "video" if recorded.task == "recognition" else "sequence"
    return Clusters(table.groupby(level)["cluster"].first().to_numpy(np.int64))


def _by_sequence(recorded: Recorded, name: str) -> pd.Series[float] | None:
    """The scores of each test sequence, or of each video that was named right."""
    table = recorded.scores
    if table is None:
        return None
    if recorded.task == "recognition":
        return (table["rank"] == 1).astype(float) if name == "video_top1" else None
    return table[name].groupby("sequence").mean() if name in table else None


def _figure(value: float | None) -> str:
    return ABSENT if value is None else figure(value)


def _print(found: Diff) -> None:
    console = Output(file=sys.stdout, highlight=False)
    if found.is_empty:
        words = f"{found.first} and {found.second} are alike; only times may differ"
        console.print(Text(words), soft_wrap=True)
        return
    console.print(Text.assemble(("A  ", "bold"), found.first, ("\nB  ", "bold"), found.second))
    for title, rows in {**found.sections, "costs": found.costs}.items():
        if title == "costs" and found.scores:
            console.print(Text("\nscores", "bold"), _scores_table(found.scores), sep="\n")
            console.print(Text(_caveat(found.scores), "dim"))
        if rows:
            console.print(Text(f"\n{title}", "bold"), _rows_table(rows), sep="\n")


def _rows_table(rows: list[Row]) -> Table:
    table = empty_table()
    for heading in ("", "A", "B"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(Text(row.name), Text(row.first), Text(row.second))
    return table


def _scores_table(scores: list[Score]) -> Table:
    table = empty_table()
    for heading in ("", "A", "B", "B against A", "95 % interval"):
        table.add_column(heading, justify="left" if not heading else "right")
    for score in scores:
        found, cells = score.difference, ("", "none")
        if found is not None:
            interval = f"{found.low:+.3g} to {found.high:+.3g} {score.unit}"
            cells = (f"{found.value:+.3g} {score.unit}", interval)
        table.add_row(score.name, figure(score.first), figure(score.second), *cells)
    return table


def _caveat(scores: list[Score]) -> str:
    if all(score.difference is None for score in scores):
        return f"No interval: other test clips, fewer than {FEW}, or no scores by sequence."
    said = "Intervals are over test sequences; one run each does not show the spread of seeds."
    has_ratio = any(score.difference is None for score in scores)
    return f"{said} A figure that is no mean over sequences has none." if has_ratio else said
