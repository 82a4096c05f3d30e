"""The events that a running cell sends its parent: one JSON line each, through their own pipe."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, TypeAdapter, ValidationError, with_config

from bench.records import Status

Phase = Literal["setup", "fit", "train", "validate", "test", "record", "profile"]
TaskName = Literal["prediction", "recognition"]

LONGEST_LINE_BYTES = 1 << 20
LONGEST_TEXT = 5000  # characters; longer texts are cut before they are sent

Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Figure = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

_as_json = with_config(ConfigDict(extra="forbid", ser_json_inf_nan="constants"))


@_as_json
@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a cell, with its newest figures."""

    phase: Phase
    fraction: Share  # of the budget spent; of the test clips in the test phase
    spent: Annotated[str, Field(max_length=100, pattern=r"^[ -~]*$")] = ""
    """Such as "38/120 s" or "200/500 steps"."""
    loss: Figure | None = None
    task: TaskName = "prediction"  # says what validation measures, as in `records.VALIDATION`
    validation: Figure | None = None
    best_validation: Figure | None = None
    waiting_share: Share | None = None  # of the training seconds
    frames_per_second: Amount | None = None
    memory_bytes: Annotated[int, Field(ge=0)] | None = None
    event: Literal["progress"] = "progress"


@_as_json
@dataclass(frozen=True, slots=True)
class Note:
    """One line for the user."""

    text: Text
    event: Literal["note"] = "note"


@_as_json
@dataclass(frozen=True, slots=True)
class Finished:
    """How the cell ended; `metrics` holds the final value of everything it recorded."""

    status: Status
    error: Text = ""
    run_id: Annotated[str, Field(max_length=100)] = ""
    """The MLflow run that holds all of it; "" where nothing was recorded yet."""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    """What only its process knew, for its run."""
    event: Literal["finished"] = "finished"


Event = Progress | Note | Finished
_EVENTS: TypeAdapter[Event] = TypeAdapter(
    Annotated[Progress | Note | Finished, Discriminator("event")]
)


def encode(event: Event) -> str:
    """The event as one JSON line."""
    if isinstance(event, Note):
        event = dataclasses.replace(event, text=event.text[:LONGEST_TEXT])
    elif isinstance(event, Finished):
        event = dataclasses.replace(event, error=event.error[:LONGEST_TEXT])
    return _EVENTS.dump_json(event).decode()


def decode(line: str | bytes) -> Event | None:
    """The event in `line`, or None where it is none, or one that no cell can mean."""
    try:
        return _EVENTS.validate_json(line)
    except ValidationError:
        return None


class Lines:
    """Cuts what comes out of a pipe into lines; one that is too long is dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._dropping = False

    def add(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if self._dropping and whole:
            del whole[0]
            self._dropping = False
        if len(self._rest) > LONGEST_LINE_BYTES:
            self._rest, self._dropping = b"", True
        return [line for line in whole if len(line) <= LONGEST_LINE_BYTES]
