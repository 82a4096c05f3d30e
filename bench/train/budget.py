"""The training budget, and the clock that counts what is spent of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from bench.errors import UserError

BudgetKind = Literal["seconds", "steps", "samples", "flops"]

_UNITS: dict[str, tuple[BudgetKind, float]] = {
    "s": ("seconds", 1),
    "sec": ("seconds", 1),
    "seconds": ("seconds", 1),
    "m": ("seconds", 60),
    "min": ("seconds", 60),
    "h": ("seconds", 3600),
    "steps": ("steps", 1),
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
            f"budget {shown!r} {why}; write 60s, 5m, 2h, 2000steps, 100000samples or 1e15flops"
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
    checkpoints happen outside and are not counted.
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
        self._flops_per_sample = flops_per_sample or 0.0
        self._synchronize = synchronize
        self._seconds_before = 0.0
        self._since: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of the block."""
        self._synchronize()
        self._since = time.perf_counter()
        try:
            yield
        finally:
            self._synchronize()
            self._seconds_before = self.seconds
            self._since = None

    def count_step(self, samples: int, waiting_seconds: float = 0.0) -> None:
        """Count one training step on `samples` clips, for which it waited."""
        self.steps += 1
        self.samples += samples
        self.waiting_seconds += waiting_seconds

    @property
    def seconds(self) -> float:
        """Training seconds spent; inside `running()` by the host's clock."""
        running = time.perf_counter() - self._since if self._since is not None else 0.0
        return self._seconds_before + running

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

    def __str__(self) -> str:
        if self.budget.kind == "flops":
            return f"{self.spent:.3g}/{self.budget.amount:.3g} flops"
        return f"{self.spent:.0f}/{self.budget}"

    def state(self) -> dict[str, float]:
        """The state for `restore`."""
        return {
            "seconds": self.seconds,
            "waiting_seconds": self.waiting_seconds,
            "steps": self.steps,
            "samples": self.samples,
        }

    def restore(self, state: dict[str, float]) -> None:
        """Go on from an earlier `state`."""
        self._seconds_before = state["seconds"]
        self.waiting_seconds = state["waiting_seconds"]
        self.steps, self.samples = int(state["steps"]), int(state["samples"])
