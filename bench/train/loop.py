"""The training loop: build, warm up, train under the clock, validate, keep the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from bench.errors import described
from bench.kernels.fit import fit, shared_filters
from bench.train import hardware
from bench.train.any_size import padded_from
from bench.train.budget import Clock
from bench.train.curves import Curves
from bench.train.guard import Guard
from bench.train.held_out import Batch, HeldOut, to_float
from bench.train.step import Training, fabric_on, seed_of
from bench.train.task import NotFinite, Task
from bench.train.team import ALONE, Team
from bench.train.warm_up import copied, warm_up

if TYPE_CHECKING:  # training depends on the values of a cell, not on its code
    from bench.suite.cell import Cell
    from datasets.contract import Dataset, HeldOutName, Spec

FIT_FRAMES = 40_000  # of the training clips that a model without parameters is fitted to
EVALUATION_BATCH = 32
VALUES_AT_ONCE = 2_000 * 64 * 64  # pixels times channels in an evaluation batch at most
STRETCH_SECONDS = 1.0  # of training between two reads of the loss
REPEATED_BATCHES = {"validation": 1, "test": 2}
"""How many are shown again: of the first validation, and of the test."""
EXPLODED = 1e3  # a training loss or weight beyond it explains an output that is not finite


class Diverged(Exception):
    """The loss is no longer finite."""


class Unrestorable(Exception):
    """The state is not one to go on from."""


@contextmanager
def going_on() -> Iterator[None]:
    """Read a state during the block; one that does not fit is `Unrestorable`."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise Unrestorable(described(error)) from error


def clips_at_once(spec: Spec) -> int:
    """Clips in an evaluation batch at most: fewer where frames are large."""
    return max(1, VALUES_AT_ONCE // (spec.clip_frames * math.prod(spec.frame_shape)))


LoopPhase = Literal["fit", "train", "validate", "test"]


class Watcher(Protocol):
    """Receives the progress of the loop, and may save its state or stop it."""

    def heartbeat(self, phase: LoopPhase, fraction: float) -> None:
        """Called between batches; raises where the loop should stop without keeping its state."""

    def stretch_done(self) -> None:
        """Called about once a second between training steps, where the state may be kept."""

    def warn(self, text: str) -> None:
        """Called with a line that the user should see."""


class Loop:
    """The training of one cell. After `run` its model has the best weights.

    Where several processes train it, each has a loop and all do the same: rank 0 decides when a
    stretch and the budget end, and what is gone on from.
    """

    def __init__(self, cell: Cell, watcher: Watcher, team: Team = ALONE) -> None:
        """Build model, optimiser and clock on the device of this process, one of `team`."""
        self._cell, self._watcher, self.team = cell, watcher, team
        self.seconds = {"setup": 0.0, "validation": 0.0}
        self._validations_done = 0
        self._ran_before = ""
        self._best: dict[str, Tensor] | None = None
        with self.timed("setup"):
            self._build()

    def _build(self) -> None:
        cell = self._cell
        hardware.set_arithmetic()
        fabric = fabric_on(cell.device, cell.precision, self.team)
        self.device = fabric.device
        torch.manual_seed(seed_of(cell.seed, "weights"))
        self.task = cell.in_training
        model = self.task.build(cell.model_class, cell.options)
        self.cost = cell.cost
        self.padded_from = padded_from(model)
        self.kernels = fit(model, cell.device, cell.precision)
        self.trains = any(p.requires_grad for p in model.parameters())
        if self.trains:
            self._training = Training(
                model, cell.recipe, self.task, cell.data, cell.seed, fabric, self.team
            )
        self._model: nn.Module = model.to(self.device)
        per_clip = self.cost.train_flops if self.trains else 1.0  # a baseline spends nothing
        self.clock = Clock(cell.budget, partial(hardware.synchronize, self.device), per_clip)
        self.curves = Curves(self.clock, self.task.validation)

    # --- from start to end -----------------------------------------------------------------------

    def run(self, state: dict[str, Any] | None) -> None:
        """Train for the budget, from an earlier `state` if given, and set the best weights.

        Raises:
            Diverged: the loss is no longer finite.
            Unrestorable: the `state` is of another cell, or lacks a part.
        """
        with self.timed("setup"):
            if self.trains:
                self.warm_up()
            state = self.team.agreed(state)
            if state is not None:
                with going_on():
                    self.restore(state)
        if self.trains:
            self._train()
        else:
            self._fit()
        if self._best is not None:
            self._model.load_state_dict(self._best)

    def warm_up(self) -> None:
        """Run a few steps and undo them; warn of state that no checkpoint would hold."""
        lost, calibration = warm_up(self._training, self._cell.step, self.device)
        if calibration is not None:
            self.clock.calibrate(calibration)
        if lost:
            self._watcher.warn(
                f"training changes {', '.join(lost[:3])}, which the model's state_dict lacks: if an"
                " output depends on it, a resumed run has other figures (`bench check` tells)"
            )

    def _fit(self) -> None:
        """Fit a model without parameters to some training clips."""
        dataset, seed = self._cell.data, self._cell.seed
        batch_size = clips_at_once(dataset.spec)
        count = max(1, FIT_FRAMES // (batch_size * dataset.spec.clip_frames))

        def batches() -> Iterator[Batch]:
            generator = torch.Generator(self.device)
            for number in range(count):
                self._watcher.heartbeat("fit", number / count)
                generator.manual_seed(seed_of(seed, number, "clips"))
                clips, *labels = self.task.draw(dataset, batch_size, generator)
                yield to_float(clips, self.device), *labels

        self.task.fit(self._model, batches())
        self._validate()

    def _train(self) -> None:
        validations = self._cell.evaluation.evaluations
        while self._validations_done < validations:
            self._train_until((self._validations_done + 1) / validations)
            self._validate()
            self._validations_done += 1
        self._training.finish()  # its memory is for the test

    def _train_until(self, goal: float) -> None:
        """Train until the fraction `goal` of the budget is spent, to the nearest step."""
        while not self.team.agreed(self.clock.reaches(goal)):
            mark = self.curves.next_mark
            losses, logged = self._train_stretch(self._pace(goal, mark))
            if not all(map(math.isfinite, losses)):
                raise Diverged(f"the training loss became {losses[-1]} by step {self.clock.steps}")
            due = self.clock.progress >= mark or self.clock.reaches(goal)
            self.curves.add_losses(losses, logged, due)
            self._watcher.stretch_done()

    def _pace(self, goal: float, mark: float) -> Iterator[float]:
        """The progress before each step of a stretch: one step or more, to `goal` or `mark`."""
        if self.team.size > 1:
            batch_size = self._cell.recipe.batch_size
            return iter(self.team.agreed(self.clock.pace(goal, mark, STRETCH_SECONDS, batch_size)))
        return self._pace_as_it_comes(goal, mark)

    def _pace_as_it_comes(self, goal: float, mark: float) -> Iterator[float]:
        ends = time.monotonic() + STRETCH_SECONDS
        yield self.clock.progress
        while not (
            self.clock.reaches(goal) or self.clock.progress >= mark or time.monotonic() >= ends
        ):
            yield self.clock.progress

    def _train_stretch(self, pace: Iterator[float]) -> tuple[list[float], dict[str, list[float]]]:
        """Losses and logged values, over all devices, of steps at that `pace`."""
        losses: list[Tensor] = []
        logged: dict[str, list[Tensor]] = {}
        with self.clock.running():
            for progress in pace:
                losses.append(self._training.step(self.clock.steps, progress))
                for name, value in self._training.logged.items():
                    logged.setdefault(name, []).append(value)
                waited = self._training.batches.waited_seconds
                self.clock.count_step(self._cell.recipe.batch_size, waited)
        mean = self.team.mean
        values = {name: mean(torch.stack(found)).tolist() for name, found in logged.items()}
        return mean(torch.stack(losses)).tolist(), values

    def _validate(self) -> None:
        """Validate, and keep the weights where they are the best so far."""
        progress = self.clock.progress
        with self.timed("validation"):
            held_out = self.held_out(
                "validation", lambda _: self._watcher.heartbeat("validate", progress)
            )
            try:
                value = self.task.validate(self.forward, held_out)
            except NotFinite as found:
                if not self._exploded:
                    raise
                raise Diverged(f"{found}, by step {self.clock.steps}") from found
            if self.trains:
                self._training.validated(value)
            if self.curves.add_validation(value):
                self._best = copied(self._model.state_dict())
        if not math.isfinite(value):
            raise Diverged(f"{self.task.validation} became {value} by step {self.clock.steps}")

    @property
    def _exploded(self) -> bool:
        """Whether training went astray, so that an output which is not finite is no fault."""
        if not self.trains:
            return False
        weights = [float(w.detach().abs().max()) for w in self._model.parameters() if w.numel()]
        return not all(value <= EXPLODED for value in (*weights, abs(self.curves.last_loss)))

    # --- for the test ----------------------------------------------------------------------------

    def held_out(self, split: HeldOutName, heartbeat: Callable[[float], None]) -> HeldOut:
        """The held-out clips of `split`, in batches of a bounded size, under guard."""
        cell = self._cell
        return self.held_out_of(cell.data, split, cell.held_out_clips[split], heartbeat)

    def held_out_of(
        self, data: Dataset, split: HeldOutName, count: int, heartbeat: Callable[[float], None]
    ) -> HeldOut:
        """The first `count` clips of `split` of any data set with frames of the same shape.

        It has the covariates that the model was trained with, if it was with any.
        """
        self.team.align(self._model)
        repeated = (
            0 if self._validations_done and split == "validation" else REPEATED_BATCHES[split]
        )
        return HeldOut(
            data.held_out(split),
            count,
            min(EVALUATION_BATCH, clips_at_once(data.spec)),
            self.device,
            heartbeat,
            seed_of(self._cell.seed, split),
            Guard(self._model, repeated),
            self.team,
            len(self.task.spec.covariates),
        )

    def forward(self, *given: Tensor, task: Task | None = None) -> Tensor:
        """The output of the model in evaluation for what it is `given` of clips.

        That is the context [B,T,C,H,W], and covariates [B,T+horizon,K] where it takes them. In
        float32, whatever precision it was trained in. `task` is that of the clips (default: the
        cell's).
        """
        self._model.eval()
        with shared_filters():
            return (task or self.task).forward(self._model, *given)

    def sample(
        self,
        context: Tensor,
        samples: int,
        generator: torch.Generator,
        *covariates: Tensor,
        task: Task | None = None,
    ) -> Tensor:
        """Futures [B,samples,horizon,C,H,W] that the model draws of the `context`, as `forward`."""
        model: Any = self._model.eval()
        horizon = (task or self.task).spec.horizon
        with shared_filters():
            futures: Tensor = model.sample(context, horizon, samples, generator, *covariates)
            return futures

    @property
    def steps_run_as(self) -> str:
        """How training steps ran: "graph", or "eager", with the reason where there is one."""
        before, now = self._ran_before, self._training.run_as
        return now if before in ("", now) else f"eager: in part; {before}, then {now}"

    @property
    def weights(self) -> dict[str, Tensor]:
        """The current weights and buffers of the model."""
        state: dict[str, Tensor] = self._model.state_dict()
        return state

    @weights.setter
    def weights(self, state: dict[str, Tensor]) -> None:
        self._model.load_state_dict(self.team.agreed(state))

    @property
    def peak_memory_bytes(self) -> int:
        """The most memory used so far, by the process that has used most."""
        return max(self.team.gathered(hardware.peak_memory_bytes(self._cell.device)))

    def step_again(self, number: int) -> Tensor:
        """One training step, not counted: after `run` an eager one."""
        return self._training.step(number, 1.0)

    # --- state -----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The state for `restore`."""
        return {
            "training": self._training.state(),
            "best": self._best,
            "clock": self.clock.state(),
            "curves": self.curves.state(),
            "validations_done": self._validations_done,
            "steps_run_as": self.steps_run_as,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`."""
        self._training.restore(state["training"])
        self._best = state["best"]
        self.clock.restore(state["clock"])
        self.curves.restore(state["curves"])
        self._validations_done = state["validations_done"]
        self._ran_before = state["steps_run_as"]
        self.seconds = {part: self.seconds[part] + state["seconds"][part] for part in self.seconds}

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the seconds of the block to `part`."""
        began = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - began
