"""A results folder's database is whole or is made anew, and knows its own artifacts."""

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow.store.db_migrations
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from mlflow import MlflowClient
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine

from bench import records
from bench.errors import UserError
from bench.records import Status
from bench.store.address import store_uri
from bench.store.errors import StoreUnavailable
from bench.store.mlflow import Store
from bench.store.sqlite import BUSY_SECONDS
from tests.bench.conftest import environment

SCRIPTS = str(Path(mlflow.store.db_migrations.__path__[0]))


@pytest.fixture
def results(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder with an empty store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return shutil.copytree(empty_store, tmp_path / "results")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file to attach to a run."""
    path = tmp_path / "log.txt"
    path.write_text("hello", encoding="utf-8")
    return path


def _open(results: Path, said: list[str] | None = None, create: bool = True) -> Store:
    return Store(store_uri(None, results), (said if said is not None else []).append, create)


def _begin(store: Store) -> str:
    return store.begin("mnist", "a/b/0", {records.KIND: "cell"})


def _holds_a_file(store: Store, run_id: str, file: Path, folder: Path) -> bool:
    found = store.artifact(run_id, file.name)
    return found is not None and found.is_relative_to(folder.resolve())


# --- half made ----------------------------------------------------------------------------------


def _empty(database: Path) -> None:
    database.touch()
    journal = database.with_name("mlflow.db-journal")
    journal.write_bytes(b"must not be played back into the new one")


def _half_migrated(database: Path) -> None:
    engine = create_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.set_main_option("sqlalchemy.url", f"sqlite:///{database}")
    revisions = [script.revision for script in ScriptDirectory(SCRIPTS).walk_revisions()]
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revisions[len(revisions) // 2])
    engine.dispose()


def _in_a_migration(database: Path) -> None:
    _half_migrated(database)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE _alembic_tmp_runs (run_uuid TEXT)")


@pytest.mark.parametrize("half", [_empty, _in_a_migration])
def test_a_half_made_database_is_made_anew(tmp_path: Path, half: Callable[[Path], None]) -> None:
    half(tmp_path / "mlflow.db")
    with pytest.raises(StoreUnavailable, match="there is no MLflow store"):
        _open(tmp_path, create=False)
    said: list[str] = []
    assert _begin(_open(tmp_path, said))
    assert any("half made" in line for line in said)
    assert _begin(_open(tmp_path, said))
    assert (tmp_path / "mlflow.db.half-made").exists()
    assert not (tmp_path / "mlflow.db-journal").exists()


def test_a_half_migrated_database_that_holds_a_run_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    _half_migrated(database)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO experiments (experiment_id, name) VALUES (1, 'mnist')")
    before = database.read_bytes()
    with pytest.raises(StoreUnavailable, match="mlflow db upgrade"):
        _open(tmp_path)
    assert database.read_bytes() == before
    assert [path.name for path in tmp_path.glob("mlflow.db*")] == ["mlflow.db"]


def test_a_kill_while_it_is_made_leaves_no_database(tmp_path: Path) -> None:
    code = "from bench.store.mlflow import Store; import sys; Store(sys.argv[1])"
    line = [sys.executable, "-c", code, store_uri(None, tmp_path)]
    child = subprocess.Popen(line, env=environment(), stderr=subprocess.DEVNULL)
    begun = tmp_path / ".mlflow.db.new"
    while child.poll() is None and not (begun.exists() and begun.stat().st_size > 100_000):
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()
    assert _begin(_open(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.lock"}


# --- not ours, or broken ------------------------------------------------------------------------


def _change(results: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(results / "mlflow.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def _newer(results: Path) -> None:
    _begin(_open(results))
    _change(results, "UPDATE alembic_version SET version_num = 'ffffffffffff'")


def _older(results: Path) -> None:
    _begin(_open(results))
    earlier = list(ScriptDirectory(SCRIPTS).walk_revisions())[3].revision
    _change(results, f"UPDATE alembic_version SET version_num = '{earlier}'")  # noqa: S608


def _truncated(results: Path) -> None:
    _begin(_open(results))
    os.truncate(results / "mlflow.db", 300_000)


def _garbage(results: Path) -> None:
    (results / "mlflow.db").write_bytes(b"garbage" * 1000)


def _of_another_program(results: Path) -> None:
    (results / "mlflow.db").unlink()
    _change(results, "CREATE TABLE books (name TEXT)", "INSERT INTO books VALUES ('a')")


def _folder(results: Path) -> None:
    (results / "mlflow.db").unlink()
    (results / "mlflow.db").mkdir()


def _pipe(results: Path) -> None:
    (results / "mlflow.db").unlink()
    os.mkfifo(results / "mlflow.db")


BROKEN = {
    _newer: "newer MLflow",
    _older: "mlflow db upgrade",
    _truncated: "malformed",
    _garbage: "not a database",
    _of_another_program: "not MLflow's",
    _folder: "no file",
    _pipe: "no file",
}


@pytest.mark.parametrize(("broken", "word"), BROKEN.items())
def test_a_database_that_cannot_be_used_is_one_line_and_stays(
    results: Path,
    broken: Callable[[Path], None],
    word: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    broken(results)
    database = results / "mlflow.db"
    before = database.read_bytes() if database.is_file() else None
    with pytest.raises(StoreUnavailable, match=word) as caught:
        _open(results)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert (database.read_bytes() if database.is_file() else None) == before


def test_a_locked_database_is_one_line(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.store.sqlite.BUSY_SECONDS", 0.1)
    with contextlib.closing(sqlite3.connect(results / "mlflow.db")) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="locked"):
            _open(results)


@contextlib.contextmanager
def _no_room(more_than: int) -> Iterator[None]:
    """During the block no file can grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (more_than, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 100_000])
def test_no_room_for_a_new_database_leaves_none(tmp_path: Path, room: int) -> None:
    with _no_room(room), pytest.raises(StoreUnavailable, match="cannot open the MLflow store"):
        _open(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.lock"}


def test_no_room_for_a_record_is_unavailable_and_loses_nothing(results: Path, file: Path) -> None:
    store = _open(results)
    run_id = _begin(store)
    with _no_room(10):
        with pytest.raises(StoreUnavailable):
            store.params(run_id, {f"key{number}": "x" * 4000 for number in range(50)})
        with pytest.raises(StoreUnavailable):
            store.attach(run_id, results / "mlflow.db")
    store.params(run_id, {"key0": "x"})
    store.end(run_id, Status.DONE)
    (run,) = store.cells("mnist")
    assert run.params == {"key0": "x"}


# --- moved, copied, linked ----------------------------------------------------------------------


def _tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_copy_writes_to_itself_while_the_original_is_there(
    results: Path, file: Path, tmp_path: Path
) -> None:
    store = _open(results)
    first = _begin(store)
    store.attach(first, file)
    copied = shutil.copytree(results, tmp_path / "copy")
    original = _tree(results)
    said: list[str] = []
    copy = _open(copied, said)
    assert any("moved or copied" in line for line in said)
    second = _begin(copy)
    copy.attach(second, file)
    copy.attach(first, file, "again")
    assert _tree(results) == original
    shutil.rmtree(results)
    again = _open(copied, said := [])
    assert said == []
    assert all(_holds_a_file(again, run, file, copied) for run in (first, second))
    for run in (first, second):  # MLflow's own pages find them too
        uri = MlflowClient(store_uri(None, copied)).get_run(run).info.artifact_uri
        assert (Path(str(uri)) / file.name).is_file()


def test_a_renamed_experiment_goes_with_its_folder(
    results: Path, file: Path, tmp_path: Path
) -> None:
    store = _open(results)
    run_id = _begin(store)
    store.attach(run_id, file)
    store._client.rename_experiment(store.experiment("mnist"), "before the summer")
    moved = results.rename(tmp_path / "moved")
    assert _holds_a_file(_open(moved), run_id, file, moved)


def test_a_database_of_before_the_tag_is_known_as_ours(
    results: Path, file: Path, tmp_path: Path
) -> None:
    store = _open(results)
    run_id = _begin(store)
    store.attach(run_id, file)
    _change(results, "DELETE FROM experiment_tags WHERE key = 'bench.artifacts'")
    copied = shutil.copytree(results, tmp_path / "copy")
    assert _holds_a_file(_open(copied), run_id, file, copied)


@pytest.mark.parametrize("place", ["s3://bucket/artifacts/mnist", "{}/elsewhere/artifacts/mnist"])
def test_artifacts_that_the_user_placed_elsewhere_stay_there(
    results: Path, tmp_path: Path, place: str
) -> None:
    place = place.format(tmp_path)
    if place.startswith("/"):
        Path(place).mkdir(parents=True)
    client = MlflowClient(store_uri(None, results))
    client.create_experiment("mnist", place)
    moved = shutil.copytree(results, tmp_path / "copy")
    store = _open(moved, said := [])
    assert said == []
    assert store._client.get_run(_begin(store)).info.artifact_uri.startswith(f"{place}/")


def test_a_link_and_its_folder_are_one(results: Path, file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(results)
    said: list[str] = []
    run_id = _begin(_open(link, said))
    _open(link, said).attach(run_id, file)
    assert _holds_a_file(_open(results, said), run_id, file, results)
    assert _holds_a_file(_open(link, said), run_id, file, results)
    assert said == []


def test_a_copy_that_cannot_be_written_finds_its_own_artifacts(
    results: Path, file: Path, tmp_path: Path, read_only: Callable[[Path], None]
) -> None:
    store = _open(results)
    run_id = _begin(store)
    store.attach(run_id, file)
    copied = shutil.copytree(results, tmp_path / "copy")
    read_only(copied)
    copy = _open(copied, create=False)
    assert len(copy.cells("mnist")) == 1
    assert _holds_a_file(copy, run_id, file, copied)
    with pytest.raises(StoreUnavailable):
        copy.end(run_id, Status.DONE)
    with pytest.raises(StoreUnavailable):
        copy.attach(run_id, file, "new")


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Makes a folder read only: by its permissions, or for root, who needs none, by a mount."""
    made: list[Path] = []

    def make(folder: Path) -> None:
        if os.geteuid() != 0:
            for path in (*folder.rglob("*"), folder):
                path.chmod(0o555 if path.is_dir() else 0o444)
            made.append(folder)
            return
        mount = ["mount", "--bind", str(folder), str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("root may write everywhere, and cannot mount here")
        made.append(folder)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)

    yield make
    for folder in made:
        if os.geteuid() == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        else:
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o755)


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my results #1", "a%41b", "what?", "a'b\"(c)&;$x", "ü é", "100%"])
def test_a_folder_of_any_name_holds_a_store(
    results: Path, file: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    odd = results.rename(tmp_path / name)
    store = _open(odd)
    run_id = _begin(store)
    store.attach(run_id, file)
    assert list(odd.glob(f"artifacts/mnist/{run_id}/artifacts/{file.name}"))
    assert _holds_a_file(_open(odd), run_id, file, odd)
    assert {path.name for path in tmp_path.iterdir()} == {name, "empty", file.name}
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_name_that_no_database_can_hold_is_refused(tmp_path: Path) -> None:
    for name in (b"\xff".decode("utf-8", "surrogateescape"), "two\nlines"):
        with pytest.raises(UserError, match="control characters"):
            store_uri(None, tmp_path / name)


def _looks_up_a_curve(database: Path) -> str:
    """The index by which SQLite finds one metric of one run."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = "EXPLAIN QUERY PLAN SELECT * FROM metrics WHERE run_uuid = 'a' AND key = 'b'"
        return str(connection.execute(query).fetchone()[-1])


def test_a_curve_among_many_is_found_by_its_run(results: Path) -> None:
    store = _open(results)
    runs = [_begin(store) for _ in range(10)]
    database = results / "mlflow.db"
    rows = [("train/loss", 0.5, step, run, step, 0) for step in range(2_000) for run in runs]
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.executemany(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        connection.commit()
    assert "run_uuid=" not in _looks_up_a_curve(database)
    with contextlib.closing(sqlite3.connect(database)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        _open(results, create=False)  # somebody writes: later
        assert time.monotonic() - began < BUSY_SECONDS
    assert "run_uuid=" not in _looks_up_a_curve(database)
    _open(results, create=False)
    assert "run_uuid=? AND key=?" in _looks_up_a_curve(database)
