"""What an error says of how a cell ended."""

from __future__ import annotations

import torch

from bench.errors import Invalid
from bench.records import Status
from bench.run.ranks import RankDied
from bench.train.loop import Diverged
from datasets.contract import DataMissing

OUT_OF_MEMORY_WORDS = (
    *("out of memory", "can't allocate memory", "not enough memory"),
    "status_alloc_failed",  # as cuBLAS and cuDNN say it
)


def status_of(error: BaseException) -> Status:
    """How a cell ended that raised `error`."""
    if isinstance(error, RankDied):
        return error.status
    if isinstance(error, Diverged):
        return Status.DIVERGED
    if isinstance(error, Invalid):
        return Status.INVALID
    if isinstance(error, DataMissing):  # by a data set that looks for its files late
        return Status.SKIPPED
    text = str(error).lower()
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in text for words in OUT_OF_MEMORY_WORDS
    ):
        return Status.OUT_OF_MEMORY
    return Status.FAILED
