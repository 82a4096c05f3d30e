"""The table of a section: one DataFrame behind the page, report.md, table.csv and the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench import records
from bench.records import COST, QUALITY, Measure
from bench.report.collect import PARAMETERS, SETTING, TASK, Section, each
from bench.report.statistics import half_width

COPY_LAST = "copy_last"
RATIO = Measure("test/mse_over_copy_last", "MSE / copy-last", better="lower")
MSE = "mse"
ROW_FIELDS = ("label", "model", "baseline", "seeds", "status", "reason", "command")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures: its name in table.csv, what it measures, and how a value is written."""

    name: str
    measure: Measure
    write: Callable[[float], str]

    @property
    def heading(self) -> str:
        """The label with unit and arrow, such as `PSNR (dB) ↑`."""
        unit = f" ({self.measure.unit})" if self.measure.unit else ""
        return f"{self.measure.label}{unit} {self.measure.arrow}".strip()


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
    """A model's figures over its finished seeds, or one cell that has none and why."""

    label: str
    model: str
    baseline: bool
    seeds: str
    status: str
    reason: str
    command: str
    entries: tuple[Entry, ...]

    @property
    def done(self) -> bool:
        """Whether the row has figures."""
        return self.status == records.Status.DONE


def _fixed(decimals: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{decimals}f}"


def _count(value: float) -> str:
    for size, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.0f}"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _mebibytes(value: float) -> str:
    return f"{value / 2**20:,.0f}"


COLUMNS = (
    Column(MSE, QUALITY["mse"], _fixed(5)),
    Column("mse_over_copy_last", RATIO, _fixed(3)),
    Column("ssim", QUALITY["ssim"], _fixed(4)),
    Column("lpips", QUALITY["lpips"], _fixed(4)),
    Column("psnr", QUALITY["psnr"], _fixed(2)),
    Column("parameters", COST[PARAMETERS], _count),
    Column("train_seconds", COST["time/train_seconds"], _fixed(1)),
    Column("train_samples_per_second", COST["speed/train_samples_per_second"], _rate),
    Column("predict_frames_per_second", COST["speed/predict_frames_per_second"], _rate),
    Column("peak_bytes", Measure("memory/peak_bytes", "peak memory", "MiB", "lower"), _mebibytes),
)


def summary(section: Section) -> pd.DataFrame:
    """The table: finished models by test MSE, then the cells that did not finish.

    Each figure is the mean over finished seeds, beside `<name>_half_width`, half its 95 %
    t-interval; it is NaN unless every finished seed has it.
    """
    cells = section.cells.copy()
    reference = cells.loc[cells["model"] == COPY_LAST, QUALITY[MSE].key].mean()
    cells[RATIO.key] = cells[QUALITY[MSE].key] / reference
    done = cells["status"] == records.Status.DONE
    models = [_model(seeds) for _, seeds in cells[done].groupby("label", sort=False)]
    models.sort(key=lambda row: (math.isnan(row[MSE]), row[MSE]))
    rest = cells[~done].sort_values(["label", "seed"])
    rows = models + [_model(rest.iloc[[index]]) for index in range(len(rest))]
    frame = pd.DataFrame(rows)
    task = {name: getattr(section, name) for name in (*TASK, *SETTING)}
    return frame.assign(**task)


def rows(summary: pd.DataFrame) -> list[Row]:
    """The rows of `summary` as they are printed, in its order; entries follow `COLUMNS`.

    The best figures share the mark when they print alike. Cost is compared among trained models
    only, for a baseline costs next to nothing.
    """
    best = {column.name: _best(summary, column) for column in COLUMNS}
    printed = []
    for row in each(summary):
        entries = tuple(_entry(row, column, best[column.name]) for column in COLUMNS)
        named = {name: row[name] for name in ROW_FIELDS}
        printed.append(Row(**named, entries=entries))
    return printed


def csv(summaries: list[pd.DataFrame]) -> str:
    """All tables as one CSV; the reasons for missing figures stand in `not_measured`."""
    frame = pd.concat(summaries, ignore_index=True)
    frame["not_measured"] = [
        "; ".join(f"{name}: {why}" for name, why in reasons.items())
        for reasons in frame["not_measured"]
    ]
    return frame.to_csv(index=False)


def _model(seeds: pd.DataFrame) -> dict[str, Any]:
    """The row of the cells `seeds` of one model."""
    first = seeds.iloc[0]
    row = {name: first[name] for name in ("label", "model", "size", "baseline", "status")}
    row["seeds"] = " ".join(map(str, sorted(seeds["seed"])))
    row["n"] = len(seeds)
    for column in COLUMNS:
        values = seeds[column.measure.key]
        row[column.name] = values.mean(skipna=False)
        row[f"{column.name}_half_width"] = half_width(values.tolist())
    row["not_measured"] = {
        name: why for reasons in seeds["not_measured"] for name, why in reasons.items()
    }
    return row | {"reason": first["reason"], "command": "\n".join(seeds["command"])}


def _best(summary: pd.DataFrame, column: Column) -> str | None:
    """The best figure of `column` as printed; None where nothing competes for it."""
    rivals = summary if column.measure.key.startswith("test/") else summary[~summary["baseline"]]
    values = rivals.loc[rivals["status"] == records.Status.DONE, column.name].dropna()
    if column.measure.better is None or len(values) < 2:
        return None
    return column.write(values.min() if column.measure.better == "lower" else values.max())


def _entry(row: dict[str, Any], column: Column, best: str | None) -> Entry:
    value = float(row[column.name])
    if row["status"] != records.Status.DONE:
        return Entry("")
    if math.isnan(value):
        reason = row["not_measured"].get(column.name, "")
        return Entry("not measured" if reason else "—", reason=reason)
    text, spread = column.write(value), column.write(float(row[f"{column.name}_half_width"]))
    certain = row["n"] < 2 or spread == column.write(0.0)
    competes = column.measure.key.startswith("test/") or not row["baseline"]
    return Entry(
        text,
        value,
        "" if certain else f"± {spread}",
        best=competes and text == best,
    )
