"""Which errors say that the memory was not enough."""

import pytest
import torch

from bench.records import Status
from bench.run.status import status_of


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_lack_of_memory_is_told_from_other_failures(error: Exception) -> None:
    assert status_of(error) is Status.OUT_OF_MEMORY


def test_another_failure_is_none() -> None:
    assert status_of(RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED")) is Status.FAILED
