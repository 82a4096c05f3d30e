"""The rows of `ls suites`."""

from __future__ import annotations

from bench import units
from bench.suite.suite import read_suite, suite_names

COLUMNS = ["name", "task", "models", "datasets", "seeds", "budget", "budget_on_cpu"]


def rows() -> list[dict[str, object]]:
    """One row for each built-in suite."""
    return [
        {
            "name": name,
            "task": suite.task,
            "models": " ".join(suite.models),
            "datasets": " ".join(suite.datasets),
            "seeds": " ".join(map(str, suite.seeds)),
            "budget": units.budget(str(suite.budget)),
            "budget_on_cpu": units.budget(str(suite.budget_on("cpu"))),
        }
        for name in suite_names()
        for suite in [read_suite(name)]
    ]
