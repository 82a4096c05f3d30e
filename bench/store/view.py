"""How MLflow's page lists the cells of a suite: which runs and columns, and in which order.

MLflow keeps views that were shared as JSON in tags of an experiment, and shows one where an address
names it. In the order of a metric it lists cells without the runs above them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench import records
from bench.score.metrics import RECORDED

if TYPE_CHECKING:
    from datasets.contract import TaskName

NAME = "nextframe"
TAG = f"mlflow.sharedViewState.{NAME}"
WIDTH = 110  # pixels of a column
COSTS = (records.TRAIN_SECONDS, "memory/peak_bytes")


def path(experiment: str) -> str:
    """Where MLflow's page of the experiment of that id is, behind a server's address."""
    return (
        f"/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={NAME}"
    )


def cells(task: TaskName) -> str:
    """The value of the tag: all cells, whose names say model, data set and seed, the best first."""
    lead, *others = (metric for metric in RECORDED[task].values() if metric.shown == "table")
    keys = [metric.key for metric in (lead, *others)]
    columns = [
        "params.`budget`",
        *(f"metrics.`{key}`" for key in (*keys, *COSTS)),
        f"tags.`{records.STATUS}`",
    ]
    state = {
        "searchFilter": f"tags.`{records.KIND}` = 'cell'",
        "orderByKey": f"metrics.`{lead.key}`",
        "orderByAsc": lead.better == "lower",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, WIDTH),
    }
    return json.dumps(state)
