"""The only file that uses MLflow's client: opens a store, writes runs and reads them back."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # errors are raised, and said once
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # 15 s; MLflow's own 7 take minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.entities import PagedList
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from bench import records
from bench.records import Point
from bench.store import ui
from bench.store.errors import StoreError, StoreUnavailable, UnknownRun
from bench.store.guard import RAISED, Guarded, reason, reported, shown

POINTS_PER_BATCH = 1000  # MLflow's limit for one call
SYSTEM_METRICS_SECONDS = 10
ANSWER_SECONDS = 10  # that a server has for its first one
TRAINING_PAGES = {"mlflow.experimentKind": "custom_model_development"}  # how MLflow shows it
_SQLITE = "sqlite:///"
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it tells every retry


@dataclass(frozen=True, slots=True)
class RecordedCell:
    """One cell's run in MLflow: parameters, tags, and the last value of each metric."""

    run_id: str
    name: str
    page: str
    """The address of MLflow's page on the run."""
    started: datetime
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]

    @property
    def is_done(self) -> bool:
        """Whether it finished."""
        return self.tags.get(records.STATUS) == records.Status.DONE


def store_uri(tracking_uri: str | None, results: Path) -> str:
    """Where runs are kept: the given URI, `$MLFLOW_TRACKING_URI`, or SQLite under `results`."""
    given = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{(results / 'mlflow.db').absolute()}"


def store_exists(uri: str) -> bool:
    """Whether opening the store would create nothing."""
    return not uri.startswith(_SQLITE) or Path(uri[len(_SQLITE) :]).exists()


class Store:
    """An MLflow tracking store. One experiment is one suite.

    Every method raises `StoreUnavailable` where the store cannot be reached, read or written, and
    `StoreError` where it refuses what it is given. Those that take a run's id raise `UnknownRun`
    where there is none of that id, and, where they write, if it was deleted; but `run` returns None
    then and `resume` False.
    """

    def __init__(self, uri: str, announce: Callable[[str], None] = lambda _: None) -> None:
        """Open the store at `uri`; a SQLite file that is not there yet is created.

        Args:
            uri: an MLflow tracking URI.
            announce: called with a line where the user has to wait.

        Raises:
            StoreUnavailable: the store cannot be opened.
        """
        self.uri = uri
        self._artifact_places: dict[str, str] = {}
        self._sqlite = (
            Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
        )
        try:
            if self._sqlite is not None:
                self._open_sqlite(self._sqlite, announce)
            if is_server(uri):
                _hear(uri)
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
        except RAISED as error:
            raise StoreUnavailable(
                f"cannot open the MLflow store {shown(uri)}: {reason(error)}"
            ) from error
        self._client = cast(MlflowClient, Guarded(client, uri))

    def _open_sqlite(self, database: Path, announce: Callable[[str], None]) -> None:
        """Create or repair the database; one process at a time, for two migrations kill one."""
        database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(database.with_suffix(".lock")):
            if not database.exists():
                announce(f"creating the MLflow store {database} (once, about 10 s)")
                MlflowClient(tracking_uri=self.uri).search_experiments(max_results=1)
            _follow_move(database)

    # --- writing -------------------------------------------------------------------------------

    def experiment(self, suite: str) -> str:
        """The id of the experiment of `suite`, which is created at its first use.

        Raises:
            StoreError: the experiment was deleted in MLflow.
        """
        found = self._client.get_experiment_by_name(suite)
        if found is None:
            try:
                place = self._artifact_location(suite)
                return str(self._client.create_experiment(suite, place, TRAINING_PAGES))
            except StoreError:  # another process was first
                found = self._client.get_experiment_by_name(suite)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise StoreError(
                f"the MLflow experiment {suite!r} was deleted: restore it, or run `mlflow gc`"
            )
        return str(found.experiment_id)

    def _artifact_location(self, suite: str) -> str | None:
        return str(_artifact_root(self._sqlite) / suite) if self._sqlite else None

    def begin(self, suite: str, name: str, tags: Mapping[str, str], parent: str = "") -> str:
        """The id of a new run in `suite`, under the run `parent` where one is given."""
        if parent:
            tags = {**tags, "mlflow.parentRunId": parent}
        run = self._client.create_run(self.experiment(suite), tags=dict(tags), run_name=name)
        return str(run.info.run_id)

    def resume(self, run_id: str, parent: str = "") -> bool:
        """Whether the earlier run is set to running again, under `parent`: not where it is gone."""
        try:
            self._client.update_run(run_id, status="RUNNING")
        except UnknownRun:
            return False
        under = {"mlflow.parentRunId": parent} if parent else {}
        self.tag(run_id, {records.STATUS: records.Status.RUNNING, records.ERROR: "", **under})
        return True

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set `tags` on the run (values cut to MLflow's limit)."""
        self._client.log_batch(run_id, tags=[RunTag(k, v[:5000]) for k, v in tags.items()])

    def params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Record the run's parameters."""
        batch = [Param(key, str(value)[:5000]) for key, value in params.items()]
        self._client.log_batch(run_id, params=batch)

    def points(self, run_id: str, points: Sequence[Point]) -> None:
        """Send `points` in as few calls as MLflow allows."""
        metrics = [Metric(p.key, p.value, p.timestamp_ms, p.step) for p in points]
        for start in range(0, len(metrics), POINTS_PER_BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + POINTS_PER_BATCH])

    def data_set(self, run_id: str, name: str, source: str, digests: Mapping[Any, str]) -> None:
        """Record the data set as an input of the run, once for each split in `digests`."""
        inputs = [
            DatasetInput(
                Dataset(name=name, digest=digest, source_type="code", source=source),
                tags=[InputTag("mlflow.data.context", split)],
            )
            for split, digest in digests.items()
        ]
        self._client.log_inputs(run_id, inputs)

    def attach(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Keep a file, or all of a folder, among the run's artifacts."""
        files = self._files(run_id)  # MLflow's client remembers a run's place beyond a store's end
        if path.is_dir():
            files.log_artifacts(str(path), folder)
        else:
            files.log_artifact(str(path), folder)

    def end(self, run_id: str, status: records.Status, error: str = "") -> None:
        """Close the run with `status` and the reason where it did not finish."""
        self.tag(run_id, {records.STATUS: status.value, records.ERROR: error})
        ended = {records.Status.DONE: "FINISHED", records.Status.INTERRUPTED: "KILLED"}
        self._client.set_terminated(run_id, ended.get(status, "FAILED"))

    @contextlib.contextmanager
    def system_metrics(self, run_id: str, resumed: bool) -> Iterator[None]:
        """Record system metrics in the run during the block."""
        monitor: Any = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
            run_id,
            sampling_interval=SYSTEM_METRICS_SECONDS,
            resume_logging=resumed,
            tracking_uri=self.uri,
        )
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()

    # --- reading -------------------------------------------------------------------------------

    def suites(self) -> list[str]:
        """The names of the suites that have runs here."""
        return sorted(e.name for e in self._client.search_experiments() if e.name != "Default")

    def cells(self, suite: str) -> list[RecordedCell]:
        """The runs of all cells of `suite`, newest first."""
        return [self._recorded(run) for run in self._search(suite, "cell")]

    def planned(self, suite: str) -> list[RecordedCell]:
        """The cells of the newest invocation of `suite`, as if each had a run yet to begin."""
        invocations = self._search(suite, "suite")[:1]
        plans = [(run, self._plan(run.info.run_id)) for run in invocations]
        return [
            RecordedCell(
                run_id="",
                name=cell["name"],
                page="",
                started=_start_of(run),
                params={key: str(value) for key, value in cell["params"].items()},
                tags=cell["tags"] | {records.STATUS: records.Status.MISSING.value},
                metrics={},
            )
            for run, plan in plans
            for cell in plan
        ]

    def _plan(self, run_id: str) -> list[dict[str, Any]]:
        """The plan of an invocation; none where that was killed before it was all there."""
        path = self.artifact(run_id, records.PLAN)
        try:
            return list(json.loads(path.read_bytes())) if path is not None else []
        except ValueError:
            return []

    def run(self, run_id: str) -> RecordedCell | None:
        """The run of that id; None where there is none, or it was deleted."""
        try:
            run = self._client.get_run(run_id)
        except UnknownRun:
            return None
        return self._recorded(run) if run.info.lifecycle_stage == "active" else None

    def open_runs(self, suite: str) -> list[RecordedCell]:
        """The runs of cells and invocations of `suite` that MLflow holds for running."""
        running = " and attributes.status = 'RUNNING'"
        found = [*self._search(suite, "cell", running), *self._search(suite, "suite", running)]
        return [self._recorded(run) for run in found]

    def latest_invocation(self, suite: str) -> str | None:
        """The id of the newest parent run of `suite`."""
        runs = self._search(suite, "suite")
        return str(runs[0].info.run_id) if runs else None

    def _search(self, suite: str, kind: str, more: str = "") -> list[Run]:
        experiment = self._client.get_experiment_by_name(suite)
        if experiment is None:
            return []
        found: list[Run] = []
        token: str | None = None
        while True:
            page: PagedList[Run] = self._client.search_runs(
                [experiment.experiment_id],
                filter_string=f"tags.`{records.KIND}` = '{kind}'{more}",
                order_by=["attributes.start_time DESC"],
                max_results=1000,
                page_token=token,
            )
            found += page
            self._artifact_places |= {run.info.run_id: run.info.artifact_uri for run in page}
            token = page.token
            if not token:
                return found

    def curve(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """All recorded values of `metric` as (step, value), by step."""
        history = self._client.get_metric_history(run_id, metric)
        return sorted({m.step: m.value for m in sorted(history, key=lambda m: m.timestamp)}.items())

    def history(self, run_id: str, without: tuple[str, ...]) -> list[Point]:
        """Every recorded value of every metric whose name begins with none of `without`."""
        keys = self._client.get_run(run_id).data.metrics
        return [
            Point(m.key, m.value, m.step, m.timestamp)
            for key in keys
            if not key.startswith(without)
            for m in self._client.get_metric_history(run_id, key)
        ]

    def done_elsewhere(self, suite: str) -> list[RecordedCell]:
        """The finished cells of all other suites, newest first."""
        others = [name for name in self.suites() if name != suite]
        runs = [run for other in others for run in self.cells(other) if run.is_done]
        return sorted(runs, key=lambda run: run.started, reverse=True)

    def cells_and_borrowed(self, suite: str) -> list[RecordedCell]:
        """The runs of `suite`, and those of others that its newest invocation counts in."""
        runs = self.cells(suite)
        ours = {run.tags.get(records.CELL) for run in runs if run.is_done}
        wanted = {run.tags.get(records.CELL) for run in self.planned(suite)} - ours
        found: dict[str, RecordedCell] = {}
        for run in self.done_elsewhere(suite) if wanted else []:
            if run.tags.get(records.CELL) in wanted:
                found.setdefault(run.tags[records.CELL], run)
        return [*runs, *found.values()]

    def clear_weights(self, suite: str) -> int:
        """Delete the weights of all cells of `suite`; returns their bytes."""
        freed = 0
        for run in self.cells(suite):
            files = self._files(run.run_id)
            if records.CHECKPOINT in {entry.path for entry in files.list_artifacts()}:
                files.delete_artifacts(records.CHECKPOINT)
            freed += int(run.tags.get(records.WEIGHTS_BYTES, 0))
            self.tag(run.run_id, {records.WEIGHTS_BYTES: "0"})
        return freed

    def artifact(self, run_id: str, path: str) -> Path | None:
        """The run's artifact, to read only, or None where the run has none of that name."""
        files = self._files(run_id)
        if path not in {entry.path for entry in files.list_artifacts()}:
            return None
        if isinstance(files.target, LocalArtifactRepository):  # here already: no copy is needed
            return Path(files.get_local_path(path))
        copies = Path(self._downloads) / run_id
        copies.mkdir(exist_ok=True)
        return Path(files.download_artifacts(path, str(copies)))

    def _files(self, run_id: str) -> Guarded:
        """MLflow's repository of the run's artifacts."""
        if run_id not in self._artifact_places:
            info = self._client.get_run(run_id).info
            self._artifact_places[run_id] = info.artifact_uri
        place = self._artifact_places[run_id]
        with reported(place, (Exception,)):  # the client of a cloud raises what it likes
            files = get_artifact_repository(place, tracking_uri=self.uri)
        return Guarded(files, place, (Exception,))

    @cached_property
    def _downloads(self) -> str:
        """A folder for local copies, deleted with this object."""
        folder = tempfile.mkdtemp(prefix="nextframe-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _recorded(self, run: Run) -> RecordedCell:
        info = run.info
        return RecordedCell(
            run_id=info.run_id,
            name=info.run_name or info.run_id,
            page=f"{self._pages}/#/experiments/{info.experiment_id}/runs/{info.run_id}",
            started=_start_of(run),
            params=dict(run.data.params),
            tags=dict(run.data.tags),
            metrics=dict(run.data.metrics),
        )

    @property
    def _pages(self) -> str:
        """Where MLflow's pages on this store are: the server, or what `ui_command` serves."""
        parts = urlsplit(self.uri)
        if parts.scheme not in ("http", "https"):
            return f"http://{ui.HOST}:{ui.PORT}"
        host = parts.netloc.rpartition("@")[2]  # a password is no part of a report
        return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"

    @property
    def ui_command(self) -> str:
        """The line that opens MLflow's own pages on this store."""
        return f"python -m bench ui --tracking-uri {self.uri}"


def is_server(uri: str) -> bool:
    """Whether the store is an MLflow tracking server."""
    return uri.startswith(("http://", "https://"))


def _hear(server: str) -> None:
    """Return where the server answers at all, or refuses to, which MLflow tells in seconds.

    Raises:
        TimeoutError: it is silent, which MLflow would take minutes to tell.
    """
    try:
        with urlopen(Request(server, method="HEAD"), timeout=ANSWER_SECONDS):  # noqa: S310
            pass
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {ANSWER_SECONDS} s") from error
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(getattr(error, "reason", None), TimeoutError):
            raise TimeoutError(f"no answer within {ANSWER_SECONDS} s") from error


def _start_of(run: Run) -> datetime:
    return datetime.fromtimestamp(run.info.start_time / 1000, UTC)


def _artifact_root(database: Path) -> Path:
    return database.absolute().parent / "artifacts"


def _follow_move(database: Path) -> None:
    """Correct the absolute artifact paths of a database whose folder was moved or copied."""
    here = str(_artifact_root(database))
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        rows = connection.execute(
            "SELECT name, artifact_location FROM experiments WHERE experiment_id != 0"
        )
        for name, location in rows.fetchall():
            old = str(location).removesuffix(f"/{name}")
            if old != here and old.endswith("/artifacts") and not Path(location).exists():
                for table, column in (
                    ("experiments", "artifact_location"),
                    ("runs", "artifact_uri"),
                ):
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                        f"WHERE substr({column}, 1, ?) = ?",
                        (here, len(old) + 1, len(old), old),
                    )
