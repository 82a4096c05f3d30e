"""Preparation without child processes, each of which costs seconds: they are tested by themselves.

That a child process can import what reads each shipped data set, its contract's test shows.
"""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from datasets.video import prepare as module
from datasets.video.prepare import Prepared, prepare
from datasets.video.source import Preparation


class _ThisProcess:
    """Stands for the pool of processes."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def schedule(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], timeout: float
    ) -> Future[Any]:
        future = Future[Any]()
        future.set_result(function(*arguments))
        return future

    def stop(self) -> None:
        pass

    def join(self) -> None:
        pass


def prepare_here(preparation: Preparation, source: Path, **options: Any) -> Prepared:
    """What `prepare` makes, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ProcessPool", _ThisProcess)
        return prepare(preparation, source, workers=1, **options)
