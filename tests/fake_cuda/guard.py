"""A CUDA device that does nothing, compiled and loaded into this process.

It changes what PyTorch takes the machine for, so that only a process of its own may load it, before
it imports torch: this file does not.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

SOURCE = Path(__file__).with_name("guard.cpp")
BUILT = Path(__file__).parents[2] / "build" / "fake_cuda"
"""Ignored by git. A library's name holds the digest of all that it was made from."""


def missing() -> str:
    """Why there can be no fake CUDA here; "" where there can."""
    if not sys.platform.startswith("linux"):
        return "fake CUDA is built on Linux only"
    if "+cpu" not in metadata.version("torch"):
        return "fake CUDA needs a CPU build of PyTorch: others bring CUDA's own device"
    if _compiler() is None:
        return "fake CUDA needs a C++ compiler (g++ or clang++)"
    return ""


def library() -> Path:
    """The compiled device, made at first use.

    Raises:
        subprocess.CalledProcessError: the compiler refuses; its words are in the error's `stderr`.
    """
    compiler, torch = _compiler(), _torch()
    versions = (metadata.version("torch"), compiler, sys.version)
    digest = hashlib.sha256(repr(versions).encode() + SOURCE.read_bytes()).hexdigest()[:16]
    built = BUILT / f"{digest}.so"
    if not built.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        mine = built.with_suffix(f".{os.getpid()}")
        libraries = torch / "lib"
        subprocess.run(
            [
                *(str(compiler), "-shared", "-fPIC", "-std=c++20", "-w", str(SOURCE)),
                *("-isystem", str(torch / "include"), "-o", str(mine)),
                *(f"-L{libraries}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{libraries}"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        mine.replace(built)
    return built


def load() -> None:
    """Put the device in place.

    Raises:
        RuntimeError: PyTorch was imported before, and has looked for CUDA already.
    """
    if "torch" in sys.modules:
        raise RuntimeError("fake CUDA must be loaded before torch is imported")
    ctypes.CDLL(str(library()))


def _compiler() -> str | None:
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _torch() -> Path:
    """PyTorch's folder, found without importing it."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
