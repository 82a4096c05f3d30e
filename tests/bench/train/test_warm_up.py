"""Warm-up leaves no trace but how steps run: as a graph where that is the step, else eagerly."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.check.tape import Tape
from bench.errors import UserError
from bench.train import graph, warm_up
from bench.train.step import Training, fabric_on
from bench.train.task import task_of
from datasets.contract import Clips, Dataset, HeldOutName, Spec
from models.contract import Predictor, Recipe, TrainingBatch

CPU = torch.device("cpu")
FRAME = (1, 8, 8)


class Noise(Dataset):
    spec = Spec(FRAME, 2, 1)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        shape = (count, self.frames(generator), *FRAME)
        where: Any = {"generator": generator, "device": generator.device}
        return torch.randint(0, 256, shape, dtype=torch.uint8, **where)

    def frames(self, generator: torch.Generator) -> int:
        return 3

    def held_out(self, split: HeldOutName) -> Clips:
        raise NotImplementedError


class LongerAndLonger(Noise):
    def frames(self, generator: torch.Generator) -> int:
        return 3 + int(torch.randint(2, (), generator=generator))


class Static(Predictor):
    calls = 0

    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.filter = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        frame = nn.functional.dropout(self.filter(context[:, -1]), 0.5, self.training)
        return frame[:, None].expand(-1, horizon, -1, -1, -1)


class ReadsProgress(Static):
    def training_loss(self, batch: TrainingBatch) -> Tensor:
        return super().training_loss(batch) * max(0.5, 1 - batch.progress)


class Counts(Static):
    def training_loss(self, batch: TrainingBatch) -> Tensor:
        self.calls += 1
        return super().training_loss(batch) * self.calls


seen: list[float] = []


class CountsElsewhere(Static):
    """What it counts in is no attribute of the model."""

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        seen.append(1.0)
        return super().training_loss(batch) * len(seen)


class CopiesFromTheHost(Static):
    def training_loss(self, batch: TrainingBatch) -> Tensor:
        return super().training_loss(batch) * torch.tensor(2.0, device=batch.clip.device)


class WaitsForTheDevice(Static):
    def training_loss(self, batch: TrainingBatch) -> Tensor:
        torch.cuda.synchronize()
        return super().training_loss(batch)


def _training(
    model: type[Predictor], dataset: Dataset | None = None, device: Any = "cpu"
) -> Training:
    torch.manual_seed(0)
    recipe = Recipe("", 0.1, 4)
    task = task_of("prediction", Noise.spec)
    return Training(model(FRAME), recipe, task, dataset or Noise(), 0, fabric_on(device, "32"))


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tape in place of a CUDA graph."""
    monkeypatch.setattr(warm_up, "recorder_for", lambda _: Tape)


@pytest.mark.usefixtures("replayed")
@pytest.mark.parametrize("asked", ["auto", "graph", "eager"])
def test_a_static_step_is_replayed_unless_it_is_not_to_be(asked: Any) -> None:
    training, untouched = _training(Static), _training(Static)
    assert warm_up.warm_up(training, asked, CPU).lost == []
    assert training.run_as == ("eager" if asked == "eager" else "graph")
    for each in (training, untouched):
        for number in range(5):
            loss = each.step(number, number / 4)
    weights = [each.state()["model"] for each in (training, untouched)]
    assert loss.isfinite()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.usefixtures("replayed")
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (ReadsProgress, r"test_warm_up.py:\d+ reads the value of a tensor"),
        (Counts, "training changes calls"),
        (CountsElsewhere, "replayed, step"),
    ],
)
def test_any_other_step_runs_eagerly_and_says_why(model: type[Predictor], reason: str) -> None:
    training = _training(model)
    before = [each.clone() for each in training.state()["model"].values()]
    warm_up.warm_up(training, "auto", CPU)
    assert training.run_as.startswith("eager: ")
    assert all(map(torch.equal, before, training.state()["model"].values()))
    with pytest.raises(UserError, match=f"cannot be a CUDA graph: .*{reason}"):
        warm_up.warm_up(training, "graph", CPU)


@pytest.mark.usefixtures("replayed")
@pytest.mark.parametrize("asked", ["eager", "graph"])
def test_the_steps_that_training_will_run_are_timed_whatever_their_length(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shortest in (0.0, 1e-3):  # by the steps of warm-up, and by more
        monkeypatch.setattr(warm_up, "CALIBRATION_SECONDS", shortest)
        calibration = warm_up.warm_up(_training(Static), asked, CPU).calibration
        assert calibration is not None
        assert 0 < calibration.step_seconds < 60
        assert calibration.step_cpu_seconds > 0


def test_where_the_first_step_takes_too_long_no_more_are_run_to_time_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warm_up, "SECONDS", 0.0)
    assert warm_up.warm_up(_training(Static), "eager", CPU).calibration is None


def test_without_cuda_steps_are_eager() -> None:
    training = _training(Static)
    warm_up.warm_up(training, "auto", CPU)
    assert training.run_as == "eager"


@pytest.mark.usefixtures("replayed")
def test_batches_of_another_shape_end_the_replays_and_are_trained_on() -> None:
    mixed, eager = _training(Static, LongerAndLonger()), _training(Static, LongerAndLonger())
    first = mixed.batches.take(0)
    mixed.batches.drop()
    mixed.step(-1, 0.0)
    mixed.restore(eager.state())
    mixed.record(Tape, 0)
    mixed.restore(eager.state())
    assert len({batch[0].shape for batch in (first, *map(mixed.batches.take, range(1, 9)))}) == 2
    for number in range(9):
        assert torch.equal(mixed.step(number, 0.0), eager.step(number, 0.0))
    assert mixed.run_as == "eager: batches change their shape"


@pytest.mark.usefixtures("replayed")
def test_what_a_failed_recording_held_is_freed_before_the_peak_is_counted_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training, held = _training(Static), weakref.WeakSet[Tensor]()
    alive: list[tuple[int, int]] = []

    def fails(*_: object) -> Any:
        held.add(activation := torch.zeros(3))
        raise RuntimeError(f"no room beside {len(activation)}")

    monkeypatch.setattr(warm_up, "recorder_for", lambda _: fails)

    def count(_: object) -> None:
        gradients = [each.grad for each in training.model.parameters() if each.grad is not None]
        alive.append((len(held), len(gradients)))

    monkeypatch.setattr(warm_up, "reset_peak_memory", count)
    warm_up.warm_up(training, "auto", CPU)
    assert training.run_as == "eager: RuntimeError: no room beside 3"
    assert alive[-1] == (0, 0)


def test_after_the_end_steps_are_eager_and_no_recording_is_kept() -> None:
    training, tapes = _training(Static), weakref.WeakSet[Tape]()

    def recorder(*given: Any) -> Tape:
        tapes.add(tape := Tape(*given))
        return tape

    training.step(-1, 0.0)
    training.record(recorder, 0)
    training.step(0, 0.0)
    assert len(tapes) == 1
    training.finish()
    assert not tapes
    assert training.run_as == "graph"
    training.model.module.training_loss = lambda _: 1 / 0
    with pytest.raises(ZeroDivisionError):
        training.step(1, 0.0)


def test_the_peak_of_memory_is_counted_after_the_steps_that_tune(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training, happened = _training(Static), []
    step = training.step
    monkeypatch.setattr(training, "step", lambda *at: happened.append("step") or step(*at))
    monkeypatch.setattr(warm_up, "reset_peak_memory", lambda _: happened.append("reset"))
    warm_up.warm_up(training, "eager", CPU)
    assert happened.count("reset") == 1
    assert happened.index("reset") == warm_up.STEPS


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("model", [CopiesFromTheHost, WaitsForTheDevice])
def test_on_cuda_a_step_that_cannot_be_captured_runs_eagerly_and_keeps_no_memory(
    model: type[Predictor],
) -> None:
    training = _training(model, device="cuda")
    warm_up.warm_up(training, "auto", torch.device("cuda"))
    assert training.run_as.startswith("eager: ")
    active = []
    for number in range(201):
        assert training.step(number, 0.0).isfinite()
        active.append(torch.cuda.memory_stats()["active_bytes.all.current"])
    assert active[-1] - active[10] < 64 * 1024  # 190 batches are more


# --- the graph itself, against a CUDA that takes notes ------------------------------------------


class Notes(list[str]):
    """What was asked of CUDA, in turn."""

    def noted(self, name: str, raises: bool = False) -> Callable[..., Any]:
        def call(*_: object, **__: object) -> None:
            self.append(name)
            if raises:
                raise RuntimeError("operation not permitted when stream is capturing")

        return call


class Block:
    def __init__(self, on_exit: Callable[[], None] = lambda: None) -> None:
        self._on_exit = on_exit

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self._on_exit()


class FakeGenerator:
    def __init__(self, notes: Notes, name: str) -> None:
        self.clone_state = lambda: None
        self.graphsafe_set_state = notes.noted(f"{name} freed")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Notes:
    notes = Notes()

    class Event:
        made = 0

        def __init__(self) -> None:
            Event.made += 1
            self.synchronize = notes.noted(f"wait {Event.made}")
            self.record = notes.noted(f"record {Event.made}")

    class Graph:
        register_generator_state = staticmethod(notes.noted("register"))
        replay = staticmethod(notes.noted("replay"))

    class Stream:
        wait_stream = staticmethod(notes.noted("wait for stream"))

    fakes: dict[str, Any] = {
        "Event": Event,
        "CUDAGraph": Graph,
        "Stream": Stream,
        "current_stream": Stream,
        "current_device": lambda: 0,
        "stream": lambda _: Block(notes.noted("stream left")),
        "graph": lambda *_, **__: Block(notes.noted("captured")),
        "graph_pool_handle": lambda: (0, 1),
        "default_generators": [FakeGenerator(notes, "default")],
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    end = notes.noted("allocator freed")
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end, raising=False)
    return notes


def _nothing(_: object) -> tuple[Tensor, dict[str, Tensor]]:
    return torch.zeros(()), {}


def test_replays_wait_for_the_one_two_before(cuda: Notes) -> None:
    generator: Any = FakeGenerator(cuda, "loss")
    captured = graph.CudaGraph(_nothing, (), generator)
    assert "register" in cuda
    cuda.clear()
    for _ in range(3):
        captured.replay()
    assert cuda == [
        *("wait 1", "replay", "record 1"),
        *("wait 2", "replay", "record 2"),
        *("wait 1", "replay", "record 1"),
    ]


def test_a_capture_that_fails_leaves_stream_allocator_and_generators_usable(cuda: Notes) -> None:
    generator: Any = FakeGenerator(cuda, "loss")
    with pytest.raises(RuntimeError, match="not permitted"):
        graph.CudaGraph(lambda _: cuda.noted("work", raises=True)(), (), generator)  # type: ignore[arg-type, return-value]
    assert {"stream left", "allocator freed", "default freed", "loss freed"} <= {*cuda}


def test_waits_for_the_device_are_errors_in_a_block_and_allowed_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modes = ["default"]
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    cuda = torch.device("cuda")
    with pytest.raises(IndexError), warm_up._no_waits(cuda):
        modes[modes.index("error") + 1]
    assert modes[1:] == ["error", "default"]
