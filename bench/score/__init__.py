"""The tasks that a cell may have."""

from __future__ import annotations

from bench.score.prediction import Prediction
from bench.score.recognition import Recognition
from bench.score.task import Task
from datasets.contract import Spec
from datasets.contract import Task as TaskName

_TASKS: dict[TaskName, type[Task]] = {"prediction": Prediction, "recognition": Recognition}


def of(name: TaskName, spec: Spec) -> Task:
    """The task `name` on clips of `spec`."""
    return _TASKS[name](spec)
