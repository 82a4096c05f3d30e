"""The folder in which a running cell keeps what a kill must not cost it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from bench.errors import UserError


class Checkpoint:
    """`results/checkpoints/<cell key>/`: the MLflow run's id, the newest state, and the log."""

    def __init__(self, results: Path, key: str) -> None:
        """Name the folder; nothing is written yet."""
        self.folder = (results / "checkpoints" / key).absolute()
        self.log = self.folder / "cell.log"
        self._state = self.folder / "state.pt"
        self._run_id = self.folder / "run_id"
        self._lock = self.folder / "lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process off this cell for as long as the block lasts.

        Raises:
            UserError: another process has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._lock, timeout=0):
                yield
        except Timeout as error:
            raise UserError("another process is running this cell: wait for it") from error

    @property
    def is_held(self) -> bool:
        """Whether some process is running this cell now."""
        if not self._lock.exists():
            return False
        try:
            with FileLock(self._lock, timeout=0):
                return False
        except Timeout:
            return True

    @property
    def run_id(self) -> str | None:
        """The MLflow run that this cell writes to, once it has one."""
        return self._run_id.read_text(encoding="utf-8") if self._run_id.exists() else None

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        _write(self._run_id, lambda path: path.write_text(run_id, encoding="utf-8"))

    @property
    def has_state(self) -> bool:
        """Whether there is a state to go on from."""
        return self._state.exists()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the kept state by `state`; a kill during the call leaves the old one whole."""
        _write(self._state, lambda path: torch.save(state, path))

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The kept state with its tensors on `device`, or None where there is none."""
        if not self.has_state:
            return None
        state: dict[str, Any] = torch.load(self._state, map_location=device, weights_only=True)
        return state

    def forget_state(self) -> None:
        """Drop the kept state, so that the cell starts again."""
        self._state.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder: the cell is done, and MLflow has all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _write(path: Path, write: Any) -> None:
    """Let `write` fill a new file, force it to the disk, then put it in the place of `path`."""
    new = path.with_suffix(".new")
    write(new)
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(path)
