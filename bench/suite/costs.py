"""Parameters and FLOPs of models, kept between processes: counting them takes seconds a model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import models
from bench import caches
from bench.suite import fingerprint
from bench.train.cost import Cost
from datasets.contract import Spec
from models.contract import Model


def cost_of(cls: type[Model], options: Mapping[str, Any], spec: Spec) -> Cost:
    """The cost of `cls` with `options` on the clips of `spec`; of our own models it is kept.

    What is kept counts for the same code, options, clips and PyTorch. The code of a user's model
    may depend on what no digest covers, so it is counted each time.
    """
    if not is_of_the_house(cls):
        return Cost(cls, options, spec)
    code = [fingerprint.code_digest(cls), fingerprint.harness_digest("trained")]
    key = [cls.__qualname__, options, str(spec), code, torch.__version__]
    return Cost(
        cls, options, spec, _Kept(caches.folder("costs") / f"{fingerprint.digest(key)}.json")
    )


def is_of_the_house(cls: type[Model]) -> bool:
    """Whether a model is one of ours, and not a user's or of an installed package."""
    return cls.__module__.startswith(f"{models.__name__}.")


class _Kept(dict[str, float | None]):
    """Counts by name, in a file as well; one that cannot be read or written holds nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._file.read_bytes())
            if isinstance(found, dict) and all(map(_is_count, found.values())):
                self.update(found)

    def __contains__(self, name: object) -> bool:
        if not super().__contains__(name):
            self._read()  # another cell of the model may have counted meanwhile
        return super().__contains__(name)

    def __setitem__(self, name: str, count: float | None) -> None:
        super().__setitem__(name, count)
        caches.keep(self._file, json.dumps(self).encode())


def _is_count(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return value is None or (isinstance(value, int | float) and value >= 0)
