"""A training step as one CUDA graph: one launch in place of thousands."""

from __future__ import annotations

import gc
from collections import deque
from contextlib import suppress
from typing import Any

import torch

from bench.train.held_out import Batch
from bench.train.static import Work

AHEAD = 2
"""Replays that may be queued: an endless queue would hide the time they take from the clock."""


class CudaGraph:
    """The kernels of `work`, captured. Its memory is kept for as long as the graph is."""

    def __init__(self, work: Work, batch: Batch, generator: torch.Generator) -> None:
        """Capture `work` on `batch`, which must have run before: nothing may be tuned or built.

        Nothing is computed yet. An error leaves the device fit for work that is not captured.
        """
        self.batch = batch
        self._graph = torch.cuda.CUDAGraph()
        self._done = deque(torch.cuda.Event() for _ in range(AHEAD))  # type: ignore[no-untyped-call]
        self._graph.register_generator_state(generator)  # PyTorch's own one is by itself
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        pool = torch.cuda.graph_pool_handle()
        gc.collect()  # nothing of earlier steps may be freed, or be in use, while they are captured
        try:
            # A capture that fails leaves its stream the current one: the outer block undoes that.
            with (
                torch.cuda.stream(stream),
                torch.cuda.graph(self._graph, pool, stream, capture_error_mode="thread_local"),
            ):
                self.outcome = work(batch)
        except BaseException:
            _end_allocation_from(pool)
            _end_capture_of(generator)
            _end_capture_of(torch.cuda.default_generators[torch.cuda.current_device()])
            raise

    def replay(self) -> None:
        """Queue the work once more, and wait for that of two replays ago."""
        done = self._done.popleft()
        done.synchronize()
        self._graph.replay()
        done.record()
        self._done.append(done)


def _end_allocation_from(pool: Any) -> None:
    """Let the allocator free memory again that two streams have used, such as that of each batch.

    Until PyTorch has the mend of its pull request 180395 a capture that cannot be ended goes on for
    the allocator, which frees no such memory meanwhile.
    """
    with suppress(RuntimeError):  # it is ended
        torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)


def _end_capture_of(generator: torch.Generator) -> None:
    """Let `generator` draw again: a capture that failed may leave it waiting for the end."""
    generator.graphsafe_set_state(generator.clone_state())
