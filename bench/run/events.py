"""The events that a running cell sends its parent: one JSON line each, on standard output."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, TypeAdapter, ValidationError, with_config

Phase = Literal["setup", "train", "validate", "test", "record", "profile"]
TaskName = Literal["prediction", "recognition"]

_as_json = with_config(ConfigDict(extra="forbid", ser_json_inf_nan="constants"))


@_as_json
@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a cell, with its newest figures."""

    phase: Phase
    fraction: float  # of the budget spent, in [0, 1]; of the test clips in the test phase
    spent: str = ""  # such as "38/120 s" or "200/500 steps"
    loss: float | None = None
    task: TaskName = "prediction"  # says what validation measures, as in `records.VALIDATION`
    validation: float | None = None
    best_validation: float | None = None
    waiting_share: float | None = None  # of the training seconds, in [0, 1]
    frames_per_second: float | None = None
    memory_bytes: int | None = None
    event: Literal["progress"] = "progress"


@_as_json
@dataclass(frozen=True, slots=True)
class Note:
    """One line for the user."""

    text: str
    event: Literal["note"] = "note"


@_as_json
@dataclass(frozen=True, slots=True)
class Finished:
    """How the cell ended; `metrics` holds the final value of everything it recorded."""

    status: str
    error: str = ""
    run_id: str = ""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    event: Literal["finished"] = "finished"


Event = Progress | Note | Finished
_EVENTS: TypeAdapter[Event] = TypeAdapter(
    Annotated[Progress | Note | Finished, Discriminator("event")]
)


def encode(event: Event) -> str:
    """The event as one JSON line."""
    return _EVENTS.dump_json(event).decode()


def decode(line: str) -> Event | None:
    """The event in `line`, or None where the line is other output of the cell."""
    if not line.startswith("{"):
        return None
    try:
        return _EVENTS.validate_json(line)
    except ValidationError:
        return None
