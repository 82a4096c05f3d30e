"""The rows of `ls suites`."""

from __future__ import annotations

from bench.suite.suite import read_suite, suite_names

COLUMNS = ["name", "task", "models", "datasets", "seeds", "budget"]


def rows() -> list[dict[str, object]]:
    """One row for each built-in suite."""
    return [
        {
            "name": name,
            "task": suite.task,
            "models": " ".join(suite.models),
            "datasets": " ".join(suite.datasets),
            "seeds": " ".join(map(str, suite.seeds)),
            "budget": str(suite.budget),
        }
        for name in suite_names()
        for suite in [read_suite(name)]
    ]
