"""The training budget, and the clock that counts what is spent of it."""

from __future__ import annotations

import re
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from bench import units
from bench.errors import UserError
from bench.train.conditions import Calibration, Conditions, Processors
from bench.train.stopped import Stopped

RECENT_STRETCHES = 5  # of training, whose median step tells how long the next one takes

BudgetKind = Literal["seconds", "steps", "samples", "flops"]

_UNITS: dict[str, tuple[BudgetKind, float]] = {
    "s": ("seconds", 1),
    "sec": ("seconds", 1),
    "seconds": ("seconds", 1),
    "m": ("seconds", 60),
    "min": ("seconds", 60),
    "h": ("seconds", 3600),
    "step": ("steps", 1),
    "steps": ("steps", 1),
    "sample": ("samples", 1),
    "samples": ("samples", 1),
    **{f"{prefix}flops": ("flops", 1000**n) for n, prefix in enumerate(("", *"kmgtpe"))},
}


_LARGEST: dict[BudgetKind, float] = {
    "seconds": 1e8,  # three years; clocks of operating systems wait no longer than 292
    "steps": 1e15,  # beyond 2**53 a float skips whole numbers
    "samples": 1e15,
    "flops": 1e36,
}


@dataclass(frozen=True, slots=True)
class Budget:
    """The amount of training of a cell: steps and samples are whole, FLOPs 1 at least.

    Raises:
        ValueError: the amount is none, is not above zero, or is more than anyone has.
    """

    kind: BudgetKind
    amount: float

    def __post_init__(self) -> None:
        most, is_whole = _LARGEST[self.kind], self.amount == self.amount // 1
        if not 0 < self.amount <= most:
            raise ValueError(f"{self.kind} are above 0 and at most {most:g}, not {self.amount:g}")
        if self.kind in ("steps", "samples") and not is_whole:
            raise ValueError(f"{self.kind} are counted in whole numbers, not {self.amount:g}")
        if self.kind == "flops" and self.amount < 1:
            raise ValueError(f"flops are 1 at least, not {self.amount:g}")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget written as `60s`, `5m`, `2h`, `2000steps`, `100000samples` or `1e15flops`.

        FLOPs may have a prefix, as they are shown: `20 TFLOPs`.

        Raises:
            UserError: the text is none of these, or the amount is out of its range.
        """
        match = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z]+)\s*", text.lower(), re.ASCII)
        try:
            if match and match[2] in _UNITS:
                kind, factor = _UNITS[match[2]]
                return cls(kind, float(match[1]) * factor)
            why = "is not understood"
        except ValueError as error:  # 1.2.3 is no number, and 0 no budget
            why = "is none" if "convert" in str(error) else f"cannot be: {error}"
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        raise UserError(
            f"budget {shown!r} {why}; write 60s, 5m, 2h, 2000steps, 100000samples,"
            " 20epochs or 1e15flops"
        )

    @property
    def exactly(self) -> str:
        """The text that `parse` reads as this budget, all digits kept."""
        return f"{self.amount!r}{self.kind}"

    def __str__(self) -> str:
        unit = "s" if self.kind == "seconds" else self.kind
        return f"{self.amount:.12g} {unit}"


class Clock:
    """Counts what a cell has spent of its budget, only inside `running()`.

    Time is read with the device synchronised at both ends of the block, so that it covers complete
    training steps, the wait for their batches included, and nothing else. Evaluation, logging and
    checkpoints happen outside and are not counted; nor is time in which the process was stopped.
    """

    def __init__(
        self,
        budget: Budget,
        synchronize: Callable[[], None],
        flops_per_sample: float | None = None,
    ) -> None:
        """Start at zero.

        Args:
            budget: the amount that may be spent.
            synchronize: waits for the work queued on the device.
            flops_per_sample: of one training sample, forward and backward.

        Raises:
            UserError: a budget in FLOPs for a model whose FLOPs cannot be counted.
        """
        if budget.kind == "flops" and not flops_per_sample:
            raise UserError("a budget in flops needs a model whose FLOPs can be counted")
        self.budget = budget
        self.steps = 0
        self.samples = 0
        self.waiting_seconds = 0.0
        """The part of the training seconds in which steps waited for their batch."""
        self.conditions = Conditions()
        self._flops_per_sample = flops_per_sample or 0.0
        self._synchronize = synchronize
        self._seconds_before = 0.0
        self._steps_before = 0
        self._step_seconds = deque[float](maxlen=RECENT_STRETCHES)
        self._since: float | None = None
        self._stopped = Stopped()

    def calibrate(self, calibration: Calibration) -> None:
        """Expect steps to take as long as those of `calibration`, until some are counted."""
        self.conditions.calibration = calibration

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block, and the conditions in it."""
        self._synchronize()
        processors = Processors.now()
        with Stopped() as self._stopped:
            self._steps_before = self.steps
            self._since = time.perf_counter()
            try:
                yield
            finally:
                self._synchronize()
                self._end_stretch(self.seconds, processors)

    def _end_stretch(self, seconds: float, processors: Processors) -> None:
        """Set the clock to `seconds`; the processors are as they were when the stretch began."""
        took, steps = seconds - self._seconds_before, self.steps - self._steps_before
        stopped = self._stopped.seconds if self._stopped.is_known else None
        self.conditions.add(took, steps, stopped, processors)
        if steps:
            self._step_seconds.append(took / steps)
        self._seconds_before, self._steps_before, self._since = seconds, self.steps, None

    def pace(self, goal: float, mark: float, seconds: float, batch_size: int) -> list[float]:
        """The progress before each step of the next stretch; none where `goal` is reached.

        It ends with `goal`, at `mark`, or after about so many `seconds`: known beforehand, it can
        be agreed on by processes that are to take the same steps.
        """
        step, found = self._usual_step_seconds, list[float]()
        steps, samples = self.steps, self.samples
        timed = self.budget.kind == "seconds"
        while not self.reaches(goal):
            ahead = len(found) * step
            progress = (self.spent + ahead) / self.budget.amount if timed else self.progress
            if found and (progress >= mark or ahead >= seconds or not step):
                break
            found.append(min(1.0, progress))
            self.count_step(batch_size)
        self.steps, self.samples = steps, samples
        return found

    def count_step(self, samples: int, waiting_seconds: float = 0.0) -> None:
        """Count one training step on `samples` clips, for which it waited."""
        self.steps += 1
        self.samples += samples
        self.waiting_seconds += waiting_seconds

    @property
    def seconds(self) -> float:
        """Training seconds spent; inside `running()` by the host's clock."""
        if self._since is None:
            return self._seconds_before
        stopped = self._stopped.seconds
        return self._seconds_before + time.perf_counter() - self._since - stopped

    @property
    def flops(self) -> float:
        """Floating-point operations spent on training."""
        return self.samples * self._flops_per_sample

    @property
    def spent(self) -> float:
        """The amount spent, in the budget's unit."""
        return float(getattr(self, self.budget.kind))

    @property
    def progress(self) -> float:
        """The fraction of the budget spent, in [0, 1]."""
        return min(1.0, self.spent / self.budget.amount)

    @property
    def overspend(self) -> float:
        """What was spent beyond the budget, as a fraction of it; below 0 where some is left."""
        return self.spent / self.budget.amount - 1

    def reaches(self, goal: float) -> bool:
        """Whether the fraction `goal` of the budget is spent, but for less than half a step.

        So the last step is the one that ends nearest to it. The first step is always to be taken.
        """
        if not self.steps:
            return False
        spent, step = self.spent, self.spent / self.steps
        if self.budget.kind == "seconds":
            # The device may be busy with queued steps for longer than the host's clock says.
            step = self._usual_step_seconds
            queued = self._seconds_before + (self.steps - self._steps_before) * step
            spent = max(spent, queued)
        return spent + step / 2 > goal * self.budget.amount

    @property
    def _usual_step_seconds(self) -> float:
        if self._step_seconds:
            return statistics.median(self._step_seconds)
        calibration = self.conditions.calibration
        return calibration.step_seconds if calibration is not None else 0.0

    def __str__(self) -> str:
        return units.of_budget(self.spent, str(self.budget))

    def state(self) -> dict[str, Any]:
        """The state for `restore`."""
        return {
            "seconds": self.seconds,
            "waiting_seconds": self.waiting_seconds,
            "steps": self.steps,
            "samples": self.samples,
            "conditions": self.conditions.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`, of which one of an older version lacks the conditions."""
        self._seconds_before = state["seconds"]
        self.waiting_seconds = state["waiting_seconds"]
        self.steps, self.samples = int(state["steps"]), int(state["samples"])
        self._steps_before = self.steps
        if "conditions" in state:
            self.conditions.restore(state["conditions"])
