"""The only file that uses MLflow's client: opens a store, writes runs and reads them back."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import shlex
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # errors are raised, and said once
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # 15 s; MLflow's own 7 take minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunInfo, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.entities import PagedList

from bench import PROGRAM, records
from bench.errors import unknown
from bench.records import Point
from bench.store import ui, view
from bench.store.address import database_file, is_server, shown, store_exists
from bench.store.errors import NoStore, StoreError, StoreUnavailable, UnknownRun
from bench.store.guard import RAISED, Guarded, reason, reported
from bench.store.sqlite import OURS, TRAINING_PAGES, Database

POINTS_PER_BATCH = 1000  # MLflow's limit for one call
TRIES = 10  # at what another process did first
PARENT = "mlflow.parentRunId"
SERVED = "mlflow-artifacts:/"  # where a server keeps them that takes them itself
ANSWER_SECONDS = 10  # that a server has for its first one
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

    @property
    def weights_bytes(self) -> int:
        """The size of its stored weights; 0 where it has none."""
        size = self.tags.get(records.WEIGHTS_BYTES, "")
        return int(size) if size.isdecimal() else 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


class Store:
    """An MLflow tracking store. One experiment is one suite.

    Every method raises `StoreUnavailable` where the store cannot be reached, read or written, and
    `StoreError` where it refuses what it is given. Those that take a run's id raise `UnknownRun`
    where there is none of that id, and, where they write, if it was deleted; but `run` returns None
    then and `resume` False.
    """

    def __init__(
        self,
        uri: str,
        announce: Callable[[str], None] = _say,
        create: bool = True,
        may_be_away: bool = False,
    ) -> None:
        """Open the store at `uri`.

        Args:
            uri: an MLflow tracking URI.
            announce: called with a line where the user has to wait, or should know.
            create: whether a SQLite database that is not there yet is made.
            may_be_away: whether a server need not answer yet.

        Raises:
            NoStore: it is not there, and not to be made.
            StoreUnavailable: it cannot be opened.
        """
        self.uri, self._announce = uri, announce
        self._places: dict[str, str] = {}  # of each run's artifacts
        self._own: dict[str, str] = {}  # the place of each experiment that is kept beside SQLite
        if not create and not store_exists(uri):
            raise NoStore(shown(uri))
        file = database_file(uri)
        self._database = (
            Database(file.parent.resolve() / file.name, announce) if file is not None else None
        )
        try:
            if self._database is not None:
                self._own = self._database.open(create)
            client = MlflowClient(tracking_uri=uri)
            if is_server(uri) and not may_be_away:
                with contextlib.suppress(ConnectionError):  # MLflow tries for some seconds
                    _hear(uri)
            if not (is_server(uri) and may_be_away):
                client.search_experiments(max_results=1)
        except (*RAISED, ImportError) as error:  # the driver of another database
            why = reason(error)
            if isinstance(error, ImportError) and uri.startswith("postgresql"):
                why += ": pip install 'nextframe[postgresql]', and write postgresql+psycopg2://"
            raise StoreUnavailable(f"cannot open the MLflow store {shown(uri)}: {why}") from error
        self._client = cast(MlflowClient, Guarded(client, uri))

    def hear(self) -> None:
        """Return where the store can be used now, as far as can be told at once.

        Raises:
            StoreUnavailable: it is a server that does not answer.
        """
        if is_server(self.uri):
            with reported(self.uri, (OSError,)):
                _hear(self.uri)

    # --- writing -------------------------------------------------------------------------------

    def experiment(self, suite: str) -> str:
        """The id of the experiment of `suite`, which is created at its first use.

        Raises:
            StoreError: the experiment was deleted in MLflow.
        """
        found = self._client.get_experiment_by_name(suite)
        if found is None:
            try:
                if self._database is None:
                    place, tags = None, dict([TRAINING_PAGES])
                else:
                    place, tags = self._database.place(suite), dict([TRAINING_PAGES, OURS])
                return str(self._client.create_experiment(suite, place, tags))
            except StoreError:  # another process was first
                found = self._client.get_experiment_by_name(suite)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise StoreError(
                f"the MLflow experiment {suite!r} was deleted: restore it, or run `mlflow gc`"
            )
        return str(found.experiment_id)

    def begin(self, suite: str, name: str, tags: Mapping[str, str], parent: str = "") -> str:
        """The id of a new run in `suite`, under the run `parent` where one is given."""
        if parent:
            tags = {**tags, PARENT: parent}
        run = self._client.create_run(self.experiment(suite), tags=dict(tags), run_name=name)
        return str(run.info.run_id)

    def resume(self, run_id: str, parent: str = "") -> bool:
        """Whether the earlier run is set to running again, under `parent`: not where it is gone."""
        try:
            self._client.update_run(run_id, status="RUNNING")
        except UnknownRun:
            return False
        under = {PARENT: parent} if parent else {}
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
        """Record the data set as an input of the run, once for each split in `digests`.

        Of cells that begin at the same moment MLflow lets one enter a new data set.
        """
        inputs = [
            DatasetInput(
                Dataset(name=name, digest=digest, source_type="code", source=source),
                tags=[InputTag("mlflow.data.context", split)],
            )
            for split, digest in digests.items()
        ]
        for tries_left in reversed(range(TRIES)):
            try:
                self._client.log_inputs(run_id, inputs)
                return
            except StoreError as error:
                if not tries_left or "unique constraint" not in str(error).lower():
                    raise
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311

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
    def system_metrics(self, run_id: str, resumed: bool, gpu: str) -> Iterator[list[Point]]:
        """Record system metrics in the run during the block, of the GPU of that UUID alone.

        What could not be sent is in the list afterwards.
        """
        from bench.store.system import SystemMetrics

        def send(points: Sequence[Point]) -> None:
            self.hear()
            self.points(run_id, points)

        monitor = SystemMetrics(run_id, resumed, self.uri, gpu, send)
        monitor.start()  # type: ignore[no-untyped-call]
        try:
            yield monitor.unsent
        finally:
            monitor.finish()

    # --- copying -------------------------------------------------------------------------------

    def closed(self, suite: str) -> list[RecordedCell]:
        """The runs of every kind that ended in `suite`, parents before what they hold."""
        found = self._search(suite, "%", " and attributes.status != 'RUNNING'", "LIKE")
        runs = sorted(map(self._recorded, found), key=lambda run: run.started)
        return sorted(runs, key=lambda run: PARENT in run.tags)

    def copied(self, suite: str, origin: str) -> str | None:
        """The id of the run of `suite` that is `origin` or a whole copy of it; deletes half ones.

        A run is whole once it says of what kind it is, which a copy does last.
        """
        if self.run(origin) is not None:
            return origin
        experiment = self._client.get_experiment_by_name(suite)
        if experiment is None:
            return None
        same = f"tags.`{records.COPY_OF}` = '{origin}'"
        whole = None
        for run in self._client.search_runs([experiment.experiment_id], same):
            if records.KIND in run.data.tags:
                whole = str(run.info.run_id)
            else:
                self._client.delete_run(run.info.run_id)
        return whole

    def copy(self, suite: str, run_id: str, to: Store, parent: str = "") -> str:
        """The id, in the store `to`, of a copy of a run: all that is recorded of it, at its times.

        It is under the run `parent` there. Cut short, it is a half copy, of no kind.
        """
        run = self._client.get_run(run_id)
        tags = {key: value for key, value in run.data.tags.items() if key != PARENT}
        origin = {records.COPY_OF: tags.get(records.COPY_OF, run_id)}
        kind = {records.KIND: tags.pop(records.KIND)}
        above = {PARENT: parent} if parent else {}
        new = str(
            to._client.create_run(
                to.experiment(suite),
                start_time=run.info.start_time,
                tags=tags | origin | above,
                run_name=run.info.run_name,
            ).info.run_id
        )
        to.params(new, run.data.params)
        to.points(new, self.history(run_id, ()))
        if run.inputs and run.inputs.dataset_inputs:
            to._client.log_inputs(new, run.inputs.dataset_inputs)
        files = self._files(run_id)
        if files.list_artifacts():
            with tempfile.TemporaryDirectory(prefix="nextframe-") as folder:
                here = isinstance(files.target, LocalArtifactRepository)
                place = files.get_local_path("") if here else files.download_artifacts("", folder)
                to.attach(new, Path(place))
        to.tag(new, kind)
        to._client.set_terminated(new, run.info.status, run.info.end_time)
        return new

    # --- reading -------------------------------------------------------------------------------

    def suites(self) -> list[str]:
        """The names of the suites that have runs here."""
        return sorted(e.name for e in self._client.search_experiments() if e.name != "Default")

    def require_suite(self, suite: str) -> None:
        """Make sure that there are runs of `suite`.

        Raises:
            UserError: there are none; it names the nearest suite.
        """
        if suite not in (names := self.suites()):
            raise unknown("suite", suite, names)

    def pages(self, server: str) -> dict[str, str]:
        """The address of each suite's page on the `server`, the one that was changed last first.

        Those of `tune`, whose trials have no test, come after all others. A page shows the cells as
        `view` says, which is kept here.
        """
        order = ["last_update_time DESC"]
        pages: dict[str, str] = {}
        of_trials: dict[str, str] = {}
        for experiment in self._client.search_experiments(order_by=order):
            number, is_cell = str(experiment.experiment_id), f"tags.`{records.KIND}` = 'cell'"
            cells = self._client.search_runs([number], is_cell, max_results=1)
            if cells:
                task = cells[0].data.params.get("task", "prediction")
                shown = view.cells("recognition" if task == "recognition" else "prediction")
                if experiment.tags.get(view.TAG) != shown:
                    self._client.set_experiment_tag(number, view.TAG, shown)
                kind = of_trials if "trial" in cells[0].data.params else pages
                kind[experiment.name] = server.rstrip("/") + view.path(number)
        return pages | of_trials

    def cells(self, suite: str, kind: str = "cell") -> list[RecordedCell]:
        """The runs of all cells of `suite`, or of another kind, newest first."""
        return [self._recorded(run) for run in self._search(suite, kind)]

    def planned(self, suite: str) -> list[RecordedCell]:
        """The cells of the newest invocation of `suite`, as if each had a run yet to begin."""
        invocations = self._search(suite, "suite")[:1]
        return [cell for run in invocations for cell in self._plan_of(run)]

    def _plan_of(self, run: Run) -> list[RecordedCell]:
        """The cells that the invocation planned; none, said in a line, where that is damaged."""
        path = self.artifact(run.info.run_id, records.PLAN)
        if path is None:
            return []
        try:
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
                for cell in json.loads(path.read_text(encoding="utf-8"))
            ]
        except (ValueError, TypeError, KeyError, AttributeError):  # JSON, but of another shape
            self._announce(f"{path} is damaged: cells that were not run are not counted")
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

    def _search(
        self, suite: str, kind: str, more: str = "", compared: Literal["=", "LIKE"] = "="
    ) -> list[Run]:
        experiment = self._client.get_experiment_by_name(suite)
        if experiment is None:
            return []
        found: list[Run] = []
        token: str | None = None
        while True:
            page: PagedList[Run] = self._client.search_runs(
                [experiment.experiment_id],
                filter_string=f"tags.`{records.KIND}` {compared} '{kind}'{more}",
                order_by=["attributes.start_time DESC"],
                max_results=1000,
                page_token=token,
            )
            found += page
            self._places |= {run.info.run_id: self._place(run.info) for run in page}
            token = page.token
            if not token:
                return found

    def curve(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """All recorded values of `metric` as (step, value), by step."""
        return self.curves_of(run_id, (metric,))[0]

    def curves_of(self, run_id: str, metrics: Sequence[str]) -> list[list[tuple[int, float]]]:
        """The curve of each of `metrics`."""
        if self._database is not None:
            with reported(self.uri):
                found = self._database.values(run_id, metrics)
        else:
            histories = [self._client.get_metric_history(run_id, metric) for metric in metrics]
            found = [
                [(m.step, m.value) for m in sorted(history, key=lambda m: m.timestamp)]
                for history in histories
            ]
        return [sorted(dict(values).items()) for values in found]

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

    def clear_weights(self, run_id: str) -> None:
        """Delete the weights of a cell; all else of it stays."""
        files = self._files(run_id)
        if records.CHECKPOINT in {entry.path for entry in files.list_artifacts()}:
            files.delete_artifacts(records.CHECKPOINT)
        self.tag(run_id, {records.WEIGHTS_BYTES: "0"})

    def size_bytes(self, run_id: str) -> int:
        """The size of all artifacts of the run."""
        files, folders, size = self._files(run_id), [""], 0
        while folders:
            for entry in files.list_artifacts(folders.pop()):
                if entry.is_dir:
                    folders.append(entry.path)
                size += entry.file_size or 0
        return size

    def delete(self, run_id: str) -> None:
        """Delete the run with its artifacts: no report shows it any more."""
        files = self._files(run_id)
        for entry in files.list_artifacts():
            files.delete_artifacts(entry.path)
        self._client.delete_run(run_id)

    def holds(self, run_id: str, path: str) -> bool:
        """Whether the run has an artifact of that name."""
        return _holds(self._files(run_id), path)

    def artifact(self, run_id: str, path: str) -> Path | None:
        """The run's artifact, to read only, or None where the run has none of that name."""
        files = self._files(run_id)
        if not _holds(files, path):
            return None
        if isinstance(files.target, LocalArtifactRepository):  # here already: no copy is needed
            return Path(files.get_local_path(path))
        copies = Path(self._downloads) / run_id
        copies.mkdir(exist_ok=True)
        return Path(files.download_artifacts(path, str(copies)))

    def _files(self, run_id: str) -> Guarded:
        """MLflow's repository of the run's artifacts."""
        if run_id not in self._places:
            self._places[run_id] = self._place(self._client.get_run(run_id).info)
        place = self._places[run_id]
        with reported(place, (Exception,)):  # the client of a cloud raises what it likes
            files = get_artifact_repository(place, tracking_uri=self.uri)
        return Guarded(files, place, (Exception,))

    def _place(self, info: RunInfo) -> str:
        """Where the run's artifacts lie, also in a moved database that cannot be corrected."""
        recorded = str(info.artifact_uri)
        if self._database is not None and recorded.startswith(SERVED):  # by `ui --serve`
            return f"{self._database.artifacts}/{recorded.removeprefix(SERVED).lstrip('/')}"
        end = f"/{info.run_id}/artifacts"
        own = self._own.get(info.experiment_id)
        return own + end if own and recorded.endswith(end) else recorded

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
        return f"{PROGRAM} ui --tracking-uri {shlex.quote(self.uri)}"


def _holds(files: Guarded, path: str) -> bool:
    return path in {entry.path for entry in files.list_artifacts()}


def _hear(server: str) -> None:
    """Return where the server answers at all, be it with an error.

    Raises:
        TimeoutError: it is silent, which MLflow would take minutes to tell.
        ConnectionError: it cannot be reached.
    """
    try:
        with urlopen(Request(server, method="HEAD"), timeout=ANSWER_SECONDS):  # noqa: S310
            pass
    except HTTPError:
        pass
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "reason", error)
        if isinstance(why, TimeoutError):
            raise TimeoutError(f"no answer within {ANSWER_SECONDS} s") from error
        raise ConnectionError(reason(error)) from error


def _start_of(run: Run) -> datetime:
    return datetime.fromtimestamp(run.info.start_time / 1000, UTC)
