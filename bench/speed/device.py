"""What the device can do, measured: its largest matrix products and copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from bench.train import hardware

SIDES = (512, 1024, 2048, 4096, 8192, 16384)
LONG_SECONDS = 0.1  # of a product after which no larger one is tried
COPIED_BYTES = {"cpu": 1 << 28, "cuda": 1 << 30, "mps": 1 << 28}
"""More than any cache holds."""
REPEATS = 5
REPEAT_SECONDS = 0.3  # of each call at least: others may have the machine, but not always


def peak_flops_per_second(device: torch.device, precision: hardware.Precision) -> float:
    """The FLOP/s of the fastest square matrix product in that precision, on random numbers."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return max(_product_rates(device, dtype))


def _product_rates(device: torch.device, dtype: torch.dtype) -> Iterator[float]:
    for side in SIDES:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        seconds = _shortest(lambda a=a, b=b: a @ b, device)  # type: ignore[misc]
        yield 2 * side**3 / seconds
        if seconds > LONG_SECONDS:
            return


def peak_bytes_per_second(device: torch.device) -> float:
    """How many bytes a second a large copy within the device's memory reads and writes."""
    size = COPIED_BYTES[device.type]
    source = torch.ones(size // 4, device=device)
    target = torch.zeros_like(source)
    return 2 * size / _shortest(lambda: target.copy_(source), device)


def _shortest(work: Callable[[], object], device: torch.device) -> float:
    """The shortest time of some calls: what others do on the machine only lengthens it."""
    seconds: list[float] = []
    while len(seconds) < 1 + REPEATS or sum(seconds) < REPEAT_SECONDS:
        hardware.synchronize(device)
        began = time.perf_counter()
        work()
        hardware.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])
