"""The manifest of a cache: what its frames are, where each clip lies in them, what they are of."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from datasets.sources.regular import read_regular
from datasets.video.source import FrameFormat

FRAMES, MANIFEST, ORIGIN = "frames.npy", "manifest.json", "origin.json"
FORMAT = 1
"""The version of the layout; a cache of another one is made anew."""

Count = Annotated[int, Field(ge=0, le=2**48)]
_STRICT = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class Altered(Exception):
    """A cache is not what it should be; the message is the reason, in one line."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Consecutive frames of the cache; windows never cross its ends."""

    name: str
    first: Count
    frames: Annotated[Count, Field(gt=0)]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DamagedSource:
    """A source that could not be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """The outcome of one source: a line of the journal, and later of the manifest.

    Attributes:
        name: the source's.
        key: changes when the source's files do.
        frames: how many it gave, 0 where it is damaged.
        bytes: the size of its files.
        sha256: of its files' bytes, one after the other.
        reason: why it cannot be read; "" where it can.
        remarks: what is odd about it.
        covariates: the numbers beside its frames, as text; "" for none.
    """

    name: str
    key: str
    frames: Count
    bytes: Count
    sha256: str
    reason: str
    remarks: tuple[str, ...] = ()
    covariates: str = ""


class Manifest(BaseModel):
    """What `manifest.json` holds.

    Attributes:
        digests: of the blocks of `frames.npy`; "" in caches from before there were any.
    """

    model_config = _STRICT

    dataset: str
    frame: FrameFormat
    frames: Count
    clips: tuple[Clip, ...]
    facts: dict[str, Any]
    lists: dict[str, str]
    damaged: tuple[DamagedSource, ...]
    sources: tuple[Entry, ...]
    digests: Annotated[str, Field(pattern=r"^([0-9a-f]{16})*$")] = ""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Manifest:
        if sum(source.frames for source in self.sources) != self.frames:
            raise ValueError("its sources have not as many frames as it says")
        sources = {source.name for source in self.sources}
        names = {clip.name for clip in self.clips}
        if len(names) < len(self.clips) or len(sources) < len(self.sources):
            raise ValueError("two of its clips or sources have one name")
        if any(name not in sources and name.rpartition("#")[0] not in sources for name in names):
            raise ValueError("one of its clips is of no source")
        places = sorted((clip.first, clip.first + clip.frames) for clip in self.clips)
        if any(end > after for (_, end), (after, _) in pairwise(places)):
            raise ValueError("two of its clips overlap")
        if places and places[-1][1] > self.frames:
            raise ValueError("one of its clips lies outside the frames")
        return self


class Origin(BaseModel):
    """What a cache is made of, also an unfinished one: the data set and the folder of its files."""

    model_config = _STRICT

    dataset: str
    source: str


_ENTRY = TypeAdapter(Entry)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the cache in `folder`; None where there is none.

    Raises:
        Altered: it cannot be read, is of another version, or is none.
    """
    path = folder / MANIFEST
    try:
        content = read_regular(path)
        version = _Version.model_validate_json(content).format
        if version != FORMAT:
            raise Altered(f"was made by another version, in format {version}, not {FORMAT}")
        return Manifest.model_validate_json(content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Altered(f"{MANIFEST} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise Altered(f"{MANIFEST} is damaged: {first_of(error)}") from error


class _Version(BaseModel):
    model_config = _STRICT

    format: int


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of the cache in `folder`, in one step; each clip and source in a line.

    Raises:
        OSError: it cannot be written.
    """
    parts = (f"{json.dumps(name)}: {_text(value)}" for name, value in manifest.items())
    _write(folder / MANIFEST, "{\n" + ",\n".join(parts) + "\n}")


def read_entry(line: bytes) -> Entry | None:
    """The entry in a line of the journal; None where a kill left only part of it, or it is none."""
    try:
        return _ENTRY.validate_json(line, strict=True) if line.endswith(b"\n") else None
    except ValidationError:
        return None


def write_origin(folder: Path, dataset: str, source: Path) -> None:
    """Note what the cache in `folder` is made of.

    Raises:
        OSError: it cannot be written.
    """
    found = {"dataset": dataset, "source": str(source.absolute())}
    if read_origin(folder) != Origin(**found):
        _write(folder / ORIGIN, json.dumps(found))


def read_origin(folder: Path) -> Origin | None:
    """What the cache in `folder` is made of; None where that is not known."""
    try:
        return Origin.model_validate_json(read_regular(folder / ORIGIN))
    except (OSError, ValidationError):
        return None


def remedy(dataset: str, folder: Path) -> str:
    """The line that makes the cache in `folder` of `dataset` anew, from where it was made of."""
    origin = read_origin(folder)
    source = origin.source if origin is not None and origin.source.isprintable() else "FOLDER"
    return f"python -m bench data prepare {shlex.quote(dataset)} --source {shlex.quote(source)}"


def _write(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def first_of(error: ValidationError) -> str:
    """The first fault of several, in one line, with its place."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, fault["loc"]))[:80]
    text = fault["msg"].removeprefix("Value error, ").splitlines()[0][:200]
    return f"{place}: {text}" if place else text


def _text(value: Any) -> str:
    """`value` as JSON; the items of a list a line each."""
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    return "[\n " + ",\n ".join(map(json.dumps, value)) + "\n]"
