"""The columns of figures in each task's table, the one that ranks first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.records import CONDITIONS, COST, TRAIN_STEPS, Measure
from bench.score.metric import Metric
from bench.score.metrics import RECORDED

if TYPE_CHECKING:  # the report needs no torch
    from datasets.contract import TaskName

PARAMETERS = "model/parameters"
DIGITS = 3  # significant ones that a small error has
MOST = 9  # decimals
WAITING = Measure("time/waiting_share", "waiting", "% of training")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures: its name in table.csv, its measure, and its number format."""

    name: str
    measure: Measure
    form: Callable[[float], str]
    scale: float = 1.0
    """Factor from the recorded value to the measure's unit."""
    decimals: int | None = None
    """Of an error, which may be too small for so many: then it has `DIGITS` significant ones."""

    @property
    def heading(self) -> str:
        """The measure's label, with unit and arrow."""
        return self.measure.heading

    @property
    def is_quality(self) -> bool:
        """Whether it says how good a model is, and not what it costs."""
        return self.measure.key.startswith("test/")

    def write(self, value: float, beside: float | None = None) -> str:
        """A recorded value as it is printed; its half-width like the figure it stands `beside`."""
        size = abs(value if beside is None else beside) * self.scale
        if self.decimals is not None and 0 < size < 10.0 ** (DIGITS - 1 - self.decimals):
            return _fixed(min(DIGITS - 1 - math.floor(math.log10(size)), MOST))(value * self.scale)
        return self.form(value * self.scale)


def _fixed(decimals: int) -> Callable[[float], str]:
    return lambda value: f"{round(value, decimals) + 0.0:.{decimals}f}"  # no "-0"


def count(value: float) -> str:
    """A large number in short, such as `1.5 G`."""
    for size, suffix in (
        *((1e18, " E"), (1e15, " P"), (1e12, " T")),
        *((1e9, " G"), (1e6, " M"), (1e3, " k")),
    ):
        if value >= 0.9995 * size:  # what has four digits when rounded is one of the next
            return f"{float(f'{value / size:.3g}'):g}{suffix}"
    return f"{value:.0f}"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"  # no "100."


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _quality(metric: Metric) -> Column:
    """The column of a metric."""
    scale, form = 100 if metric.unit == "%" else 1, _fixed(metric.decimals)
    is_error = metric.perfect == 0 and metric.better == "lower"
    return Column(metric.name, metric, form, scale, metric.decimals if is_error else None)


def _skill(metric: Metric) -> Column:
    """The column of a metric's skill against copy-last, which `table.py` computes."""
    if metric.perfect is None:  # what is gained, in the metric's own unit
        gain = Measure(f"{metric.key}_skill", f"{metric.label} gain", metric.unit, "higher")
        return Column(f"{metric.name}_gain", gain, _fixed(metric.decimals))
    skill = Measure(f"{metric.key}_skill", f"{metric.label} skill", "%", "higher")
    return Column(f"{metric.name}_skill", skill, _fixed(1), 100)


_LEARNING = (
    Column("parameters", COST[PARAMETERS], count),
    Column("flops_per_sample", COST["model/flops_per_sample"], count),
    Column("train_seconds", COST["time/train_seconds"], _fixed(1)),
    Column("steps", COST[TRAIN_STEPS], _whole),
    Column("samples", COST["train/samples"], count),
    Column("train_flops", COST["train/flops"], count),
    Column("waiting_share", WAITING, _fixed(1), 100),
    Column("setup_seconds", COST["time/setup_seconds"], _fixed(1)),
    Column("train_samples_per_second", COST["speed/train_samples_per_second"], _rate),
)
_MEMORY = Column(
    "peak_bytes", Measure("memory/peak_bytes", "peak memory", "MiB", "lower"), _whole, 2**-20
)
_SPEED = "speed/predict_frames_per_second"

CONDITION_COLUMNS = tuple(
    Column(key.rpartition("/")[2], measure, _fixed(3)) for key, measure in CONDITIONS.items()
)
"""What a cell was told of the machine while it trained: in table.csv alone."""

PREDICTABLE = Measure("test/predictable_frames", "predictability horizon", "frames", "higher")
"""The last predicted frame up to which the skill is positive at every frame.

It is derived from the stored tables; the whole horizon where the skill is positive to its end, and
then the true one may be longer."""

BEYOND_MEAN_ERROR = (
    *(_quality(RECORDED["prediction"][name]) for name in ("mse_changed", "motion", "fvd")),
    Column("predictable_frames", PREDICTABLE, _fixed(1)),
    *(
        _quality(RECORDED["prediction"][name])
        for name in ("crps", "mse_of_mean", "best_mse", "best_ssim")
    ),
)
"""What a mean error over all pixels and frames does not say."""

SKILLS: dict[str, Column] = {
    name: _skill(metric) for name, metric in RECORDED["prediction"].items() if not metric.ratio
}
"""How far each metric is from copy-last's towards a perfect one, by the metric's name.

The skill score of weather forecasts: 0 for copy-last, 100 % for a perfect prediction. Source:
A. H. Murphy, Monthly Weather Review 116 (1988)."""


def _shown(task: TaskName) -> list[Column]:
    return [_quality(metric) for metric in RECORDED[task].values() if metric.shown == "table"]


COLUMNS: dict[TaskName, tuple[Column, ...]] = {
    "prediction": (
        *_shown("prediction"),
        *_LEARNING,
        Column("predict_frames_per_second", COST[_SPEED], _rate),
        _MEMORY,
    ),
    "recognition": (
        *_shown("recognition"),
        *_LEARNING,
        Column(
            "predict_frames_per_second",
            Measure(_SPEED, "recognition speed", "frames/s", "higher"),
            _rate,
        ),
        _MEMORY,
    ),
}
"""The first ranks, and says in the verdict how good a model is."""


def further(task: TaskName) -> tuple[Column, ...]:
    """The columns of the tables beside the main one."""
    return (*BEYOND_MEAN_ERROR, *SKILLS.values()) if task == "prediction" else ()
