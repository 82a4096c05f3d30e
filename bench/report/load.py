"""MLflow's runs of a suite as DataFrames, split into sections whose cells may be compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench import escape, records, units
from bench.errors import UserError
from bench.records import VALIDATION, Status
from bench.report.artifacts import LARGEST, Artifacts, frames_shown, video_table
from bench.report.columns import COLUMNS, PARAMETERS
from bench.report.marks import mark
from bench.score.metrics import RECORDED

if TYPE_CHECKING:
    from bench.store.mlflow import RecordedCell, Store
    from datasets.contract import TaskName

Found = TypeVar("Found")
READERS = 4
NEVER_BEGAN = (records.Status.SKIPPED, records.Status.MISSING)
NAMES = ("model", "size", "dataset", "budget", "precision", "recipe")
ONE_SIZE = "only"
UNKNOWN = "unknown"
NONE = ""
TASK = ["task", "dataset", "classes", "context_frames", "horizon", "data_digest"]
SETTING = ["device", "precision", "budget", "recipe"]
EVALUATION = ("samples", "evaluations", "validation_clips")
"""What figures depend on of how a suite evaluates; its test clips are in the data digest."""
OWN_RECIPES = ("published", "tuned")  # one a model
DEVICE_BOUND = ("time/", "speed/", "memory/")
_COST = (*records.COST, *records.CONDITIONS)
_QUALITY = {metric.key: metric for metrics in RECORDED.values() for metric in metrics.values()}
_PER_RUN = {records.STATUS, records.ERROR, records.COMMAND, records.CELL, records.KIND}


@dataclass(frozen=True, slots=True)
class Section:
    """The newest cells of one task under one setting, which alone may be ranked together."""

    task: TaskName
    dataset: str
    classes: str
    context_frames: str
    horizon: str
    data_digest: str
    device: str
    precision: str
    budget: str
    recipe: str
    size: str
    cells: pd.DataFrame

    @property
    def done(self) -> pd.DataFrame:
        """The cells that finished."""
        return self.cells[self.cells["status"] == records.Status.DONE]

    @property
    def title(self) -> str:
        """The data set and, where models come in sizes, the size."""
        return self.dataset + self.of_size

    @property
    def of_size(self) -> str:
        """How a title goes on, where models come in sizes."""
        return "" if self.size == ONE_SIZE else f", {self.size} models"

    @property
    def setting(self) -> str:
        """The known common settings of all cells of the section, in one line."""
        frames = {
            "prediction": f"{self.context_frames} → {self.horizon} frames",
            "recognition": f"clips of {self.context_frames} frames",
        }
        parts = (
            (frames[self.task], self.context_frames),
            (f"{self.classes} classes", self.classes),
            (f"{self.budget_told} of training", self.budget),
            (self.device, self.device),
            (f"precision {self.precision}", self.precision),
            (f"{self.recipe} recipe{'s' * (self.recipe in OWN_RECIPES)}", self.recipe),
            (f"test data {self.data_digest[:12]}", self.data_digest),
        )
        return " · ".join(text for text, fact in parts if fact not in (UNKNOWN, NONE))

    @property
    def conditions(self) -> tuple[str, ...]:
        """The settings that must agree for figures on several data sets to be compared."""
        return (self.task, self.size, *(getattr(self, name) for name in SETTING))

    @property
    def budget_told(self) -> str:
        """The budget as it is read, and the epochs that it was written as."""
        of_these = self.cells[self.cells["budget"] == self.budget]
        epochs = sorted(set(of_these["epochs"])) if "epochs" in of_these else []
        told = [f"{each} epoch{'s' * (each != '1')}" for each in epochs if each]
        return units.budget(self.budget) + (f" ({' or '.join(told)})" if told else "")

    @property
    def budget_amount(self) -> float:
        """How much the budget is of its unit; 0 where that is not known."""
        try:
            return float(self.budget.partition(" ")[0])
        except ValueError:
            return 0.0

    @property
    def ladder(self) -> tuple[str, ...]:
        """What sections share that differ in the amount of their budgets alone."""
        unit = self.budget.partition(" ")[2]
        return unit, self.under_any_budget, self.title, self.data_digest

    @property
    def under_any_budget(self) -> str:
        """The common settings of sections that differ in their budgets alone, as a line."""
        return replace(self, budget=UNKNOWN).setting

    @property
    def common_setting(self) -> str:
        """The common settings of sections of several data sets with these conditions, as a line."""
        alike = replace(self, context_frames=UNKNOWN, horizon=UNKNOWN, data_digest=UNKNOWN)
        return replace(alike, classes=NONE).setting


@dataclass(frozen=True, slots=True)
class Showcase:
    """A model's predictions of fixed test sequences, all uint8 [S,T,C,H,W]."""

    label: str
    model: str
    sequence: npt.NDArray[np.int64]
    context: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8]
    prediction: npt.NDArray[np.uint8]
    why: tuple[str, ...] = ()
    """Why each sequence was chosen; "" where that was not recorded."""


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
    borrowed = (frame.index.get_level_values(0) > 0) & ~frame["baseline"]
    frame.loc[borrowed, "label"] += f" ({other})"
    return frame.sort_values("started", ascending=False, kind="stable", ignore_index=True)


def each(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows as plain dictionaries."""
    names = [str(name) for name in frame]
    columns = (frame[name].tolist() for name in frame)  # a tenth of the time of pandas' to_dict
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def sections(cells: pd.DataFrame) -> list[Section]:
    """The comparable groups of `cells`: the newest first, those without data last.

    Where budgets alone differ they stand together, the largest first.

    Cells belong together when task, data digest, device, precision, budget and size agree, and
    the recipe is each model's own or one for all; models of one size join every size. A baseline
    (no parameters) owes nothing to precision, budget or recipe, so it joins every section of its
    task; where it ran on another device its quality counts and its cost is blank. Where cells of a
    model were evaluated in several ways, their labels say how. Of several runs of one cell the
    newest counts that began; a baseline that is done needs no other seed.
    """
    found = []
    for _, same_task in cells.groupby(TASK, sort=False):
        baselines = same_task[same_task["baseline"]]
        trained = same_task[~same_task["baseline"]]
        anchors = baselines if trained.empty else trained
        for key, group in anchors.groupby(SETTING, sort=False):
            for size in _sizes(group):
                members = group[group["size"].isin([size, ONE_SIZE])]
                joined = _told_apart(pd.concat([members, _lend(baselines, str(key[0]))]))
                began = joined.sort_values("status", key=_never_began, kind="stable")
                newest = _without_spare(began.drop_duplicates(["label", "seed"]))
                common = next(each(members[[*TASK, *SETTING]]))
                section = Section(**common, size=size, cells=newest.reset_index(drop=True))
                has_run = not _never_began(newest["status"]).all()
                found.append((has_run, members["started"].max(), section))
    latest: dict[tuple[str, ...], Any] = {}
    for has_run, began, section in found:
        latest[section.ladder] = max((has_run, began), latest.get(section.ladder, (False, began)))
    found.sort(
        key=lambda entry: (entry[0], latest[entry[2].ladder], entry[2].budget_amount, entry[1]),
        reverse=True,
    )
    return [section for *_, section in found]


def headings(parts: Sequence[Section]) -> list[str]:
    """The title of each section, with what tells it from others of the same title."""
    found = []
    for part in parts:
        alike = [other for other in parts if other.title == part.title]
        settings = {
            "budget": part.budget_told,
            "recipe": f"{part.recipe} recipes" if part.recipe in OWN_RECIPES else part.recipe,
            "device": part.device,
            "precision": f"precision {part.precision}",
        }
        apart = (
            text
            for name, text in settings.items()
            if any(getattr(other, name) != getattr(part, name) for other in alike)
        )
        found.append(", ".join((part.title, *apart)))
    return found


def at_once(
    read: Callable[[dict[str, Any]], Found], cells: Iterable[dict[str, Any]]
) -> list[Found]:
    """The result of `read` for each of `cells`, several at a time, as most of it is waiting."""
    with ThreadPoolExecutor(READERS) as readers:
        return [*readers.map(read, cells)]


class Curves:
    """Reads training curves out of a store, those of a section once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[tuple[str, ...], pd.DataFrame] = {}

    def of(self, section: Section) -> pd.DataFrame:
        """Those of trained cells: label, model, run_id, metric, what was spent, value.

        Spent were train_seconds, steps and samples; the last is NaN where a cell has not counted
        them.
        """
        key = tuple(section.done["run_id"])
        if key not in self._read:
            self._read[key] = _curves(self._store, section)
        return self._read[key]


def _curves(store: Store, section: Section) -> pd.DataFrame:

    def read(cell: dict[str, Any]) -> list[tuple[Any, ...]]:
        clock = dict(store.curve(cell["run_id"], records.TRAIN_SECONDS))
        batch = cell["train/samples"] / (cell["train/steps"] or np.nan)
        who = (cell["label"], cell["model"], cell["run_id"])
        return [
            (*who, metric, clock[step], step, step * batch, value)
            for metric in (records.TRAIN_LOSS, VALIDATION[section.task].key)
            for step, value in store.curve(cell["run_id"], metric)
            if _is_figure(value) and _is_figure(clock.get(step, np.nan))
        ]

    rows = chain.from_iterable(at_once(read, each(section.done[~section.done["baseline"]])))
    columns = ["label", "model", "run_id", "metric", "train_seconds", "steps", "samples", "value"]
    return pd.DataFrame(rows, columns=columns)


def showcases(artifacts: Artifacts, section: Section) -> list[Showcase]:
    """The stored predictions of each model's first seed, the lowest test MSE first."""
    if section.task != "prediction":
        return []
    mse = RECORDED["prediction"]["mse"].key
    first = section.done.sort_values("seed").drop_duplicates("label").sort_values(mse)
    found = {}
    for cell in each(first):
        arrays = artifacts.read(cell["run_id"], records.SHOWCASE, frames_shown)
        if arrays is not None and len(arrays["sequence"]):
            why = tuple(map(str, arrays["why"]))
            shown = {name: array for name, array in arrays.items() if name != "why"}
            found[cell["run_id"]] = Showcase(cell["label"], cell["model"], **shown, why=why)
    shapes = {run_id: (s.context.shape[1:], s.truth.shape[1:]) for run_id, s in found.items()}
    odd = artifacts.refuse_odd(records.SHOWCASE, shapes)
    return [showcase for run_id, showcase in found.items() if run_id not in odd]


def named_videos(artifacts: Artifacts, section: Section) -> pd.DataFrame:
    """The answer for each test video: label, model, seed, video, truth, said; best model first."""
    columns = ["label", "model", "seed", "video", "truth", "said"]
    key = RECORDED["recognition"]["video_top1"].key
    top1 = section.done.groupby("label")[key].transform("mean")
    best_first = section.done.loc[top1.sort_values(ascending=False, kind="stable").index]
    found = [pd.DataFrame(columns=columns)]
    for cell in each(best_first):
        stored = artifacts.read(cell["run_id"], records.PER_VIDEO_TABLE, video_table)
        if stored is not None:
            named = stored.rename(columns={"label": "truth", "predicted": "said"})
            found.append(named.assign(**{name: cell[name] for name in columns[:3]})[columns])
    return pd.concat(found, ignore_index=True)


def with_damage(section: Section, artifacts: Artifacts) -> Section:
    """`section` with the column `damaged`: why artifacts that were read cannot be used, or ""."""
    damaged = [artifacts.damage(run_id) for run_id in section.cells["run_id"]]
    return replace(section, cells=section.cells.assign(damaged=damaged))


def _rows(store: Store, suite: str) -> list[dict[str, Any]]:
    runs = store.cells_and_borrowed(suite)
    if not runs:
        hint = f"; it has {', '.join(store.suites())}" if store.suites() else ""
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
    return replace(run, name=escape.name(run.name), params=params, tags=texts[1])


def model_label(model: str, size: str) -> str:
    """How tables and plots call a model in a size, which is not said where there is but one."""
    return model if size == ONE_SIZE else f"{model}-{size}"


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
    figures = {key: value for key, value in known.items() if _is_figure(value)}
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
            if key.startswith(prefix) and _is_figure(value)
        }
        found[str(name)] = of_place
    return found


def _is_figure(value: float) -> bool:
    return bool(abs(value) < LARGEST)  # neither infinite nor NaN


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


def _never_began(status: pd.Series[str]) -> pd.Series[bool]:
    return status.isin(NEVER_BEGAN)


def _told_apart(cells: pd.DataFrame) -> pd.DataFrame:
    """`cells` with labels that say in which of the `EVALUATION` those of one label differ.

    To a baseline validation is of no concern.
    """
    label = cells["label"]
    for name in EVALUATION:
        chosen = pd.Series([facts.get(name) for facts in cells["facts"]], cells.index, object)
        if name != "samples":
            chosen = chosen.mask(cells["baseline"])
        differs = chosen.groupby(cells["label"]).transform("nunique") > 1
        words = f" {name.replace('_', ' ')})"
        label = label.mask(differs & chosen.notna(), label + " (" + chosen.astype(str) + words)
    return cells.assign(label=label)


def _without_spare(cells: pd.DataFrame) -> pd.DataFrame:
    """`cells` without those of a baseline that never began, where another seed of it is done."""
    done = cells.loc[cells["baseline"] & (cells["status"] == Status.DONE), "label"]
    return cells[~(cells["label"].isin(done) & _never_began(cells["status"]))]


def _sizes(group: pd.DataFrame) -> list[str]:
    """The sizes in `group` that have a section of their own."""
    return [size for size in group["size"].unique() if size != ONE_SIZE] or [ONE_SIZE]


def _lend(baselines: pd.DataFrame, device: str) -> pd.DataFrame:
    """`baselines` with those measured on `device` first and the cost of the others blanked."""
    lent = baselines.copy()
    away = lent["device"] != device
    bound = [column for column in lent.columns if column.startswith(DEVICE_BOUND)]
    lent.loc[away, bound] = np.nan
    return pd.concat([lent[~away], lent[away]])
