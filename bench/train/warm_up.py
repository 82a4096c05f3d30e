"""Steps before the clock, all undone: the first ones allocate, tune and compile.

On CUDA the step is recorded here as one graph, where its replays are found to be the step. The last
steps are timed: they tell how fast training is where nothing disturbs it.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.errors import UserError, described
from bench.train.conditions import Calibration
from bench.train.graph import CudaGraph
from bench.train.hardware import Step, reset_peak_memory, synchronize
from bench.train.hidden_state import changed, hidden_state, restore
from bench.train.static import NoHostReads, NotStatic, Recorder
from bench.train.step import Training

STEPS = 3
SECONDS = 10.0  # after which no further step is begun
CALIBRATION_SECONDS = 0.2  # timed at least, unless that takes more steps than these
CALIBRATION_STEPS = 20
LOSS_TOLERANCE = 1e-2
"""How far the losses of replayed steps may be from those of the same steps run eagerly, relative to
these. A CPU repeats itself to the bit; on a GPU the order of sums may vary."""
MOVE_TOLERANCE = 0.1
"""How far the weights may be apart after them, relative to how far they moved: Adam divides by the
size of a gradient, so that where one is near zero its rounding alone moves a weight. Another mask
or another clip leaves more than half of the way."""


def recorder_for(device: torch.device) -> Recorder | None:
    """What records a step on `device`, if there is a gain in that."""
    return CudaGraph if device.type == "cuda" else None


class Warm(NamedTuple):
    """What warm-up has found out."""

    lost: list[str]
    """Attributes of the model, outside its `state_dict`, that steps go on changing."""
    calibration: Calibration | None
    """None where the first step took all of the time."""


def warm_up(training: Training, asked: Step, device: torch.device) -> Warm:
    """Warm `training` up, and have it run its steps as `asked`, from the state that it has.

    That state includes what the model keeps outside its `state_dict`, but for what cannot be
    copied.

    Raises:
        UserError: a graph was demanded, and the step cannot be one.
    """
    start = _Start(training)
    lost, timed = _as_asked(training, asked, device, start)
    timed = training.team.agreed(timed)  # all are to take as many steps
    if timed is not None and timed.step_seconds * (STEPS - 1) < CALIBRATION_SECONDS:
        timed = _calibration(training, device, CALIBRATION_SECONDS / timed.step_seconds)
        start.return_to()
    return Warm(lost, timed)


def _as_asked(training: Training, asked: Step, device: torch.device, start: _Start) -> Warm:
    """Warm up as `asked`, and time the steps of that, from the `start` and back to it."""
    recorder = None if asked == "eager" else recorder_for(device)
    if recorder is not None and training.team.size > 1:
        training.forget_recording(f"on {training.team.size} devices")
        recorder = None
    with _aside(device):
        losses, lost, timed = _steps(training, device)
        moved = start.moved() if recorder is not None else []
    start.return_to()
    reset_peak_memory(device)  # tuning tries algorithms that need much of it
    if recorder is None:
        return Warm(lost, timed)
    why = ""
    try:
        if lost:
            raise NotStatic(f"training changes {lost[0]}, which the model's state_dict lacks")
        _work_without_host(training, device)
        start.return_to()
        training.record(recorder, -1)
        start.return_to()
        again, _, replays = _steps(training, device, len(losses))
        _require_same(losses, again, moved, start.moved())
        timed = replays
    except Exception as error:  # whatever the model, or the device, has against it
        why = str(error) if isinstance(error, NotStatic) else described(error)
        if asked == "graph":
            raise UserError(f"the training step cannot be a CUDA graph: {why}") from error
    if why:  # here, where no frame of the error keeps what a capture has allocated
        training.forget_recording(why)
        reset_peak_memory(device)
    start.return_to()
    return Warm(lost, timed)


class _Start:
    """The state that warm-up is to leave, kept on the CPU."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._state = copied(training.state())
        self._hidden = hidden_state(training.model.module)

    def return_to(self) -> None:
        """Undo all steps since."""
        model = self._training.model.module
        self._training.batches.drop()
        self._training.restore(self._state)
        restore(model, self._hidden)
        self._hidden = hidden_state(model)  # what was set belongs to the model now

    def moved(self) -> list[Tensor]:
        """How far each parameter is from where it was."""
        parameters = self._training.model.module.named_parameters()
        return [each.detach().cpu() - self._state["model"][name] for name, each in parameters]


def _steps(
    training: Training, device: torch.device, count: int = STEPS
) -> tuple[list[float], list[str], Calibration | None]:
    """Losses of up to `count` steps, what they go on changing outside the state, and their time.

    That is of the steps after the first, if there was time for any.
    """
    model, began = training.model.module, time.monotonic()
    losses = [training.step(-STEPS, 0.0)]
    after_one = hidden_state(model)
    watch = _Watch(device)
    for number in range(1, count):
        if training.team.agreed(time.monotonic() - began < SECONDS):
            losses.append(training.step(number - STEPS, number / max(1, STEPS - 1)))
    timed = watch.mean(len(losses) - 1) if len(losses) > 1 else None
    return torch.stack(losses).tolist(), changed(after_one, hidden_state(model)), timed


def _calibration(training: Training, device: torch.device, steps: float) -> Calibration:
    """The time of one of about so many more `steps`, after one that is not timed."""
    count = min(CALIBRATION_STEPS, math.ceil(steps))
    training.step(-count - 1, 0.0)  # its batch is not drawn ahead
    watch = _Watch(device)
    for number in range(-count, 0):
        training.step(number, 0.0)
    return watch.mean(count)


class _Watch:
    """Times steps, the device idle at both ends."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._began = self._now()

    def mean(self, steps: int) -> Calibration:
        """The time of one of the `steps` since the watch was made."""
        wall, cpu = (now - then for now, then in zip(self._now(), self._began, strict=True))
        return Calibration(wall / steps, cpu / steps)

    def _now(self) -> tuple[float, float]:
        synchronize(self._device)
        return time.perf_counter(), time.process_time()


def _work_without_host(training: Training, device: torch.device) -> None:
    """Do the work of a step; what would end a capture is an error.

    Raises:
        NotStatic: the host takes part in it.
        RuntimeError: on CUDA, it waits for the device.
    """
    batch = training.batches.take(-1)
    training.batches.drop()  # whoever draws may wait for the device
    with _no_waits(device), NoHostReads():  # type: ignore[no-untyped-call]
        training.work(batch)


@contextmanager
def _no_waits(device: torch.device) -> Iterator[None]:
    """Inside, PyTorch raises an error where it would wait for CUDA."""
    if device.type != "cuda":
        yield
        return
    with warnings.catch_warnings():  # that it may overlook a wait
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _require_same(
    losses: list[float], again: list[float], moved: list[Tensor], moved_again: list[Tensor]
) -> None:
    """Raise `NotStatic` where replayed steps are others than those run eagerly."""
    for number, (one, other) in enumerate(zip(losses, again, strict=True)):
        if not math.isclose(one, other, rel_tol=LOSS_TOLERANCE):
            raise NotStatic(f"replayed, step {number} has the loss {other:.6g}, not {one:.6g}")
    apart = _length([one - other for one, other in zip(moved, moved_again, strict=True)])
    share = apart / max(_length(moved), 1e-30)
    if not share <= MOVE_TOLERANCE:
        raise NotStatic(f"replayed, {len(losses)} steps end {share:.2g} of their way elsewhere")


def _length(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors))


@contextmanager
def _aside(device: torch.device) -> Iterator[None]:
    """On CUDA on a stream of its own, as what comes before a capture has to be."""
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)


def copied(tree: Any) -> Any:
    """A deep copy of nested state, tensors on the CPU."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [copied(value) for value in tree]
    return tree
