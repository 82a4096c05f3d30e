"""Nothing measured is lost where MLflow cannot take it: it is kept, and recorded later, once."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench import records
from bench.console import SCREEN
from bench.records import Point, Status
from bench.run.checkpoint import Checkpoint
from bench.run.events import Event, Finished, Note, Progress
from bench.run.worker import Worker
from bench.store.errors import StoreUnavailable
from bench.store.mlflow import RecordedCell, Store
from bench.suite.cell import Cell
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from tests.bench.conftest import SUITE, USER_MODELS, Bench


@pytest.fixture
def results(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copytree(empty_store, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def cell(user_suite: Path, user_models: Path) -> Cell:
    return _settled(user_suite, f"{user_models}:Tiny")


def _settled(suite: Path, model: str, **overrides: object) -> Cell:
    loaded = load_suite(str(suite)).with_overrides(models=[model], device="cpu", **overrides)
    return settle(loaded)[0]


def _store(results: Path) -> Store:
    return Store(f"sqlite:///{results}/mlflow.db")


def _work(
    cell: Cell,
    results: Path,
    stop: Callable[[], bool] = lambda: False,
    told: Callable[[Event], None] = lambda _: None,
) -> Finished:
    return Worker(cell, _store(results), results, SCREEN).work(told, stop)


def _interrupted(cell: Cell, results: Path, calls: int = 6) -> Checkpoint:
    """The checkpoint of the cell, stopped in training."""
    left = iter(range(calls))
    end = _work(cell, results, lambda: next(left, None) is None)
    assert end.status is Status.INTERRUPTED, end
    checkpoint = Checkpoint(results, cell.trained)
    assert checkpoint.has_state
    return checkpoint


def _whole(run: RecordedCell, results: Path) -> dict[str, list[tuple[int, float]]]:
    """Every recorded value of what no two runs differ in."""
    points = _store(results).history(
        run.run_id, ("system/", "time/", "speed/", "memory/", "conditions/")
    )
    found: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        found.setdefault(point.key, []).append((point.step, point.value))
    return {key: sorted(values) for key, values in found.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> dict[str, object]:
    """All that is recorded of the cell where nothing comes between."""
    calm = shutil.copytree(empty_store, tmp_path_factory.mktemp("calm") / "results")
    models = calm.parent / "mine.py"
    models.write_text(USER_MODELS, encoding="utf-8")
    suite = calm.parent / "own.toml"
    suite.write_text(SUITE.format(models=models), encoding="utf-8")
    _work(_settled(suite, f"{models}:Tiny"), calm)
    (run,) = _store(calm).cells("own")
    whole = _whole(run, calm)
    doubled = [key for key, values in whole.items() if max(Counter(values).values()) > 1]
    assert not doubled
    return dict(whole)


def _nothing(checkpoint: Path) -> None:
    pass


def _lost_run_id(checkpoint: Path) -> None:
    (checkpoint / "run_id").unlink()


def _damaged_run_id(checkpoint: Path) -> None:
    (checkpoint / "run_id").write_bytes(b"\xff\x00")


def _unknown_run_id(checkpoint: Path) -> None:
    (checkpoint / "run_id").write_text("0" * 32, encoding="utf-8")


def _damaged_state(checkpoint: Path) -> None:
    state = checkpoint / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])


DISTURBANCES = [
    _nothing,
    _lost_run_id,
    _damaged_run_id,
    _unknown_run_id,
    _damaged_state,
]


@pytest.mark.parametrize("disturb", DISTURBANCES)
def test_an_interrupted_cell_ends_like_an_undisturbed_one(
    cell: Cell,
    results: Path,
    undisturbed: dict[str, object],
    disturb: Callable[[Path], None],
) -> None:
    checkpoint = _interrupted(cell, results)
    disturb(checkpoint.folder)
    end = _work(cell, results)
    (run,) = (run for run in _store(results).cells("own") if run.is_done)
    assert end.run_id == run.run_id
    assert _whole(run, results) == undisturbed
    assert _store(results).open_runs("own") == []


def test_a_cell_whose_database_is_lost_goes_on_in_another(
    cell: Cell, results: Path, empty_store: Path, undisturbed: dict[str, object], tmp_path: Path
) -> None:
    checkpoint = _interrupted(cell, results)
    saved = checkpoint.load()
    assert saved is not None
    assert saved["clock"]["steps"] > 0
    shutil.copytree(empty_store, tmp_path / "new")
    shutil.move(results / "checkpoints", tmp_path / "new")
    _work(cell, tmp_path / "new")
    (run,) = _store(tmp_path / "new").cells("own")
    assert run.is_done
    assert _whole(run, tmp_path / "new") == undisturbed


def test_a_cell_with_other_test_clips_goes_on_in_a_run_of_its_own(
    cell: Cell, results: Path, user_suite: Path
) -> None:
    _interrupted(cell, results)
    evaluation = cell.evaluation.model_dump() | {"test_clips": 3}
    fewer = _settled(user_suite, cell.model, evaluation=evaluation)
    assert fewer.trained == cell.trained
    end = _work(fewer, results)
    run = _store(results).run(end.run_id)
    assert run is not None
    assert run.params["test_clips"] == "3"
    assert run.tags[records.CELL] == fewer.scored
    assert _store(results).open_runs("own") == []


@pytest.mark.parametrize("call", ["points", "attach", "end"])
def test_a_result_that_cannot_be_recorded_is_recorded_by_the_next_run_untrained(
    bench: Bench,
    user_suite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    results = tmp_path / "results"
    real = getattr(Store, call)
    with monkeypatch.context() as patch:

        def fail(store: Store, run_id: str, *more: object) -> None:
            run = store.run(run_id)
            assert run is not None
            if run.params.get("model") == "Tiny" and _has_artifacts(results):
                raise StoreUnavailable("the disk is full")
            real(store, run_id, *more)

        patch.setattr(Store, call, fail)
        first = bench("run", "--suite", user_suite, report=False)
    assert first.returncode == 1, first.stdout
    assert "Traceback" not in first.stdout + first.stderr
    assert "the disk is full" in first.stdout
    statuses = {run.params["model"]: run.is_done for run in _store(results).cells("own")}
    assert statuses == {"copy_last": True, "Tiny": False}
    trained = Checkpoint(results, _trained(results)).record
    assert trained is not None

    def no_training(*_: object) -> None:
        pytest.fail("it is trained or tested again")

    monkeypatch.setattr("bench.run.worker.Attempt", no_training)
    second = bench("run", "--suite", user_suite, report=False)
    assert second.returncode == 0, second.stdout + second.stderr
    (run,) = (run for run in _store(results).cells("own") if run.params["model"] == "Tiny")
    assert run.is_done
    assert {k: run.metrics[k] for k in trained.metrics} == trained.metrics
    assert _store(results).artifact(run.run_id, records.CHECKPOINT) is not None
    assert "2 done" in second.stdout
    assert not list(results.glob("checkpoints/*"))
    assert _store(results).open_runs("own") == []


def _has_artifacts(results: Path) -> bool:
    return bool(list(results.glob("checkpoints/*/artifacts/*")))


def _trained(results: Path) -> str:
    (path,) = results.glob("checkpoints/*/record.json")
    return path.parent.name


def test_a_store_that_fails_in_training_costs_no_point(
    cell: Cell,
    results: Path,
    undisturbed: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.run.attempt.LONGEST_SECONDS_AT_STAKE", 0.0)
    real = Store.points

    def fail(store: Store, run_id: str, points: Sequence[Point]) -> None:
        if not _has_artifacts(results):
            raise StoreUnavailable("nobody answers")
        real(store, run_id, points)

    monkeypatch.setattr(Store, "points", fail)
    events: list[Event] = []
    end = _work(cell, results, told=events.append)
    assert end.status is Status.DONE
    assert sum("nobody answers" in e.text for e in events if isinstance(e, Note)) == 1
    (run,) = _store(results).cells("own")
    assert _whole(run, results) == undisturbed


def test_a_state_that_cannot_be_saved_costs_no_cell(
    cell: Cell, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Checkpoint, "save", fail)
    events: list[Event] = []
    end = _work(cell, results, told=events.append)
    assert end.status is Status.DONE
    assert any("No space left" in e.text for e in events if isinstance(e, Note))


def test_a_failed_cell_runs_again_in_a_run_of_its_own(
    cell: Cell, results: Path, undisturbed: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise LookupError("in the test")

        patch.setattr("bench.run.attempt.Attempt._test", fail)
        end = _work(cell, results)
        assert (end.status, end.error) == (Status.FAILED, "LookupError: in the test")
    _work(cell, results)
    runs = _store(results).cells("own")
    assert [run.tags[records.STATUS] for run in runs] == ["done", "failed"]
    assert _whole(runs[0], results) == undisturbed


def test_a_cell_that_another_process_runs_has_its_turn_once_that_has_ended(
    cell: Cell, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.run.worker.WAIT_SECONDS", 0.1)
    checkpoint, events = Checkpoint(results, cell.trained), list[Event]()
    with ThreadPoolExecutor(1) as pool:
        with checkpoint.held():
            waiting = pool.submit(_work, cell, results, told=events.append)
            while sum(isinstance(event, Progress) for event in events) < 3:
                assert not waiting.done()
                time.sleep(0.05)
            checkpoint.remove()  # as one that is done does: the lock goes with its folder
        assert waiting.result().status is Status.DONE
    assert any("waiting for it" in event.text for event in events if isinstance(event, Note))
    with checkpoint.held():
        end = _work(cell, results, stop=lambda: True)
    assert (end.status, end.error) == (Status.INTERRUPTED, "stopped before its turn came")


def test_a_report_that_cannot_be_written_is_one_line(
    bench: Bench, user_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.report.build", fail)
    done = bench("run", "--suite", user_suite, "--models", "copy_last")
    assert done.returncode == 1
    assert "the report is not written: OSError: [Errno 28] No space left on device" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (run,) = _store(tmp_path / "results").cells("own")
    assert run.is_done
    assert _store(tmp_path / "results").open_runs("own") == []


BROKEN = '''
from models.contract import Predictor, Recipe, Size

class Unbuilt(Predictor):
    """A model that cannot be built."""

    sizes = {"only": Size(Recipe(source="test", learning_rate=1e-2, batch_size=2))}

    def __init__(self, frame_shape):
        super().__init__(frame_shape)
        raise RuntimeError("a fault of mine")

    def forward(self, context, horizon): ...

class Leaves(Unbuilt):
    """A model that ends the process."""

    def __init__(self, frame_shape):
        raise SystemExit("I am off")
'''


@pytest.mark.parametrize(
    ("model", "reason"),
    [("Unbuilt", "RuntimeError: a fault of mine"), ("Leaves", "SystemExit: I am off")],
)
def test_a_model_that_cannot_be_built_costs_its_cell_alone(
    bench: Bench, user_suite: Path, tmp_path: Path, model: str, reason: str
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(BROKEN, encoding="utf-8")
    models = ["--models", f"{path}:{model}", "copy_last"]
    done = bench("run", "--suite", user_suite, *models, report=False)
    assert done.returncode == 1, done.stdout + done.stderr
    runs = {run.params["model"]: run.tags for run in _store(tmp_path / "results").cells("own")}
    assert runs["copy_last"][records.STATUS] == "done"
    assert runs[model][records.STATUS] == "failed"
    assert runs[model][records.ERROR] == reason
