"""How good a model's output is: the metrics, and the tasks that they are of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the report and the terminal read `metrics.py` without torch
    from bench.score.task import Task
    from datasets.contract import Spec
    from datasets.contract import Task as TaskName


def of(name: TaskName, spec: Spec) -> Task:
    """The task `name` on clips of `spec`."""
    from bench.score.prediction import Prediction
    from bench.score.recognition import Recognition

    tasks: dict[TaskName, type[Task]] = {"prediction": Prediction, "recognition": Recognition}
    return tasks[name](spec)
