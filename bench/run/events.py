"""What a running cell tells its parent: one JSON line an event, over standard output."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the terminal reads these without torch
    from datasets.contract import Task

Phase = Literal["setup", "train", "validate", "test", "record", "profile"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A sign of life from a cell, with the newest figures it has."""

    phase: Phase
    fraction: float  # of the budget spent, in [0, 1]; of the test clips in the test phase
    spent: str = ""  # such as "38/120 s" or "200/500 steps"
    step: int = 0
    loss: float | None = None
    task: Task = "prediction"  # says what validation measures, as in `records.VALIDATION`
    validation: float | None = None
    best_validation: float | None = None
    waiting_share: float | None = None  # of the training seconds, in [0, 1]
    frames_per_second: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """One line the user should see."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """How the cell ended; `metrics` holds the final value of everything it recorded."""

    status: str
    error: str = ""
    run_id: str = ""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)


Event = Progress | Note | Finished
_KINDS: dict[str, type[Progress | Note | Finished]] = {
    kind.__name__.lower(): kind for kind in (Progress, Note, Finished)
}


def encode(event: Event) -> str:
    """The event as one JSON line."""
    return json.dumps({"event": type(event).__name__.lower(), **dataclasses.asdict(event)})


def decode(line: str) -> Event | None:
    """The event in `line`, or None where the line is no event but something the cell printed."""
    if not line.startswith('{"event": '):
        return None
    try:
        fields = json.loads(line)
        return _KINDS[fields.pop("event")](**fields)
    except (ValueError, KeyError, TypeError):
        return None
