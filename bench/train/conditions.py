"""What a cell is told of the machine while it trains: processors, load, clock speed, stops."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench import records
from bench.train.processors import usable_processors

_THREADS = Path("/proc/self/task")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Mean seconds of the steps at the end of warm-up, by the wall and of the process's CPU time.

    Both are those of training steps as they will be run, replays of a graph where it is one.
    """

    step_seconds: float
    step_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Processors:
    """CPU seconds of the process; by thread, those it ran, and those it waited for a processor.

    Of the threads nothing is known but on Linux, and where its kernel does not count that.
    """

    cpu_seconds: float
    threads: Mapping[str, tuple[float, float]]

    @classmethod
    def now(cls) -> Processors:
        """As counted since the start of the process and of each thread that lives."""
        threads = {}
        with suppress(OSError):  # not on Linux
            for task in _THREADS.iterdir():
                with suppress(OSError):  # it has ended
                    ran, queued, *_ = (task / "schedstat").read_text("ascii").split()
                    threads[task.name] = int(ran) / 1e9, int(queued) / 1e9
        return cls(time.process_time(), threads)

    def since(self, before: Processors) -> tuple[float, float]:
        """The seconds that the threads which live now ran, and waited, since `before`."""
        none = 0.0, 0.0
        parts = [(now, before.threads.get(name, none)) for name, now in self.threads.items()]
        ran = sum(now[0] - earlier[0] for now, earlier in parts)
        return ran, sum(now[1] - earlier[1] for now, earlier in parts)


class Conditions:
    """Sums and weighted means over the stretches of training, those before a resume included."""

    def __init__(self) -> None:
        """Start at zero."""
        self.calibration: Calibration | None = None
        """Of the steps to come, where there was time for one."""
        self._sums: dict[str, float] = {}
        self._means: dict[str, tuple[float, float]] = {}

    def add(
        self, seconds: float, steps: int, stopped_seconds: float | None, before: Processors
    ) -> None:
        """Add a stretch of training that ends now.

        Args:
            seconds: that it took, without those in which the process was stopped.
            steps: that were taken in it.
            stopped_seconds: None where that is not known.
            before: at its beginning. What a thread waited that has ended since is not known: it is
                taken to have run its share as the others did.
        """
        now = Processors.now()
        cpu_seconds, (ran, queued) = now.cpu_seconds - before.cpu_seconds, now.since(before)
        self._add(records.TRAIN_CPU_SECONDS, cpu_seconds)
        if stopped_seconds is not None:
            self._add(records.STOPPED_SECONDS, stopped_seconds)
        # Where our own threads alone are more than the processors, they wait for each other.
        asked = min(ran + queued, max(ran, seconds * usable_processors()))
        self._weigh(records.CPU_SHARE, ran, asked)
        self._weigh(records.STEP_WALL_SECONDS, seconds, steps)
        self._weigh(records.STEP_PROCESS_SECONDS, cpu_seconds, steps)
        with suppress(OSError):
            self._weigh(records.LOAD, os.getloadavg()[0] * seconds, seconds)
        if hertz := clock_hertz():
            self._weigh(records.CLOCK_HERTZ, hertz * seconds, seconds)
        if self.calibration is not None:
            expected = self.calibration.step_seconds * steps
            self._weigh(records.CALIBRATION_STEP_SECONDS, expected, steps)
            expected_cpu = self.calibration.step_cpu_seconds * steps
            self._weigh(records.CALIBRATION_STEP_CPU_SECONDS, expected_cpu, steps)
            self._weigh(records.SPEED_OF_CALIBRATION, expected, seconds)

    def _add(self, key: str, value: float) -> None:
        self._sums[key] = self._sums.get(key, 0.0) + value

    def _weigh(self, key: str, total: float, weight: float) -> None:
        totals, weights = self._means.get(key, (0.0, 0.0))
        self._means[key] = totals + total, weights + weight

    def metrics(self) -> dict[str, float]:
        """What is known of all training so far, under its metric names."""
        means = {key: total / weight for key, (total, weight) in self._means.items() if weight}
        return self._sums | means

    def state(self) -> dict[str, Any]:
        """The state for `restore`."""
        return {"sums": dict(self._sums), "means": dict(self._means)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier `state`."""
        self._sums, self._means = dict(state["sums"]), dict(state["means"])


def clock_hertz() -> float | None:
    """The clock speed of the fastest processor; None where it cannot be read.

    The idle ones may be slow. A virtual machine may tell that of its start for ever.
    """
    try:
        return max(each.current for each in psutil.cpu_freq(percpu=True)) * 1e6 or None
    except (AttributeError, NotImplementedError, OSError, RuntimeError, ValueError):
        return None
