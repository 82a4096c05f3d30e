"""Sections of a report: cells that may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench import units
from bench.records import Status
from bench.report.cells import NONE, ONE_SIZE, UNKNOWN, each, short_commit
from bench.report.recipes import trials

if TYPE_CHECKING:
    from datasets.contract import TaskName

NEVER_BEGAN = (Status.SKIPPED, Status.MISSING)
TASK = ["task", "dataset", "classes", "context_frames", "horizon", "data_digest"]
SETTING = ["device", "precision", "budget", "recipe"]
EVALUATION = ("samples", "evaluations", "validation_clips")
"""What figures depend on of how a suite evaluates; its test clips are in the data digest."""
OWN_RECIPES = ("published", "tuned")  # one a model
DEVICE_BOUND = ("time/", "speed/", "memory/")


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
        return self.cells[self.cells["status"] == Status.DONE]

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
            (self.recipes, self.recipe),
            (f"test data {self.data_digest[:12]}{self._clips}", self.data_digest),
            (f"commit {short_commit(self._commit)}", self._commit),
        )
        return " · ".join(text for text, fact in parts if fact not in (UNKNOWN, NONE))

    @property
    def _clips(self) -> str:
        """How many clips were tested, where that is recorded."""
        counts = {facts.get("test_clips", "") for facts in self.cells["facts"]}
        one = counts.pop() if len(counts) == 1 else ""
        return f" ({int(one):,} clips)" if one.isdecimal() else ""

    @property
    def _commit(self) -> str:
        """The commit that ran all of its cells, where it is one and known."""
        commits = set(self.cells["commit"])
        return commits.pop() if len(commits) == 1 else UNKNOWN

    @property
    def recipes(self) -> str:
        """Whose recipes trained its models, in a word."""
        if self.recipe == "published":
            return "each model's own recipe"
        if self.recipe == "tuned":
            trained = self.cells.loc[~self.cells["baseline"], "facts"]
            return "tuned recipes" + " where there are some" * (not all(map(trials, trained)))
        return f"one recipe for all ({self.recipe.removeprefix('shared ')})"

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
        setting = (getattr(self, name) for name in (*TASK, *SETTING) if name != "budget")
        return unit, self.title, *setting

    @property
    def under_any_budget(self) -> str:
        """The common settings of sections that differ in their budgets alone, as a line."""
        return replace(self, budget=UNKNOWN).setting

    @property
    def common_setting(self) -> str:
        """The common settings of sections of several data sets with these conditions, as a line."""
        alike = replace(self, context_frames=UNKNOWN, horizon=UNKNOWN, data_digest=UNKNOWN)
        return replace(alike, classes=NONE).setting


def sections(cells: pd.DataFrame) -> list[Section]:
    """The comparable groups of `cells`: the newest first, those without data last.

    Where budgets alone differ they stand together, the largest first.

    Cells belong together when task, data digest, device, precision, budget and size agree, and
    the recipe is each model's own or one for all; models of one size join every size. A baseline
    (no parameters) owes nothing to precision, budget or recipe, so it joins every section of its
    task; where it ran on another device its quality counts and its cost is blank. Where cells of a
    model were evaluated in several ways, or some of its seeds are of earlier code, their labels say
    so. Of several runs of one cell the newest counts that began; a baseline that is done needs no
    other seed.
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
                newest = _by_code(newest)
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
            "recipe": part.recipes if part.recipe in OWN_RECIPES else part.recipe,
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


def _by_code(cells: pd.DataFrame) -> pd.DataFrame:
    """`cells` with labels that keep finished seeds of a model's earlier code apart.

    They are another model's: a seed may have been run again, and others not.
    """
    done = cells[cells["status"] == Status.DONE].sort_values("started", ascending=False)
    newest = cells["label"].map(done.drop_duplicates("label").set_index("label")["own_code"])
    earlier = cells.index.isin(done.index) & (cells["own_code"] != newest)
    words = " (earlier code " + cells["own_code"].str[:6].replace("", "unknown") + ")"
    return cells.assign(label=cells["label"].mask(earlier, cells["label"] + words))


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
