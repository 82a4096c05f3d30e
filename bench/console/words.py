"""The sentences both displays are made of."""

from __future__ import annotations

import math

from rich.text import Text

from bench.console.tally import Ended, Tally
from bench.events import Progress
from bench.records import Status
from bench.units import byte_size, duration, figure


def one_line(text: str) -> str:
    """`text` without line breaks, terminal codes and runs of spaces."""
    return " ".join(Text.from_ansi(text).plain.split())


def last_line(text: str) -> str:
    """The last line of `text` that says something."""
    return next((line for line in map(one_line, reversed(text.splitlines())) if line), "")


def spent(progress: Progress) -> str:
    """Where a cell is: `train 38/120 s`, `test 40 %`, `setup`."""
    if progress.phase in ("train", "validate"):
        return f"{progress.phase} {progress.spent or format(progress.fraction, '.0%')}"
    if progress.phase == "test":
        return f"test {progress.fraction * 100:.0f} %"
    return progress.phase


def figures(progress: Progress) -> dict[str, str]:
    """The figures a cell has so far, each written with its name or unit."""
    words = {}
    if progress.loss is not None:
        words["loss"] = f"loss {figure(progress.loss)}"
    if progress.validation_mse is not None:
        words["validation"] = f"val MSE {figure(progress.validation_mse)}"
        if progress.best_validation_mse is not None:
            words["validation"] += f" (best {figure(progress.best_validation_mse)})"
    if progress.frames_per_second is not None:
        words["speed"] = f"{figure(progress.frames_per_second)} frames/s"
    if progress.memory_bytes is not None:
        words["memory"] = byte_size(progress.memory_bytes)
    return words


def outcome(ended: Ended) -> list[str]:
    """How a cell ended: `MSE 0.0312`, `0.35x copy-last`, `2 min 5 s`; or its status and error."""
    if ended.status != Status.DONE:
        reason = last_line(ended.error)
        fate = f"{ended.status} after {duration(ended.seconds)}"
        return [f"{fate}: {reason}" if reason else fate]
    mse, ratio = ended.mse, ended.versus_copy_last
    return [
        f"MSE {figure(mse)}" if mse is not None else "done",
        *([f"{ratio:.2f}x copy-last"] if ratio is not None else []),
        duration(ended.seconds),
    ]


def time_left(tally: Tally) -> str:
    """How far the run is: `3/5, 1 failed, 4 min 12 s left`."""
    seconds, failed = tally.seconds_left(), len(tally.failures)
    return ", ".join(
        (
            f"{tally.finished}/{tally.total}",
            *([f"{failed} failed"] if failed else []),
            *([f"{duration(math.ceil(seconds))} left"] if seconds else []),
        )
    )
