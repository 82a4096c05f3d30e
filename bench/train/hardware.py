"""Device, precision, arithmetic settings and memory of the machine."""

from __future__ import annotations

import gc
import os
import platform
import resource
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import torch

from bench.errors import UserError
from bench.train.processors import cpu_facts

Device = Literal["cpu", "cuda", "mps"]
Precision = Literal["32", "bf16"]
Step = Literal["auto", "eager", "graph"]
"""Whether training steps are replayed from one CUDA graph; "auto" does where that is found to work.
"""

ELSEWHERE = "a GPU elsewhere"


def resolve_device(asked: str, is_here: bool = True) -> Device:
    """The device to use: the one `asked` for, or for "auto" the best there is.

    Cells that do not run on this machine (`is_here`) may have "cuda" though it has none.

    Raises:
        UserError: this machine has no such device.
    """
    if asked == "cuda" and not is_here:
        return "cuda"
    present: dict[Device, bool] = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    for device, is_present in present.items():
        if is_present and asked in ("auto", device):
            return device
    raise UserError(f"there is no {asked} device here: use --device auto or cpu")


def resolve_devices(asked: int, device: Device, is_here: bool = True) -> int:
    """How many devices a cell is to have: as many as `asked`; only those here are counted.

    Raises:
        UserError: this machine has fewer, or they cannot train together.
    """
    if asked > 1 and device == "mps":
        raise UserError(f"--devices {asked} needs CUDA or a CPU, and this runs on mps")
    if is_here and device == "cuda" and asked > (there := len(visible_gpus())):
        plural = "s" if there != 1 else ""
        raise UserError(f"--devices {asked}: this machine shows {there} GPU{plural}")
    return asked


def visible_gpus() -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` calls each GPU: its number, or a UUID as given.

    Like CUDA it ends at the first entry that is empty, negative or unknown; but parts of a GPU,
    of which CUDA shows a process one alone, are all those listed.
    """
    count = torch.cuda.device_count()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [str(index) for index in range(count)]
    names = (name.strip() for name in listed.split(","))
    found = [*takewhile(lambda name: name and not name.startswith("-"), names)]
    return found if all(name.startswith("MIG-") for name in found) else found[:count]


def resolve_precision(asked: str, device: Device, is_here: bool = True) -> Precision:
    """The precision to use: for "auto" bf16 where the device computes in it, else 32.

    Raises:
        UserError: it is "auto" for a GPU elsewhere, where none here tells.
    """
    if asked == "auto" and device == "cuda" and not (is_here or torch.cuda.is_available()):
        raise UserError(
            "this machine has no GPU to tell in what those of the jobs compute: add --precision"
            " bf16 (from Ampere, such as A100, on) or --precision 32"
        )
    if asked == "bf16" or (
        asked == "auto" and device == "cuda" and torch.cuda.is_bf16_supported(False)
    ):
        return "bf16"
    return "32"


def resolve_step(asked: Step, device: Device, devices: int = 1) -> Step:
    """How training steps run: "eager" without CUDA; with it "auto" is decided for each model.

    Raises:
        UserError: a graph is asked for without CUDA, or on several devices.
    """
    if asked == "graph" and devices > 1:
        raise UserError("--step graph is for one device: leave out --devices, or use --step auto")
    if asked == "graph" and device != "cuda":
        raise UserError(f"--step graph needs CUDA, and this runs on {device}: use --step auto")
    return asked if device == "cuda" else "eager"


def set_arithmetic() -> None:
    """Float32 means float32 everywhere, whatever was set before; cuDNN deterministic, autotuned."""
    # The settings by operation decide. Older names of theirs must agree: PyTorch refuses to
    # multiply, or to enter `cudnn.flags`, where the two differ.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    operations = (cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
    for each in (backends, backends.cuda.matmul, *operations):
        each.fp32_precision = "ieee"
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = True


def flush_denormals() -> None:
    """On a CPU, numbers of this process nearer to 0 than 1.2e-38 are 0, as far as it can.

    It takes up to fifty times as long for them, and the gradients of a model that has stopped
    learning are such. A thread takes this from the one that starts it: call it before there is one.
    """
    torch.set_flush_denormal(True)


def device_name(device: Device) -> str:
    """The name of the device, such as "NVIDIA H200" or "Intel Xeon, 2 threads".

    It is `ELSEWHERE` for a GPU that this machine has not.
    """
    if device == "cuda":
        return torch.cuda.get_device_name() if torch.cuda.is_available() else ELSEWHERE
    name = cpu_facts().get("model name") or platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    said = f"{threads} thread{'s' if threads != 1 else ''}"
    return f"{name}, {said}" if device == "cpu" else f"{name} (MPS)"


def synchronize(device: torch.device) -> None:
    """Wait for the work queued on `device`."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def peak_memory_bytes(device: Device) -> int:
    """The most memory used so far: allocated on CUDA since `reset_peak_memory`, else resident."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    # First what counts from our own start: getrusage goes on from what the parent had used.
    for line in status.read_text("utf-8", "replace").splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory(device: torch.device) -> None:
    """Count `peak_memory_bytes` anew, from what is in use now; only CUDA can."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
