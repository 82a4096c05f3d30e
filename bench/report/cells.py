"""MLflow's runs of a suite as one DataFrame, a row a cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from bench import escape, records
from bench.errors import UserError
from bench.records import Status
from bench.report.artifacts import LARGEST
from bench.report.columns import COLUMNS, PARAMETERS
from bench.report.marks import mark
from bench.score.metrics import RECORDED
from bench.suite.reference import in_order

if TYPE_CHECKING:
    from bench.store.mlflow import RecordedCell, Store

Found = TypeVar("Found")
READERS = 4
COMMIT_DIGITS = 8
NAMES = ("model", "size", "dataset", "budget", "precision", "recipe")
ONE_SIZE = "only"
UNKNOWN = "unknown"
NONE = ""
_COST = (*records.COST, *records.CONDITIONS)
_QUALITY = {metric.key: metric for metrics in RECORDED.values() for metric in metrics.values()}
_PER_RUN = {records.STATUS, records.ERROR, records.COMMAND, records.CELL, records.KIND}


def cell_table(store: Store, suite: str, other: str | None = None) -> pd.DataFrame:
    """One row per cell of `suite`, newest first; columns of metrics have their MLflow names.

    `marked` says why a finished cell decides nothing; it is "" where it may.

    With the trained cells of another suite they are of that suite by their label, and so are never
    taken for the same; baselines are the same in all. A cell that ended before it knew its task,
    data digest or device takes the newest known for the same data set or device kind, so that it
    appears in the table it was meant for.

    Raises:
        UserError: the store holds no cell of one of them.
    """
    rows = [_rows(store, name) for name in dict.fromkeys((suite, other or suite))]
    frame = pd.concat([pd.DataFrame(of_suite) for of_suite in rows], keys=range(len(rows)))
    for column in (*_COST, *_QUALITY):
        frame[column] = frame[column].astype(float) if column in frame else np.nan
    for column in ("classes", "context_frames", "horizon", "data_digest"):
        frame[column] = _fill(frame, column, "dataset")
    frame["device"] = _fill(frame, "device", "device_kind")
    frame["baseline"] = frame.groupby("model")[PARAMETERS].transform("min") == 0
    several = frame.groupby("label")["model"].transform("nunique") > 1
    frame.loc[several, "label"] += " (" + frame["size"] + ")"  # a-small, and a in small
    frame["borrowed"] = (frame.index.get_level_values(0) > 0) & ~frame["baseline"]
    frame.loc[frame["borrowed"], "label"] += f" ({other})"
    return frame.sort_values("started", ascending=False, kind="stable", ignore_index=True)


def each(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows as plain dictionaries."""
    names = [str(name) for name in frame]
    columns = (frame[name].tolist() for name in frame)  # a tenth of the time of pandas' to_dict
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def at_once(
    read: Callable[[dict[str, Any]], Found], cells: Iterable[dict[str, Any]]
) -> list[Found]:
    """The result of `read` for each of `cells`, several at a time, as most of it is waiting."""
    with ThreadPoolExecutor(READERS) as readers:
        return [*readers.map(read, cells)]


def model_label(model: str, size: str) -> str:
    """How tables and plots call a model in a size, which is not said where there is but one."""
    return model if size == ONE_SIZE else f"{model}-{size}"


def short_commit(commit: str) -> str:
    """A commit as people read it, such as `89abcdef (dirty)`."""
    digits, _, dirty = commit.partition("-")
    return digits[:COMMIT_DIGITS] + (f" ({dirty})" if dirty else "")


def is_figure(value: float) -> bool:
    """Whether `value` is neither infinite nor NaN, nor what MLflow keeps for them."""
    return bool(abs(value) < LARGEST)


def _rows(store: Store, suite: str) -> list[dict[str, Any]]:
    runs = store.cells_and_borrowed(suite)
    if not runs:
        others = [name for name in store.suites() if name != suite]
        hint = f"; it has {', '.join(others)}" if others else ""
        raise UserError(f"no cell of the suite {suite!r} is recorded in this store{hint}")
    if all("trial" in run.params for run in runs):
        raise UserError(f"{suite!r} holds trials of `bench tune`, which have no test to report")
    recorded = {run.tags.get(records.CELL) for run in runs}
    missing = [run for run in store.planned(suite) if run.tags[records.CELL] not in recorded]
    return [_row(_readable(run)) for run in [*runs, *missing]]


def _readable(run: RecordedCell) -> RecordedCell:
    """`run` with short names on one line, and texts of which pandas can hold every character.

    A plan may name files of any bytes.
    """
    held = "utf-8", "backslashreplace"
    texts = [
        {key.encode(*held).decode(): text.encode(*held).decode() for key, text in of.items()}
        for of in (run.params, run.tags)
    ]
    params = texts[0] | {key: escape.name(run.params[key]) for key in NAMES if key in run.params}
    params |= {key: in_order(params[key]) for key in ("model", "dataset") if key in params}
    return replace(run, name=escape.name(run.name), params=params, tags=texts[1])


def _row(run: RecordedCell) -> dict[str, Any]:
    params, tags = run.params, run.tags
    task = params.get("task", "prediction")
    model, size = params.get("model", run.name), params.get("size", ONE_SIZE)
    chosen = ("dataset", "precision", "budget", "recipe")
    figures, no_figures = _figures(run)
    status, reason = tags.get(records.STATUS, Status.RUNNING.value), tags.get(records.ERROR, "")
    void = _void(run, figures) if status == Status.DONE else ""
    return {
        "run_id": run.run_id,
        "key": tags.get(records.CELL, ""),
        "name": run.name,
        "page": run.page,
        "started": run.started,
        "model": model,
        "size": size,
        "label": model_label(model, size),
        "seed": _seed(params),
        **{name: params.get(name, UNKNOWN) for name in chosen},
        "epochs": params.get(records.EPOCHS, "").removesuffix(".0"),
        "task": task if task in COLUMNS else "prediction",
        "classes": params.get("classes", None if task == "recognition" else NONE),
        "context_frames": params.get("context_frames"),
        "horizon": params.get("horizon"),
        "device_kind": params.get("device", UNKNOWN),
        "device": tags.get(records.DEVICE) or None,
        "data_digest": tags.get(records.DATA_DIGEST) or None,
        "status": Status.INVALID.value if void else status,
        "reason": void or reason,
        "marked": mark(figures, params.get("budget", "")) if status == Status.DONE else "",
        "command": tags.get(records.COMMAND, ""),
        "notice": tags.get(records.NOTICE, ""),
        "cluster": tags.get(records.CLUSTER, ""),
        "commit": tags.get(records.COMMIT, "") or tags.get("bench.version", UNKNOWN),
        "elsewhere": _elsewhere(run),
        "padded": tags.get(records.PADDED, ""),
        "not_shown": tags.get(records.NOT_SHOWN, ""),
        "paper": _paper(tags),
        "ran_step": tags.get(records.STEP, ""),
        "own_code": tags.get(records.CODE_DIGEST, ""),
        "common_code": tags.get(records.COMMON_CODE) or tags.get(records.COMMIT, ""),
        "not_measured": no_figures | _not_measured(tags),
        "facts": _facts(run),
        **figures,
    }


def _figures(run: RecordedCell) -> tuple[dict[str, float], dict[str, str]]:
    """The known metrics that are figures, and by name the reasons for those that are none."""
    known = {key: run.metrics[key] for key in (*_COST, *_QUALITY) if key in run.metrics}
    figures = {key: value for key, value in known.items() if is_figure(value)}
    none = (_QUALITY[key] for key in known.keys() - figures.keys() if key in _QUALITY)
    return figures, {metric.name: "it is recorded as no number" for metric in none}


def _elsewhere(run: RecordedCell) -> dict[str, dict[str, float]]:
    """By further data set the figures of a run by metric; none of what is not as it is recorded."""
    try:
        names = json.loads(run.params.get(records.ALSO_TESTED_ON, "[]"))
    except ValueError:
        return {}
    if not isinstance(names, list):
        return {}
    found = {}
    for place, name in enumerate(names):
        prefix = records.elsewhere(place, "")
        of_place = {
            key.removeprefix(prefix): value
            for key, value in run.metrics.items()
            if key.startswith(prefix) and is_figure(value)
        }
        found[str(name)] = of_place
    return found


def _seed(params: dict[str, str]) -> int:
    """The recorded seed; -1 where it is no number."""
    try:
        return int(params.get("seed", 0))
    except ValueError:
        return -1


def _void(run: RecordedCell, figures: dict[str, float]) -> str:
    """Why a cell that is recorded as done counts for nothing; "" where it counts."""
    task = run.params.get("task", "prediction")
    if task not in COLUMNS:
        return f"its task {task!r} is unknown"
    if _seed(run.params) < 0:
        return f"its seed {run.params['seed']!r} is no number from 0 on"
    lead = COLUMNS[task][0].measure
    return "" if lead.key in figures else f"recorded as done without a {lead.label}"


def _not_measured(tags: dict[str, str]) -> dict[str, str]:
    """The reasons given for missing metrics, by metric name."""
    mark = records.NOT_MEASURED
    return {key.removeprefix(mark): why for key, why in tags.items() if key.startswith(mark)}


def _paper(tags: dict[str, str]) -> str:
    """The address of the model's publication; "" where none is recorded that a page may link."""
    address = tags.get(records.PAPER, "")
    return escape.web_address(address) if address.startswith(("https://", "http://")) else ""


def _facts(run: RecordedCell) -> dict[str, str]:
    """Everything recorded about how the cell was run."""
    tags = {
        key.removeprefix("bench."): value
        for key, value in run.tags.items()
        if key.startswith("bench.")
        and key not in _PER_RUN
        and not key.startswith(records.NOT_MEASURED)
    }
    return {name: value for name, value in {**run.params, **tags}.items() if value}


def _fill(frame: pd.DataFrame, column: str, by: str) -> pd.Series[str]:
    """`column` with its gaps filled by the newest value known in the same group of `by`."""
    newest = frame.groupby(by)[column].transform("first")  # skips what is missing
    return frame[column].fillna(newest).fillna(UNKNOWN)
