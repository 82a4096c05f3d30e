"""The folder in which a running cell keeps its state, so that a kill does not lose it."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from bench import atomic, locks, records


class Checkpoint:
    """`results/checkpoints/<cell key>/`: the MLflow run's id, the newest state, and the log."""

    def __init__(self, results: Path, key: str) -> None:
        """Name the folder; nothing is written yet."""
        self.folder = (results / "checkpoints" / key).absolute()
        self.log = self.folder / records.LOG
        self._state = self.folder / "state.pt"
        self._run_id = self.folder / "run_id"
        self._lock = self.folder / "lock"

    def held(self) -> AbstractContextManager[None]:
        """Hold the cell's lock during the block.

        Raises:
            UserError: on entering, where another process has it.
        """
        return locks.held(self._lock, "another process is running this cell: wait for it")

    @property
    def is_held(self) -> bool:
        """Whether a process is running this cell now."""
        return locks.is_held(self._lock)

    @property
    def run_id(self) -> str | None:
        """The MLflow run that this cell writes to, once it has one."""
        return self._run_id.read_text(encoding="utf-8") if self._run_id.exists() else None

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        with atomic.replacing(self._run_id, durable=True) as path:
            path.write_text(run_id, encoding="utf-8")

    @property
    def has_state(self) -> bool:
        """Whether there is a state to go on from."""
        return self._state.exists()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the kept state by `state`; a kill during the call leaves the old one intact."""
        with atomic.replacing(self._state, durable=True) as path:
            torch.save(state, path)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The kept state with its tensors on `device`, or None where there is none."""
        if not self.has_state:
            return None
        state: dict[str, Any] = torch.load(self._state, map_location=device, weights_only=True)
        return state

    def forget_state(self) -> None:
        """Delete the kept state, so that the cell starts again."""
        self._state.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder: the cell is done, and MLflow has all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
