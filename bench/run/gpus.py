"""The GPUs of this machine that this process may use, and who uses each."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import torch
from filelock import FileLock, Timeout

LOCKS = Path(tempfile.gettempdir()) / "nextframe-gpus"
"""Where every run on this machine, whoever's, says which GPU it uses."""


def visible() -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` calls each GPU: its number, or a UUID as given.

    Like CUDA it ends at the first entry that is empty, negative or unknown.
    """
    count = torch.cuda.device_count()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [str(index) for index in range(count)]
    names = (name.strip() for name in listed.split(","))
    return [*takewhile(lambda name: name and not name.startswith("-"), names)][:count]


def uuid(index: int = 0) -> str:
    """The UUID of the visible GPU of that index, whatever it is called elsewhere."""
    return str(torch.cuda.get_device_properties(index).uuid)


class Slot:
    """A place for one cell at a time: a GPU, which no other run uses meanwhile, or the CPU.

    Attributes:
        environment: what the cell's process needs of it.
        name: of the GPU; "" for the CPU.
    """

    def __init__(self, name: str = "", identity: str = "") -> None:
        self.name = name
        self.environment = {"CUDA_VISIBLE_DEVICES": name} if name else {}
        self._lock = FileLock(LOCKS / f"{identity}.lock", mode=0o666) if identity else None

    def take(self) -> bool:
        """Whether it is ours now: not where another run uses the GPU."""
        if self._lock is None:
            return True
        try:
            with _readable_by_all():
                LOCKS.mkdir(parents=True, exist_ok=True)
                self._lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError:  # nobody can say who uses what here
            self._lock = None
        return True

    def give_back(self) -> None:
        """Leave it to the next."""
        if self._lock is not None:
            self._lock.release()


@contextlib.contextmanager
def _readable_by_all() -> Iterator[None]:
    """Inside, files are made for all users: a GPU is shared by them."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)
