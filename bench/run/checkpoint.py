"""The folder in which a running cell keeps its state, so that a kill does not lose it."""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, cast

from pydantic import ValidationError

from bench import atomic, locks, records
from bench.run.record import Record

DIGEST_BYTES = 32
BUSY = "another process is running this cell: wait for it"


class Checkpoint:
    """`results/checkpoints/<cell key>/`: the MLflow run's id, the newest state, and the log.

    A cell that ended has its record there, too, with artifacts, until MLflow holds all of it. What
    cannot be read is set aside under another name.
    """

    def __init__(
        self, results: Path, key: str, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """Name the folder; nothing is written yet. `tell` gets a line where a file is set aside."""
        self.folder = (results / "checkpoints" / key).absolute()
        self.log = self.folder / records.LOG
        self.environment = self.folder / records.ENVIRONMENT
        self.artifacts = self.folder / "artifacts"
        self._key, self._tell = key, tell
        self._state = self.folder / "state.pt"
        self._run_id = self.folder / "run_id"
        self._record = self.folder / "record.json"
        self._lock = self.folder / "lock"

    def held(self, wait_seconds: float = 0.0) -> AbstractContextManager[None]:
        """Hold the cell's lock during the block.

        Raises:
            Busy: on entering, where another process has it for all of `wait_seconds`.
            UserError: on entering, where the folder cannot be written to.
        """
        return locks.held(self._lock, BUSY, wait_seconds)

    @property
    def is_held(self) -> bool:
        """Whether a process is running this cell now."""
        return locks.is_held(self._lock)

    # --- the MLflow run and what it is to hold -------------------------------------------------

    @property
    def run_id(self) -> str | None:
        """The MLflow run that this cell writes to, once it has one."""
        try:
            text = self._run_id.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._set_aside(self._run_id, error)
            return None
        if not text.isalnum():
            self._set_aside(self._run_id, "it holds no id of an MLflow run")
            return None
        return text

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        atomic.write_text(self._run_id, run_id)

    @property
    def record(self) -> Record | None:
        """What MLflow is still to hold of a cell that ended."""
        try:
            return Record.model_validate_json(self._record.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            self._set_aside(self._record, error)
            return None

    @record.setter
    def record(self, record: Record) -> None:
        atomic.write_text(self._record, record.model_dump_json())

    # --- the state -----------------------------------------------------------------------------

    @property
    def has_state(self) -> bool:
        """Whether there is a state to go on from."""
        return self._state.exists()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the kept state by `state`; a kill during the call leaves the old one intact."""
        import torch  # here, for `ls` reads checkpoints without their states

        with atomic.replacing(self._state, durable=True) as path, path.open("wb") as file:
            digest = _hash(self._key)
            torch.save(state, cast(IO[bytes], _Digesting(file, digest)))
            file.write(digest.digest())

    def load(self) -> dict[str, Any] | None:
        """The kept state, its tensors on the CPU, or None where there is none to go on from.

        A file that is not what `save` wrote for this very cell is set aside.
        """
        import torch

        try:
            data = self._state.read_bytes()
            content, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
            if _hash(self._key, content).digest() != digest:
                raise ValueError("it is damaged, or of another cell")
            state: dict[str, Any] = torch.load(
                io.BytesIO(content), map_location="cpu", weights_only=True
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            self.set_state_aside(error)
            return None
        return state

    def set_state_aside(self, why: object) -> None:
        """Keep the state under another name: the cell starts again."""
        self._set_aside(self._state, why)

    def forget_state(self) -> None:
        """Delete the kept state, so that the cell starts again."""
        self._state.unlink(missing_ok=True)

    # --- the end -------------------------------------------------------------------------------

    def forget_run(self) -> None:
        """Delete the id of the MLflow run: the cell does not go on in it."""
        self._run_id.unlink(missing_ok=True)

    def forget_record(self) -> None:
        """Delete the record: MLflow holds all of it."""
        self._record.unlink(missing_ok=True)
        shutil.rmtree(self.artifacts, ignore_errors=True)

    def restart(self) -> None:
        """Delete what an earlier attempt left, but for a record that MLflow does not hold yet."""
        self.forget_state()
        self.forget_run()

    def tidy(self) -> None:
        """Delete the folder where it holds nothing but its lock: the cell never began."""
        if {path.name for path in self.folder.glob("*")} <= {self._lock.name}:
            shutil.rmtree(self.folder, ignore_errors=True)

    def remove(self) -> None:
        """Delete the folder: the cell is done, and MLflow has all of it."""
        self._record.unlink(missing_ok=True)  # first: without its artifacts it would be a half one
        shutil.rmtree(self.folder, ignore_errors=True)

    def _set_aside(self, path: Path, why: object) -> None:
        reason = (str(why).strip() or type(why).__name__).splitlines()[0]
        self._tell(f"{path} cannot be used ({reason}): it is kept as {atomic.set_aside(path).name}")


def _hash(key: str, data: bytes = b"") -> hashlib.blake2b:
    """The hash of `data` under the key of a cell."""
    return hashlib.blake2b(data, key=key.encode()[:64], digest_size=DIGEST_BYTES)


class _Digesting(io.RawIOBase):
    """Writes to a file, and digests what it writes."""

    def __init__(self, file: IO[bytes], digest: hashlib.blake2b) -> None:
        self._file, self._digest = file, digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return self._file.write(data)
