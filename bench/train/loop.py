"""One cell from start to end: build, warm up, train under the clock, test, record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from lightning_fabric import Fabric
from torch import Tensor

from bench.kernels.fit import fit, shared_filters
from bench.run.checkpoint import Checkpoint
from bench.run.events import Event, Note, Phase, Progress
from bench.score.task import Batch, HeldOut, Result, to_float
from bench.store import artifacts, records
from bench.store.mlflow import Point, Store
from bench.suite.cell import Cell
from bench.train import hardware
from bench.train.budget import Clock
from bench.train.cost import Cost
from bench.train.curves import Curves
from bench.train.profile import profile_steps
from bench.train.step import Training, seed_of
from datasets.contract import HeldOutName

FIT_FRAMES = 40_000  # what a model without parameters may see of the training clips
EVALUATION_BATCH = 32
VALUES_AT_ONCE = 2_000 * 64 * 64  # pixels times channels in a batch that is not trained on: a bound
WARM_UP_STEPS = 3
WARM_UP_SECONDS = 10.0  # after which no further warm-up step is begun
STRETCH_SECONDS = 1.0  # the clock runs this long between two looks at the loss
SAVING_SHARE = 0.01  # of the time that may go into checkpoints and into sending points
LONGEST_SECONDS_AT_STAKE = 120.0  # between two checkpoints, however long one takes


class Diverged(Exception):
    """The loss is no longer a number."""


class Interrupted(Exception):
    """Somebody asked the cell to stop; its state is kept."""


class CellRun:
    """A cell being run. `run()` does all of it; what it did is in `metrics`."""

    def __init__(
        self,
        cell: Cell,
        store: Store,
        checkpoint: Checkpoint,
        run_id: str,
        emit: Callable[[Event], None],
        stop_asked: Callable[[], bool],
    ) -> None:
        """Build model, optimiser and clock on the cell's device.

        Args:
            cell: what to run.
            store: where it is recorded, under `run_id`.
            checkpoint: where its state is kept meanwhile; held by the caller.
            run_id: its MLflow run.
            emit: is told what happens.
            stop_asked: says whether the cell should stop at the next opportunity.
        """
        self.cell, self.store, self.checkpoint, self.run_id = cell, store, checkpoint, run_id
        self._emit, self._stop_asked = emit, stop_asked
        self.metrics: dict[str, float] = {}
        self._seconds = {"setup": 0.0, "validation": 0.0, "test": 0.0, "earlier": 0.0}
        self._validations_done = 0
        self._best_state: dict[str, Tensor] | None = None
        self._saved_at, self._save_seconds = time.monotonic(), 0.0
        with self._timed("setup"):
            self._build()

    # --- set-up ----------------------------------------------------------------------------------

    def _build(self) -> None:
        cell, suite = self.cell, self.cell.suite
        self._emit(Progress("setup", 0.0))
        fabric = Fabric(
            accelerator=cell.device,
            devices=1,
            precision="bf16-mixed" if suite.precision == "bf16" else "32-true",
        )
        hardware.set_arithmetic()
        self._device = fabric.device
        self._synchronize = hardware.synchronizer(cell.device)
        torch.manual_seed(seed_of(cell.at.seed, "weights"))
        self._task = cell.task
        model = self._task.build(cell.model, cell.options)
        self._cost = Cost(cell.model, cell.options, cell.dataset.spec)
        self.kernels = fit(model, cell.device, suite.precision)
        self._trains = any(p.requires_grad for p in model.parameters())
        if self._trains:
            self._training = Training(
                model, cell.recipe, self._task, cell.dataset, cell.at.seed, fabric
            )
            self._model: Any = self._training.model
        else:
            self._model = fabric.setup_module(model)
        self._clock = Clock(suite.budget, self._synchronize, self._cost.train_flops or None)
        self._curves = Curves(self._clock, records.VALIDATION[suite.task])

    def run(self) -> dict[str, float]:
        """Train, test and record the cell; its final metrics.

        Raises:
            Diverged: the loss is no longer a number.
            Interrupted: a stop was asked for.
        """
        with self._timed("setup"):
            state = self.checkpoint.load(self._device)
            if self._trains:
                self._warm_up()
            if state is not None:
                self._restore(state)
        try:
            if self._trains:
                self._train()
            else:
                self._fit()
        finally:
            self._send_points()  # also those of a cell that fails
        self._progress("test", 0.0)
        with self._timed("test"):
            result = self._test()
        self._record(result)
        return self.metrics

    def _warm_up(self) -> None:
        """Take a few steps that nothing remembers: the first ones allocate, tune and compile."""
        before = _copy(self._training.state())
        began = time.monotonic()
        for number in range(-WARM_UP_STEPS, 0):
            if time.monotonic() - began < WARM_UP_SECONDS and not self._stop_asked():
                self._training.step(number, 0.0)
        self._synchronize()
        self._training.restore(before)

    def _fit(self) -> None:
        """Show a model without parameters some training clips, in place of training."""
        dataset, seed = self.cell.dataset, self.cell.at.seed
        batch_size = self._clips_at_once
        count = max(1, FIT_FRAMES // (batch_size * dataset.spec.clip_frames))

        def batches() -> Iterator[Batch]:
            generator = torch.Generator(self._device)
            for number in range(count):
                self._heartbeat("train", number / count)
                generator.manual_seed(seed_of(seed, number, "clips"))
                clips, *labels = self._task.draw(dataset, batch_size, generator)
                yield to_float(clips, self._device), *labels

        self._task.fit(self._model.module, batches())
        self._validate()

    # --- training under the clock ----------------------------------------------------------------

    def _train(self) -> None:
        validations = self.cell.suite.evaluation.evaluations
        while self._validations_done < validations:
            self._train_until((self._validations_done + 1) / validations)
            self._validate()
            self._validations_done += 1
        self._training.batches.drop()
        self._save()

    def _train_until(self, goal: float) -> None:
        """Train until the fraction `goal` of the budget is spent."""
        while self._clock.progress < goal:
            mark = min(goal, self._curves.next_mark)
            losses = self._train_stretch(mark)
            if not all(map(math.isfinite, losses)):
                raise Diverged(f"the training loss became {losses[-1]} by step {self._clock.steps}")
            self._curves.add_losses(losses, due=self._clock.progress >= mark)
            self._progress("train", self._clock.progress)
            stop = self._stop_asked()
            if stop or self._save_is_due:
                self._save()
            if stop:
                raise Interrupted

    def _train_stretch(self, goal: float) -> list[float]:
        """The losses of about a second of steps, and not beyond `goal`."""
        losses: list[Tensor] = []
        ends = time.monotonic() + STRETCH_SECONDS
        with self._clock.running():
            while self._clock.progress < goal and (not losses or time.monotonic() < ends):
                losses.append(self._training.step(self._clock.steps, self._clock.progress))
                waited = self._training.batches.waited_seconds
                self._clock.count_step(self.cell.recipe.batch_size, waited)
        return [float(loss) for loss in torch.stack(losses).tolist()]

    def _validate(self) -> None:
        """Measure the validation clips, and keep the weights where they are the best so far."""
        progress = self._clock.progress
        with self._timed("validation"):
            held_out = self._held_out("validation", lambda _: self._heartbeat("validate", progress))
            torch.manual_seed(seed_of(self.cell.at.seed, "validation"))
            value = self._task.validate(self._forward, held_out)
            if self._trains:
                self._training.validated(value)
            if self._curves.add_validation(value):
                self._best_state = _copy(self._model.state_dict())
        if not math.isfinite(value):
            what = records.VALIDATION[self.cell.suite.task].label
            raise Diverged(f"the {what} became {value} by step {self._clock.steps}")

    def _held_out(self, split: HeldOutName, heartbeat: Callable[[float], None]) -> HeldOut:
        return HeldOut(
            self.cell.dataset.held_out(split),
            self.cell.held_out_clips[split],
            min(EVALUATION_BATCH, self._clips_at_once),
            self._device,
            heartbeat,
        )

    @property
    def _clips_at_once(self) -> int:
        """How many clips a batch that is not trained on may have: few, where they are large."""
        spec = self.cell.dataset.spec
        return max(1, VALUES_AT_ONCE // (spec.clip_frames * math.prod(spec.frame_shape)))

    def _forward(self, clips: Tensor) -> Tensor:
        self._model.eval()
        with shared_filters():
            return self._task.forward(self._model, clips)

    # --- test and record -------------------------------------------------------------------------

    def _test(self) -> Result:
        self._peak_bytes = hardware.peak_memory_bytes(self.cell.device)
        if self._best_state is not None:
            self._model.load_state_dict(self._best_state)
        held_out = self._held_out("test", partial(self._heartbeat, "test"))
        showcase_clips = self.cell.suite.evaluation.showcase_clips
        torch.manual_seed(seed_of(self.cell.at.seed, "test"))
        return self._task.test(self._forward, held_out, showcase_clips)

    def _record(self, result: Result) -> None:
        """Put everything that was measured into MLflow."""
        self._progress("record", 1.0)
        folder = self.checkpoint.folder / "artifacts"
        classes = self.cell.dataset.spec.classes
        artifacts.write_artifacts(result, self._model.state_dict(), classes, folder)
        self.store.attach(self.run_id, folder)
        for name, reason in result.not_measured.items():
            self._emit(Note(f"{name} not measured: {reason}"))
            self.store.tag(self.run_id, {records.NOT_MEASURED + name: reason})
        self.metrics = self._final_metrics(result)
        final = [(key, value, self._clock.steps) for key, value in self.metrics.items()]
        points = [Point.now(*point) for point in result.points() + final]
        self.store.points(self.run_id, points)

    def _final_metrics(self, result: Result) -> dict[str, float]:
        seconds = self._seconds
        return {
            **artifacts.quality(result),
            **artifacts.spent(self._clock, self._cost),
            **self._curves.validation(),
            "time/setup_seconds": seconds["setup"],
            "time/validation_seconds": seconds["validation"],
            "time/test_seconds": seconds["test"],
            "time/wall_seconds": self._wall_seconds,
            "speed/predict_frames_per_second": result.frames_per_second,
            "memory/peak_bytes": self._peak_bytes,
        }

    def profile(self, folder: Path) -> list[str]:
        """The ten costliest operations of a training step, a line each; `folder` has the trace."""
        self._progress("profile", 1.0)
        steps = range(self._clock.steps, self._clock.steps + 10)
        return profile_steps(lambda number: self._training.step(number, 1.0), steps, folder)

    @property
    def can_be_profiled(self) -> bool:
        """Whether there are training steps to profile."""
        return self._trains

    # --- state, points, signs of life ------------------------------------------------------------

    @property
    def _save_is_due(self) -> bool:
        waited = time.monotonic() - self._saved_at
        return waited > min(self._save_seconds / SAVING_SHARE, LONGEST_SECONDS_AT_STAKE)

    def _save(self) -> None:
        """Keep the state, then send the points: after a kill in between they are sent again."""
        began = time.monotonic()
        self.checkpoint.save(
            {
                "training": self._training.state(),
                "best": self._best_state,
                "clock": self._clock.state(),
                "curves": self._curves.state(),
                "validations_done": self._validations_done,
                "seconds": self._seconds | {"earlier": self._wall_seconds},
            }
        )
        self._send_points()
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - began

    def _send_points(self) -> None:
        self.store.points(self.run_id, self._curves.take_pending())

    def _restore(self, state: dict[str, Any]) -> None:
        self._training.restore(state["training"])
        self._best_state = state["best"]
        self._clock.restore(state["clock"])
        self._curves.restore(state["curves"])
        self._validations_done = state["validations_done"]
        setup = self._seconds["setup"]
        self._seconds = state["seconds"] | {"setup": state["seconds"]["setup"] + setup}
        self._emit(Note(f"going on from step {self._clock.steps} ({self._clock})"))

    @property
    def _wall_seconds(self) -> float:
        return self._seconds["earlier"] + _process_seconds()

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - began

    def _heartbeat(self, phase: Phase, fraction: float) -> None:
        """Tell the parent that the cell lives; stop here where that was asked for."""
        self._progress(phase, fraction)
        if self._stop_asked():
            raise Interrupted

    def _progress(self, phase: Phase, fraction: float) -> None:
        clock, curves = self._clock, self._curves
        frames, seconds = clock.samples * self.cell.dataset.spec.clip_frames, clock.seconds
        self._emit(
            Progress(
                phase,
                fraction,
                spent=str(clock),
                step=clock.steps,
                loss=_finite(curves.last_loss),
                task=self.cell.suite.task,
                validation=_finite(curves.last_validation),
                best_validation=_finite(curves.best_validation),
                waiting_share=clock.waiting_seconds / seconds if frames else None,
                frames_per_second=frames / seconds if frames else None,
                memory_bytes=hardware.peak_memory_bytes(self.cell.device),
            )
        )


def _copy(tree: Any) -> Any:
    """A deep copy of nested state, its tensors cloned where they are."""
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    if isinstance(tree, dict):
        return {key: _copy(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_copy(value) for value in tree]
    return tree


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _process_seconds() -> float:
    """Wall time since this process was started, its imports included."""
    return time.time() - psutil.Process().create_time()
