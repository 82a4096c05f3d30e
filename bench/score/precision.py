"""Float32 arithmetic under any settings of the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_BACKENDS: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.mkldnn)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Float32 arithmetic inside: no autocast, no TensorFloat-32 or bfloat16 in its place.

    CUDA's matrix products are left out: their setting has an older name, and torch refuses to
    multiply where the two disagree.
    """
    cudnn, mkldnn = _BACKENDS
    backends = (cudnn.conv, mkldnn.conv, mkldnn.matmul)
    previous = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, previous, strict=True):
            backend.fp32_precision = precision
