"""The texts that both displays share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from bench import escape
from bench.records import Status
from bench.score.metrics import LEADING, REFERENCE
from bench.units import byte_size, duration, figure

if TYPE_CHECKING:
    from bench.console.tally import Ended, Tally
    from bench.run.events import Progress
    from datasets.contract import TaskName

MULTIPLE = 1000  # of the baseline's figure from which on it says no more: nothing moves
VALIDATION: dict[TaskName, str] = {"prediction": "val MSE", "recognition": "val loss"}
WAITING_SHARE = 0.01  # of the training time from which on waiting for data is worth a word


def one_line(text: str) -> str:
    """`text` without line breaks, terminal codes and runs of spaces."""
    return escape.one_line(Text.from_ansi(text.replace("\r", " ").replace("\n", " ")).plain)


def last_line(text: str) -> str:
    """The last line of `text` that says something."""
    return next((line for line in map(one_line, reversed(text.splitlines())) if line), "")


def share_done(progress: Progress) -> float:
    """The share of its phase that is over, in [0, 1]; 0 where it is no number."""
    return min(max(progress.fraction, 0.0), 1.0) if math.isfinite(progress.fraction) else 0.0


def spent(progress: Progress) -> str:
    """The progress of a cell: `train 38/120 s`, `test 40 %`, `setup`."""
    share = f"{share_done(progress) * 100:.0f} %"
    if progress.phase in ("train", "validate"):
        return f"{progress.phase} {progress.spent or share}"
    return f"{progress.phase} {share}" if progress.phase in ("fit", "test") else progress.phase


def figures(progress: Progress) -> dict[str, str]:
    """The figures a cell has so far, each written with its name or unit."""
    words = {}
    if progress.loss is not None:
        words["loss"] = f"loss {figure(progress.loss)}"
    if progress.validation is not None:
        words["validation"] = f"{VALIDATION[progress.task]} {figure(progress.validation)}"
        if progress.best_validation is not None:
            words["validation"] += f" (best {figure(progress.best_validation)})"
    if progress.waiting_share is not None and progress.waiting_share >= WAITING_SHARE:
        words["waiting"] = f"{progress.waiting_share * 100:.0f} % waiting for data"
    if progress.frames_per_second is not None:
        words["speed"] = f"{figure(progress.frames_per_second)} frames/s"
    if progress.memory_bytes is not None:
        words["memory"] = byte_size(progress.memory_bytes)
    return words


def result(task: TaskName, value: float) -> str:
    """The leading measure of `task`: `MSE 0.0312`, or `top-1 43.1 %`."""
    if LEADING[task].unit == "%":
        return f"top-1 {value * 100:.1f} %"
    return f"{LEADING[task].label} {figure(value)}"


def outcome(ended: Ended) -> list[str]:
    """How a cell ended: `MSE 0.0312`, `0.35x copy-last`, `2 min 5 s`; or its status and error."""
    if ended.status != Status.DONE:
        reason = last_line(ended.error)
        fate = f"{ended.status} after {duration(ended.seconds)}"
        return [f"{fate}: {reason}" if reason else fate]
    ratio, baseline = ended.versus_baseline, REFERENCE[ended.task].replace("_", "-")
    return [
        result(ended.task, ended.result) if ended.result is not None else "done",
        *([f"{ratio:.2f}x {baseline}"] if ratio is not None and ratio < MULTIPLE else []),
        duration(ended.seconds),
    ]


def time_left(tally: Tally) -> str:
    """The progress of the run: `3/5, 1 failed, 4 min 12 s left`."""
    seconds, failed = tally.seconds_left(), len(tally.failures)
    return ", ".join(
        (
            f"{tally.finished}/{tally.total}",
            *([f"{failed} failed"] if failed else []),
            *([f"{duration(math.ceil(seconds))} left"] if seconds and seconds < math.inf else []),
        )
    )
