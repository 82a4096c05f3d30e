"""System metrics of a run: what MLflow's monitors say, kept while the store cannot take it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from bench.records import Point
from bench.store.errors import StoreError

SAMPLING_SECONDS = 10.0


class SystemMetrics(SystemMetricsMonitor):
    """A thread that samples and sends; MLflow's own ends for good with the first failure.

    Attributes:
        unsent: the points that the store did not take yet.
    """

    def __init__(
        self,
        run_id: str,
        resumed: bool,
        uri: str,
        gpu: str,
        send: Callable[[Sequence[Point]], None],
    ) -> None:
        """Sample the GPU of that UUID and the rest; a `resumed` run has its steps gone on with."""
        super().__init__(run_id, resume_logging=resumed, tracking_uri=uri)  # type: ignore[no-untyped-call]
        for part in self.monitors:
            if isinstance(part, GPUMonitor):
                part.gpu_handles = [each for each in part.gpu_handles if _uuid(each) == gpu]
        self.unsent: list[Point] = []
        self._send = send

    def monitor(self) -> None:
        """Sample and send, until `finish` is called."""
        while not self._shutdown_event.wait(SAMPLING_SECONDS):
            self.collect_metrics()  # type: ignore[no-untyped-call]
            now = self.aggregate_metrics()  # type: ignore[no-untyped-call]
            for part in self.monitors:
                part.clear_metrics()  # type: ignore[no-untyped-call]
            self.unsent += [Point.now(f"system/{k}", v, self._logging_step) for k, v in now.items()]
            self._logging_step += 1
            self._flush()

    def finish(self) -> None:
        """End the thread, and send what is left."""
        self._shutdown_event.set()
        if self._process is not None:
            self._process.join()
        if self.unsent:
            self._flush()

    def _flush(self) -> None:
        try:
            self._send(self.unsent)
        except StoreError:  # tried again with the next sample
            return
        self.unsent.clear()


def _uuid(handle: object) -> str:
    """The UUID of NVML's `handle` of a GPU, written as PyTorch does."""
    import pynvml  # which there is where MLflow found a GPU

    return str(pynvml.nvmlDeviceGetUUID(handle)).removeprefix("GPU-")
