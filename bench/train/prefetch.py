"""The batches of a training run, each drawn while the step before it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch

from bench.train.held_out import Batch


class Batches:
    """Batches by the number of their step; while one is used, a thread draws the next.

    A batch depends on the number of its step alone, so drawing ahead changes nothing.

    Attributes:
        waited_seconds: how long the host waited in the last `take`. The device may have been busy
            meanwhile with steps queued before, or idle: it is not asked.
    """

    def __init__(self, draw: Callable[[int], Batch], device: torch.device) -> None:
        """`draw` gives the batch of a step, on `device`; one thread calls it."""
        self.waited_seconds = 0.0
        self._draw, self._device = draw, device
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="draw")
        self._ahead: dict[int, Future[_Drawn]] = {}  # holds the next batch, and never more
        self._looks_ahead = device.type != "mps"  # which two threads cannot use at one time
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def take(self, number: int) -> Batch:
        """The batch of step `number`; errors of drawing it are raised here."""
        began = time.perf_counter()
        if number not in self._ahead:
            self.drop()
            self._ahead[number] = self._begin(number)
        batch, ready = self._ahead.pop(number).result()
        self.waited_seconds = time.perf_counter() - began
        if self._looks_ahead:
            self._ahead[number + 1] = self._begin(number + 1)
        if ready is not None:
            self._hand_over(batch, ready)
        return batch

    def drop(self) -> None:
        """Discard what was drawn ahead."""
        wait(self._ahead.values())
        self._ahead.clear()

    def _begin(self, number: int) -> Future[_Drawn]:
        return self._thread.submit(self._drawn, number)

    def _drawn(self, number: int) -> _Drawn:
        if self._stream is None:
            return self._draw(number), None
        with torch.cuda.stream(self._stream):  # a step's kernels and these do not wait for another
            return self._draw(number), self._stream.record_event()

    def _hand_over(self, batch: Batch, ready: torch.cuda.Event) -> None:
        """Make the stream of the steps wait for `batch`, and its memory wait for the stream."""
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(ready)
        for tensor in batch:
            tensor.record_stream(stream)


_Drawn = tuple[Batch, torch.cuda.Event | None]
"""A batch and, on CUDA, when it is there."""
