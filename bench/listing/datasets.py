"""The rows of `ls datasets`."""

from __future__ import annotations

from bench.suite import catalogue

COLUMNS = ["name", "task", "what"]


def rows() -> list[dict[str, object]]:
    """One row for each data set; none is opened, as that may download it."""
    return [
        {"name": name, "task": cls.task, "what": (cls.__doc__ or "").strip().partition("\n")[0]}
        for name, cls in sorted(catalogue.all_datasets().items())
    ]
