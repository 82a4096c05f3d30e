"""The rows of `bench speed` as a table and a roofline for each device, from MLflow alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import PROGRAM, records
from bench.errors import UserError
from bench.escape import csv_cell, file_stem, one_line
from bench.escape import markdown as plain
from bench.report.cells import ONE_SIZE, model_label
from bench.report.page import TEMPLATES, put
from bench.report.plots.canvas import Picture
from bench.report.plots.roofline import Roof, Spot, roofline
from bench.report.verdict import status_words
from bench.units import byte_size, figure

if TYPE_CHECKING:
    from bench.store.mlflow import RecordedCell, Store

LEGEND = (
    "Medians, with quartiles in brackets, of stretches of training steps as cells take them. CPU"
    " time is that of the process, all threads. FLOPs are nominal: those of the model's layers,"
    " whatever algorithm computes them, so that a share of the peak may pass 100 %. The peak is a"
    " large matrix product of the same precision, the memory's rate a large copy, both measured in"
    " the same process. FLOPs a byte count what PyTorch's operations read and write, as if no cache"
    " kept anything in between. Latency is that of the output for one clip. Literal: the published"
    " order of operations in tests/literal, whose steps alternate with ours in one process from"
    " equal losses on; above 1 ours is faster."
)


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one model, and the run that holds it."""

    run: RecordedCell

    @property
    def label(self) -> str:
        """Model and size."""
        params = self.run.params
        return model_label(params.get("model", self.run.name), params.get("size", ONE_SIZE))

    @property
    def batch(self) -> str:
        """Clips in a training step."""
        return self.run.params.get("recipe.batch_size", "")

    @property
    def is_trained(self) -> bool:
        """Whether it has a training step, or none was reached."""
        return self.get("model/parameters") != 0

    @property
    def section(self) -> tuple[str, ...]:
        """What rows must share to stand in one table."""
        params = self.run.params
        shape = params.get("frame_shape", "")
        device = self.run.tags.get(records.DEVICE, "")
        return params.get("dataset", ""), params.get("precision", ""), device, shape

    @property
    def trouble(self) -> str:
        """Why figures are missing; "" where none are."""
        status, error = (self.run.tags.get(key, "") for key in (records.STATUS, records.ERROR))
        if status == records.Status.DONE:
            return ""
        return one_line(f"{status_words(status)}: {error}" if error else status_words(status))

    def get(self, key: str) -> float | None:
        """The metric `key`."""
        return self.run.metrics.get(key)


Text = Callable[[Row], str]
"""The text of a row in a column; "" where there is no figure."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table."""

    heading: str
    text: Text


def _shown(value: Callable[[Row], float | None], form: Callable[[float], str]) -> Text:
    """A value in that form; "" where there is none."""

    def text(row: Row) -> str:
        found = value(row)
        return "" if found is None else form(found)

    return text


def _metric(key: str, form: Callable[[float], str]) -> Text:
    return _shown(lambda row: row.get(key), form)


def _number(key: str, scale: float = 1.0) -> Text:
    return _metric(key, lambda value: figure(value * scale))


def _whole(key: str) -> Text:
    return _metric(key, lambda value: f"{value:,.0f}")


def _share(key: str) -> Text:
    return _metric(key, lambda value: f"{value * 100:.3g} %")


def _spread(key: str, scale: float = 1.0) -> Text:
    """The median and the quartiles."""

    def text(row: Row) -> str:
        keys = key, key + records.LOWER_QUARTILE, key + records.UPPER_QUARTILE
        values = [row.get(each) for each in keys]
        middle, low, high = (None if v is None else figure(v * scale) for v in values)
        return "" if middle is None else f"{middle} ({low}\N{EN DASH}{high})"

    return text


def _intensity(row: Row) -> float | None:
    flops, moved = row.get(records.FLOPS_PER_STEP), row.get(records.BYTES_PER_STEP)
    return flops / moved if flops and moved else None


def _run_as(tag: str) -> Text:
    """How steps ran, where not one by one because no more was asked for."""

    def text(row: Row) -> str:
        said = one_line(row.run.tags.get(tag, ""))
        return "" if said == "eager" else said

    return text


COLUMNS = (
    Column("batch", lambda row: row.batch if row.is_trained else ""),
    Column("step (ms)", _spread(records.STEP_SECONDS, 1e3)),
    Column("CPU (ms)", _spread(records.STEP_CPU_SECONDS, 1e3)),
    Column("samples/s", _number("speed/train_samples_per_second")),
    Column("frames/s", _number(records.FRAMES_PER_SECOND)),
    Column("peak memory", _metric("memory/peak_bytes", byte_size)),
    Column("GFLOP/s", _number(records.FLOPS_PER_SECOND, 1e-9)),
    Column("of peak", _share(records.SHARE_OF_PEAK)),
    Column("FLOPs a byte", _shown(_intensity, figure)),
    Column("operations", _whole(records.OPERATIONS_PER_STEP)),
    Column("kernels", _whole(records.KERNELS_PER_STEP)),
    Column("idle", _share(records.IDLE_SHARE)),
    Column("run as", _run_as(records.STEP)),
    Column("latency (ms)", _spread(records.LATENCY_SECONDS, 1e3)),
    Column("literal (ms)", _spread(records.LITERAL_STEP_SECONDS, 1e3)),
    Column("literal / ours", _spread(records.LITERAL_RATIO)),
    Column("by CPU time", _spread(records.LITERAL_CPU_RATIO)),
    Column("literal run as", _run_as(records.LITERAL_STEP)),
    Column("pairs", _whole(records.PAIRS)),
    Column("parameters", _whole("model/parameters")),
)


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one data set, device and precision."""

    rows: Sequence[Row]

    @property
    def title(self) -> str:
        """The data set."""
        return self.rows[0].run.params.get("dataset", "")

    @property
    def setting(self) -> str:
        """What all rows share, in one line."""
        params = self.rows[0].run.params
        horizon = params.get("horizon", "0")
        frames = params.get("context_frames", "") + (f" → {horizon}" if horizon != "0" else "")
        _, precision, device, shape = self.rows[0].section
        commits = {row.run.tags.get(records.COMMIT, "")[:7] for row in self.rows} - {""}
        torch = {row.run.tags.get("bench.torch", "") for row in self.rows} - {""}
        parts = (
            f"{frames} frames of {shape}" * bool(shape),
            device,
            f"precision {precision}",
            f"torch {', '.join(sorted(torch))}" * bool(torch),
            f"commit {', '.join(sorted(commits))}" * bool(commits),
        )
        return " · ".join(filter(None, parts))

    @property
    def columns(self) -> list[Column]:
        """Those in which any row has a figure."""
        return [column for column in COLUMNS if any(column.text(row) for row in self.rows)]

    @property
    def roof(self) -> Roof | None:
        """What the device did at its best beside any of the rows."""
        flops = [row.get(records.PEAK_FLOPS_PER_SECOND) or 0.0 for row in self.rows]
        moved = [row.get(records.PEAK_BYTES_PER_SECOND) or 0.0 for row in self.rows]
        return Roof(max(flops), max(moved)) if max(flops) and max(moved) else None

    def picture(self, number: int) -> Picture | None:
        """Its roofline, where training was measured and the device, too."""
        spots = []
        for row in self.rows:
            intensity, reached = _intensity(row), row.get(records.FLOPS_PER_SECOND)
            if intensity and reached:
                several = sum(other.label == row.label for other in self.rows) > 1
                name = f"{row.label}, batch {row.batch}" if several else row.label
                spots.append(Spot(name, intensity, reached))
        if not spots or self.roof is None:
            return None
        spots.sort(key=lambda spot: -spot.flops_per_second)
        name = file_stem(f"{number}-{self.title}-roofline")
        return roofline(spots, self.roof, name, f"Roofline of training steps, {self.title}")


def sections(runs: Sequence[RecordedCell]) -> list[Section]:
    """The newest run of each model and batch size, in tables; `runs` are the newest first."""
    found: dict[tuple[str, ...], dict[tuple[str, str], Row]] = {}
    for row in map(Row, runs):
        found.setdefault(row.section, {}).setdefault((row.label, row.batch), row)
    return [Section(sorted(rows.values(), key=lambda r: r.label)) for rows in found.values()]


def build(store: Store, out: Path) -> Path:
    """The path of the written report.html, beside report.md, table.csv and plots/*.png.

    Raises:
        UserError: nothing was measured yet.
    """
    parts = sections(store.cells(records.SPEED, records.SPEED))
    if not parts:
        raise UserError(f"no speed was measured yet: `{PROGRAM} speed` does")
    return put(partial(_write_files, parts), out)


def _write_files(parts: Sequence[Section], out: Path) -> Iterator[str]:
    pictures = [part.picture(number + 1) for number, part in enumerate(parts)]
    (out / "plots").mkdir()
    for picture in filter(None, pictures):
        name = f"plots/{picture.name}.png"
        (out / name).write_bytes(picture.png)
        yield name
    template = TEMPLATES.get_template("speed.html")
    texts = {
        "table.csv": _csv(parts),
        "report.md": "# speed\n" + "".join(_chapters(parts, pictures)) + f"\n{plain(LEGEND)}\n",
        "report.html": template.render(
            chapters=[*zip(parts, pictures, strict=True)], legend=LEGEND, program=PROGRAM
        ),
    }
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        yield name


def _chapters(parts: Sequence[Section], pictures: Sequence[Picture | None]) -> Iterator[str]:
    for part, picture in zip(parts, pictures, strict=True):
        yield f"\n{markdown(part)}"
        if picture:
            yield f"\n![{plain(picture.title)}](plots/{picture.name}.png)\n"


def markdown(section: Section) -> str:
    """The section's heading and table."""
    columns = section.columns
    lines = [
        f"## {plain(section.title)}\n\n{plain(section.setting)}\n",
        " | ".join(["| model", *(column.heading for column in columns)]) + " |",
        "|---|" + "--:|" * len(columns),
    ]
    for row in section.rows:
        found = [column.text(row) for column in columns]
        texts = [text if text[:1].isdigit() else plain(text) for text in found]
        lines.append(" | ".join([f"| {plain(row.label)}", *texts]) + " |")
    lines += [f"\n{plain(row.label)}: {plain(row.trouble)}" for row in section.rows if row.trouble]
    return "\n".join(lines) + "\n"


def _csv(parts: Sequence[Section]) -> str:
    """Every metric of every row, exactly."""
    rows = [row for part in parts for row in part.rows]
    keys = sorted({key for row in rows for key in row.run.metrics})
    facts = ["dataset", "precision", "device", "frame_shape"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "batch", *facts, "status", *keys])
    for row in rows:
        status = row.run.tags.get(records.STATUS, "")
        values = [row.label, row.batch, *row.section, status, *map(row.get, keys)]
        writer.writerow([csv_cell(value) for value in values])
    return text.getvalue()
