"""A benchmark harness for video prediction, from Python; docs/python.md shows its use.

A function imports what it needs when it is called, so that `import nextframe` takes no time.
"""

from nextframe import _folders as _folders  # first: what follows imports from `bench`
from nextframe import statistics
from nextframe.catalogue import build_model, list_datasets, list_models, open_dataset
from nextframe.errors import UserError
from nextframe.records import cells, curves, diff, load, scores
from nextframe.studies import run, suite

__all__ = [
    "UserError",
    "build_model",
    "cells",
    "curves",
    "diff",
    "list_datasets",
    "list_models",
    "load",
    "open_dataset",
    "run",
    "scores",
    "statistics",
    "suite",
]
