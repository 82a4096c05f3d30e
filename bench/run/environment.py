"""The environment a cell ran in, as far as it can explain a figure that comes out otherwise."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil
import torch

from bench import atomic, records
from bench.train.hardware import Device
from bench.train.processors import cpu_facts, usable_processors

VARIABLES = (
    *("OMP_NUM_THREADS", "OMP_DYNAMIC", "OMP_PROC_BIND", "OMP_PLACES", "OMP_SCHEDULE"),
    *("KMP_AFFINITY", "KMP_BLOCKTIME", "GOMP_CPU_AFFINITY"),
    *("MKL_NUM_THREADS", "MKL_DYNAMIC", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
    *("OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG", "CUDA_LAUNCH_BLOCKING"),
    *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING"),
    *("PYTORCH_MPS_FAST_MATH", "PYTORCH_ENABLE_MPS_FALLBACK"),
    *("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "TORCH_BLAS_PREFER_CUBLASLT"),
    *("TORCH_CUDNN_V8_API_DISABLED", "TORCH_CUDNN_USE_HEURISTIC_MODE_B"),
    *("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "PYTHONHASHSEED"),
)
"""The variables that change arithmetic, threads or memory, and no others: a secret is in none."""
LONGEST = 200  # characters of a variable's value

_FEATURE = re.compile(r"avx|amx|fma|f16c|sse4|asimd|sve|sme(?!p)|bf16|i8mm")
"""What the name of an instruction set begins with on which libraries choose their kernels."""

_BACKENDS: Any = torch.backends


def write(path: Path, device: Device, tags: Mapping[str, str]) -> None:
    """Write the environment of a cell that begins, whose tags name its kernels and allocator."""
    chosen = {"kernels": tags[records.KERNELS], "allocator": tags[records.ALLOCATOR]}
    atomic.write_text(path, json.dumps(environment(device, **chosen), indent=2))


def environment(device: Device, **chosen: str) -> dict[str, Any]:
    """The environment of this process, which computes on `device`, as JSON holds it.

    It has the installed packages, system, CPU, threads, libraries, GPU and variables; and what was
    `chosen` for the cell alone, such as its kernels.
    """
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": _system(),
        "cpu": _cpu(),
        "threads": {"torch": torch.get_num_threads(), "between": torch.get_num_interop_threads()},
        "libraries": _libraries(),
        "gpu": _gpu() if device == "cuda" else {},
        "variables": {name: os.environ[name][:LONGEST] for name in VARIABLES if name in os.environ},
        "chosen": chosen,
        "packages": _packages(),
    }


@cache
def _packages() -> list[str]:
    """`name==version` of each installed package, in order."""
    found = set()
    for package in distributions():
        # Of the metadata two lines are wanted: to parse all of it takes ten times as long.
        head = (package.read_text("METADATA") or package.read_text("PKG-INFO") or "").split("\n\n")
        name = re.search(r"^Name: *(\S+)", head[0], re.MULTILINE)
        version = re.search(r"^Version: *(\S+)", head[0], re.MULTILINE)
        if name and version:
            found.add(f"{name[1]}=={version[1]}")
    return sorted(found, key=str.lower)


def _system() -> dict[str, str]:
    return {
        "name": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip(),
    }


def _cpu() -> dict[str, Any]:
    """The CPU's name, the instruction sets that matter, and how much of it is ours."""
    facts = cpu_facts()
    features = (facts.get("flags") or facts.get("Features") or "").split()
    return {
        "model": facts.get("model name") or platform.processor() or platform.machine(),
        "features": sorted(name for name in features if _FEATURE.match(name) or "bf16" in name),
        "used_by_torch": torch.backends.cpu.get_cpu_capability(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "usable_threads": usable_processors(),
    }


def _libraries() -> dict[str, Any]:
    """PyTorch's version and build, and what it computes with on a CPU."""
    built, backends = torch.__config__.show(), _BACKENDS
    blas = re.search(r"BLAS_INFO=([^,\s]+)", built)
    named = ("Math Kernel Library", "MKL-DNN", "OpenBLAS", "OpenMP")
    lines = [line.strip(" -") for line in built.splitlines()]
    return {
        "torch": torch.__version__,
        "torch_commit": torch.version.git_version,
        "blas": blas[1] if blas else "",
        "built_with": [line for line in lines if any(name in line for name in named)],
        "mkl": backends.mkl.is_available(),
        "onednn": backends.mkldnn.is_available(),
    }


def _gpu() -> dict[str, Any]:
    """The GPU, its driver, and the libraries PyTorch computes with on it."""
    found = torch.cuda.get_device_properties(0)
    said = Path("/proc/driver/nvidia/version")
    driver = re.search(r"\b\d+\.\d+(\.\d+)?\b", said.read_text("utf-8") if said.exists() else "")
    return {
        "name": found.name,
        "compute_capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "memory_bytes": found.total_memory,
        "driver": driver[0] if driver else "",
        "cuda": torch.version.cuda,
        "cudnn": _BACKENDS.cudnn.version(),
    }
