"""The GPUs of this machine that this process may use, and who uses each."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from bench.train.hardware import visible_gpus

LOCKS = Path(tempfile.gettempdir()) / "nextframe-gpus"
"""Where every run on this machine, whoever's, says which GPU it uses."""


def uuid(index: int = 0) -> str:
    """The UUID of the visible GPU of that index, whatever it is called elsewhere."""
    return str(torch.cuda.get_device_properties(index).uuid)


class Slot:
    """A place for one cell at a time: GPUs, which no other run uses meanwhile, or the CPU.

    Attributes:
        environment: what the cell's process needs of it.
        name: of the GPUs, such as "0,1"; "" for the CPU.
    """

    def __init__(self, names: Sequence[str] = (), identities: Sequence[str] = ()) -> None:
        self.name = ",".join(names)
        self.environment = {"CUDA_VISIBLE_DEVICES": self.name} if names else {}
        self._locks = [FileLock(LOCKS / f"{each}.lock", mode=0o666) for each in identities]

    def take(self) -> bool:
        """Whether it is ours now: not where another run uses one of the GPUs."""
        try:
            with _readable_by_all():
                for lock in self._locks:
                    LOCKS.mkdir(parents=True, exist_ok=True)
                    lock.acquire(timeout=0)
        except Timeout:
            self.give_back()
            return False
        except OSError:  # nobody can say who uses what here
            self.give_back()
            self._locks = []
        return True

    def give_back(self) -> None:
        """Leave it to the next."""
        for lock in self._locks:
            lock.release()


def slots(devices: int) -> list[Slot]:
    """A place for each cell of so many `devices` that this process's GPUs have room for at once."""
    names = visible_gpus()
    # Of the parts of a GPU a process sees but one: their names alone tell them apart.
    known = [name if name.startswith("MIG-") else uuid(n) for n, name in enumerate(names)]
    firsts = range(0, len(names) - devices + 1, devices)
    return [Slot(names[n : n + devices], known[n : n + devices]) for n in firsts]


@contextlib.contextmanager
def _readable_by_all() -> Iterator[None]:
    """Inside, files are made for all users: a GPU is shared by them."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)
