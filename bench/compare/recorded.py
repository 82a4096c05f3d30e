"""All that a store holds of one run of a cell, read when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
from safetensors.torch import load_file
from torch import Tensor

from bench import records
from bench.report.artifacts import Artifacts, frame_table, video_table

if TYPE_CHECKING:
    from bench.store.mlflow import RecordedCell, Store

Found = TypeVar("Found")


@dataclass(frozen=True)
class Recorded:
    """One run. Artifacts that it lacks, as older runs do, or that are damaged, are None."""

    store: Store
    run: RecordedCell

    @property
    def task(self) -> str:
        """Prediction or recognition."""
        return self.run.params.get("task", "prediction")

    @property
    def settled(self) -> Path | None:
        """The file of the cell as it was settled."""
        return self.store.artifact(self.run.run_id, records.SETTLED)

    @cached_property
    def settled_data(self) -> Mapping[str, str]:
        """The digest of the held-out clips of each split."""
        found = (self._read(records.SETTLED, _json) or {}).get("settled_data")
        return found if isinstance(found, dict) else {}

    @cached_property
    def environment(self) -> dict[str, str] | None:
        """What it ran in, by names such as `cpu.model` and `package torch`."""
        found = self._read(records.ENVIRONMENT, _json)
        return None if found is None else dict(_flat(found))

    @cached_property
    def weights(self) -> dict[str, Tensor] | None:
        """The stored weights and buffers."""
        found: dict[str, Tensor] | None = self._read(records.CHECKPOINT, load_file)
        return found

    @cached_property
    def scores(self) -> pd.DataFrame | None:
        """A row for each test sequence and predicted frame, or for each test video."""
        if self.task == "prediction":
            table = self._read(records.PER_FRAME_TABLE, frame_table)
            return None if table is None else table.set_index(["sequence", "frame"]).sort_index()
        table = self._read(records.PER_VIDEO_TABLE, video_table)
        return None if table is None else table.set_index("video").sort_index()

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """The recorded values of `metric` as (step, value)."""
        return self.store.curve(self.run.run_id, metric)

    @property
    def damage(self) -> str:
        """Why artifacts that were asked for cannot be read; "" where all can."""
        return self._artifacts.damage(self.run.run_id)

    @cached_property
    def _artifacts(self) -> Artifacts:
        return Artifacts(self.store)

    def _read(self, name: str, reader: Callable[[Path], Found]) -> Any:
        return self._artifacts.read(self.run.run_id, name, reader)


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_bytes())
    return found if isinstance(found, dict) else {}


def _flat(found: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """Each fact of nested ones under one name; packages by name, other lists as one text."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{name}.")
        elif name == "packages" and isinstance(value, list):
            yield from ((f"package {p}", v) for p, _, v in (str(x).partition("==") for x in value))
        else:
            yield (
                f"{place}{name}",
                " ".join(map(str, value if isinstance(value, list) else [value])),
            )
