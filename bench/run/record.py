"""What MLflow is to hold of a cell that ended: kept as a file until it does."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from bench import records, units
from bench.records import Point, Status
from bench.run.events import Finished
from bench.suite import fingerprint

if TYPE_CHECKING:
    from bench.store.mlflow import RecordedCell
    from bench.suite.cell import Cell
    from datasets.contract import Quantity

LONGEST_VALUE = 5000  # characters of a parameter


class Record(BaseModel):
    """All that the MLflow run of a cell is to hold, but for its artifacts and its log.

    It holds every point, also those sent before, so that it can be sent to any store, more than
    once: what a run has already is not recorded twice.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    suite: str
    name: str
    parent: str
    """The run of the invocation."""
    params: dict[str, str]
    tags: dict[str, str]
    data_source: tuple[str, str] = ("", "")
    """Name of the data set, and the module it comes from."""
    data_digests: dict[str, str] = {}
    points: list[Point] = []
    metrics: dict[str, float] = {}
    """The final figures; they are among the points, too."""
    status: Status = Status.RUNNING
    error: str = ""

    @classmethod
    def of(cls, cell: Cell, results: Path, command: str, parent: str) -> Record:
        """That of a `cell` which begins, in the folder `results`."""
        tags = cell.tags | {records.COMMAND: command, records.FOLDER: folder_tag(results)}
        params: dict[str, object] = dict(cell.params)
        record = cls(suite=cell.suite, name=cell.name, parent=parent, params={}, tags=tags)
        if cell.model_class.paper:
            record.tags[records.PAPER] = cell.model_class.paper.url
        if not cell.missing_data:
            spec = cell.data.spec
            params |= {
                "context_frames": spec.context_frames,
                "horizon": spec.horizon,
                "frame_shape": "x".join(map(str, spec.frame_shape)),
                "frame_step": cell.data.frame_step,
                **({"classes": len(spec.classes)} if spec.classes else {}),
                **({"quantity": _named(spec.quantities[0])} if spec.quantities else {}),
            }
            names = [each.name for each in spec.covariates]
            if cell.in_training.spec.covariates:
                told = json.dumps(names)
                params[records.COVARIATES] = told if len(told) <= LONGEST_VALUE else len(names)
            elif names:
                record.tags[records.NOT_SHOWN] = units.listed(names)
            record.tags[records.CLUSTER] = cell.dataset_class.cluster_name
            if "test" in cell.data_digests:  # of a trial there is none
                record.tags[records.DATA_DIGEST] = cell.data_digests["test"]
            if cell.data.notice:
                record.tags[records.NOTICE] = cell.data.notice
            record.data_source = cell.dataset_name, type(cell.data).__module__
            record.data_digests = {str(split): d for split, d in cell.data_digests.items()}
        record.params = {key: str(value)[:LONGEST_VALUE] for key, value in params.items()}
        return record

    def end(
        self, status: Status, error: str = "", metrics: Mapping[str, float] | None = None
    ) -> None:
        """Set how the cell ended."""
        self.status, self.error, self.metrics = status, error, dict(metrics or {})

    def finished(self, run_id: str) -> Finished:
        """The end of the cell, recorded in the run `run_id`."""
        return Finished(self.status, self.error, run_id, self.metrics)

    def describes(self, run: RecordedCell) -> bool:
        """Whether `run` is one of the same cell with the same settings, which may hold this."""
        same = all(run.params.get(key, value) == value for key, value in self.params.items())
        return same and run.tags.get(records.CELL) == self.tags[records.CELL]


def _named(quantity: Quantity) -> str:
    return f"{quantity.name} ({quantity.unit})" if quantity.unit else quantity.name


def folder_tag(results: Path) -> str:
    """What marks the runs of processes that keep their checkpoints in the folder `results`."""
    return fingerprint.digest([platform.node(), str(results.resolve())])
