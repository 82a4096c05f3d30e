"""A training step as one CUDA graph: one launch in place of thousands."""

from __future__ import annotations

from collections import deque

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
        try:
            # A capture that fails leaves its stream the current one: the outer block undoes that.
            with (
                torch.cuda.stream(stream),
                torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"),
            ):
                self.outcome = work(batch)
        except BaseException:
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


def _end_capture_of(generator: torch.Generator) -> None:
    """Let `generator` draw again: a capture that failed may leave it waiting for the end."""
    generator.graphsafe_set_state(generator.clone_state())
