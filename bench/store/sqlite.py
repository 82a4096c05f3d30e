"""The SQLite database of a results folder: made in one step, known when half made, at home."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import shlex
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

import mlflow
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from filelock import FileLock
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from bench.store import address
from bench.store.errors import NoStore, StoreUnavailable

OURS = ("bench.artifacts", "beside the database")
"""Tag of the experiments whose artifacts lie in our folder, wherever that goes."""
TRAINING_PAGES = ("mlflow.experimentKind", "custom_model_development")
"""Tag that says how MLflow's pages show an experiment."""
LOCK_SECONDS = 120  # longer than any process takes to make a database
BUSY_SECONDS = 20  # as MLflow waits for a locked database
FEW_METRICS, GROWN = 10_000, 4  # rows that need no count; how often as many need a new one
_COMPANIONS = ("-journal", "-wal", "-shm")  # of a SQLite file
_ROWS_OF_A_NEW_ONE = ("alembic_version", "workspaces")


@dataclass(frozen=True)
class Database:
    """A SQLite database of MLflow, with its runs' artifacts beside it.

    Attributes:
        file: where it is; links in the path of its folder are resolved, so that it has one name.
        announce: called with a line where the user has to wait, or should know.
    """

    file: Path
    announce: Callable[[str], None]

    @property
    def artifacts(self) -> str:
        """The place of all artifacts."""
        return _escaped(str(self.file.parent / "artifacts"))

    def place(self, experiment: str) -> str:
        """Where the artifacts of a new experiment are to lie."""
        return f"{self.artifacts}/{_escaped(experiment)}"

    def open(self, create: bool) -> dict[str, str]:
        """Where the artifacts of each experiment lie that are kept beside the database.

        Afterwards the database is whole, of this MLflow's schema, and knows its own place.

        Args:
            create: whether to make it where it is absent, or half made and empty.

        Raises:
            NoStore: it is absent, or half made, and not to be made.
            StoreUnavailable: it is another MLflow's, or no database of MLflow.
            OSError, sqlite3.Error, SQLAlchemyError: it cannot be read or made.
        """
        if not self._is_whole():
            if not create:
                raise NoStore(self.file)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():  # two migrations at once would break each other
                if not self._is_whole():
                    self._make()
        self._survey()
        return self._come_home()

    # --- whole or not ----------------------------------------------------------------------------

    def _is_whole(self) -> bool:
        """Whether it is there and complete; not where it is absent, or half made and empty."""
        if not self.file.exists():
            return False
        if not self.file.is_file():
            raise StoreUnavailable(f"the MLflow store {self.file} is no file")
        if self.file.stat().st_size == 0:
            return False
        with _connected(self.file) as connection:
            version = None
            if "alembic_version" in _tables(connection):
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
                version = row[0] if row else None
            scripts = _migrations()
            if version in scripts.get_heads():
                return True
            if _holds_nothing(connection):
                connection.execute("BEGIN EXCLUSIVE")  # nobody is writing to it now
                if _holds_nothing(connection):
                    return False
        raise StoreUnavailable(self._of_another(version, scripts))

    def _of_another(self, version: str | None, scripts: ScriptDirectory) -> str:
        """Why a database that holds something, with another schema, cannot be used."""
        if version is None:
            return f"{self.file} is a database, but not MLflow's: move it out of the way"
        try:
            scripts.get_revision(version)
        except CommandError:
            return (
                f"the MLflow store {self.file} was made by a newer MLflow than"
                f" {mlflow.__version__}, with the schema {version}: update MLflow"
            )
        return (
            f"the MLflow store {self.file} was made by an older MLflow: make a copy, then run"
            f" `python -m mlflow db upgrade {shlex.quote(address.uri_of(self.file))}`"
        )

    # --- making it -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with FileLock(self.file.with_suffix(".lock"), timeout=LOCK_SECONDS):
            yield

    def _make(self) -> None:
        """Make it under another name, then put it in place: a kill leaves it or nothing."""
        self.announce(f"creating the MLflow store {self.file} (once, about 10 s)")
        file = self.file.resolve()
        new = file.with_name(f".{file.name}.new")
        _remove(new)  # of a process that was killed
        try:
            store: Any = SqlAlchemyStore(address.uri_of(new), self.artifacts)  # type: ignore[no-untyped-call]
            store.engine.dispose()
            with new.open("rb") as written:
                os.fsync(written.fileno())
            self._set_aside(file)
            new.rename(file)
        finally:
            _remove(new)

    def _set_aside(self, file: Path) -> None:
        """Rename what is left of a half-made database, its companions first.

        A journal that stayed would be played back into the new database.
        """
        parts = [file.with_name(file.name + end) for end in (*_COMPANIONS, "")]
        parts = [part for part in parts if part.exists()]
        names = (f"{file.name}.half-made{f'-{n}' if n else ''}" for n in itertools.count())
        aside = next(name for name in names if not file.with_name(name).exists())
        for part in parts:
            part.rename(file.with_name(aside + part.name.removeprefix(file.name)))
        if parts:
            self.announce(f"{file} was half made and held nothing: it is now {aside}")

    # --- reading much of it ----------------------------------------------------------------------

    def values(self, run_id: str, metrics: Sequence[str]) -> list[list[tuple[int, float]]]:
        """All (step, value) of each of `metrics`, by time: MLflow makes an object of each.

        That takes 20 times as long; every point of every cell stands in a report.
        """
        asked = (
            "SELECT step, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics"
            " WHERE run_uuid = ? AND key = ? ORDER BY timestamp, step, value"
        )
        with _connected(self.file) as connection:
            return [
                [
                    (step, math.nan if value is None else value)
                    for step, value in connection.execute(asked, (run_id, metric))
                ]
                for metric in metrics
            ]

    # --- how large it is ---------------------------------------------------------------------

    def _survey(self) -> None:
        """Have SQLite count how its metrics are spread, where they are many more than when it did.

        Before that it looks for a curve among those of all runs: 22 ms of a thousand, not 0.5.
        """
        with (
            contextlib.suppress(sqlite3.OperationalError),  # read only, or somebody writes: later
            _connected(self.file, wait_seconds=0.0) as connection,
        ):
            (rows,) = connection.execute("SELECT max(rowid) FROM metrics").fetchone()
            if (rows or 0) > max(FEW_METRICS, GROWN * _surveyed(connection)):
                connection.execute("ANALYZE metrics")

    # --- its own place ---------------------------------------------------------------------------

    def _come_home(self) -> dict[str, str]:
        """Correct the artifact places of a database whose folder was moved, copied or linked.

        One that cannot be written keeps its old ones, so the right ones are returned.
        """
        with _connected(self.file) as connection:
            own = self._own(connection)
            recorded = dict(
                connection.execute("SELECT experiment_id, artifact_location FROM experiments")
            )
        moved = {number: place for number, place in own.items() if recorded[number] != place}
        if moved:
            try:
                self._rewrite(moved)
            except (OSError, sqlite3.OperationalError):  # read only
                return {str(number): place for number, place in own.items()}
            self.announce(
                f"{self.file.parent} was moved or copied: its artifacts are those in it from now on"
            )
        return {str(number): place for number, place in own.items()}

    def _rewrite(self, moved: dict[int, str]) -> None:
        with _connected(self.file) as connection:
            for number, place in moved.items():
                connection.execute(
                    "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
                    (place, number),
                )
                connection.execute(
                    "UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts'"
                    " WHERE experiment_id = ? AND artifact_uri LIKE '%/' || run_uuid ||"
                    " '/artifacts'",
                    (place, number),
                )

    def _own(self, connection: sqlite3.Connection) -> dict[int, str]:
        """The right place of each experiment whose artifacts are kept beside the database."""
        tagged = (
            "EXISTS (SELECT 1 FROM experiment_tags t WHERE t.experiment_id = e.experiment_id"
            " AND t.key = ? AND t.value = ?)"
        )
        rows = connection.execute(
            f"SELECT experiment_id, name, artifact_location, {tagged}, {tagged}"  # noqa: S608
            " FROM experiments e",
            (*OURS, *TRAINING_PAGES),
        )
        own = {}
        for number, name, location, ours, trains in rows.fetchall():
            root, _, folder = str(location).rpartition("/")
            if not root.endswith("/artifacts") or urlsplit(root).scheme not in ("", "file"):
                continue
            # Before it had its tag, an experiment of ours is known by its kind and its name.
            gone = not os.path.exists(_path(location))  # noqa: PTH110 - or may not be looked at
            early = folder == _escaped(name) and (trains or gone)
            if ours or early:
                own[number] = f"{self.artifacts}/{folder}"
        return own


@cache
def _migrations() -> ScriptDirectory:
    """MLflow's migrations: dozens of files, read once by a process."""
    return ScriptDirectory(str(Path(mlflow.__file__).parent / "store/db_migrations"))


def _escaped(path: str) -> str:
    """The path as a place of MLflow's, in which `%` begins a code."""
    return path.replace("%", "%25")


def _path(place: str) -> str:
    """The folder that MLflow means by a local place."""
    return url2pathname(urlsplit(place).path if place.startswith("file:") else place)


def _surveyed(connection: sqlite3.Connection) -> int:
    """How many metrics there were when SQLite last counted how they are spread."""
    if "sqlite_stat1" not in _tables(connection):
        return 0
    told = connection.execute("SELECT stat FROM sqlite_stat1 WHERE tbl = 'metrics'").fetchall()
    return max((int(stat.split()[0]) for (stat,) in told if stat), default=0)


@contextlib.contextmanager
def _connected(file: Path, wait_seconds: float = BUSY_SECONDS) -> Iterator[sqlite3.Connection]:
    """A connection that never creates the file; the block is one transaction."""
    uri = f"file:{quote(str(file))}?mode=rw"
    with (
        contextlib.closing(sqlite3.connect(uri, uri=True, timeout=wait_seconds)) as connection,
        connection,
    ):
        yield connection


def _holds_nothing(connection: sqlite3.Connection) -> bool:
    """Whether a database of MLflow records nothing at all."""
    tables = _tables(connection)
    if tables and not tables & {"experiments", "alembic_version"}:
        return False
    for table in tables - {*_ROWS_OF_A_NEW_ONE}:
        but = " WHERE experiment_id != 0" if table.endswith("experiments") else ""
        row = f'SELECT 1 FROM "{table}"{but} LIMIT 1'  # noqa: S608
        if connection.execute(row).fetchone():
            return False
    return True


def _tables(connection: sqlite3.Connection) -> set[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in found}


def _remove(file: Path) -> None:
    for end in (*_COMPANIONS, ""):
        file.with_name(file.name + end).unlink(missing_ok=True)
