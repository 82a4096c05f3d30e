"""The processors of this machine: what they are, and how many of them are ours to use."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_facts() -> dict[str, str]:
    """What Linux says of the first processor, by its names such as `flags`; nothing elsewhere."""
    facts: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    for line in info.read_text("utf-8", "replace").splitlines() if info.exists() else ():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    return facts


def usable_processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
