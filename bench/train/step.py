"""One training step: batch, loss, gradients, update, and the learning-rate schedule."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor

from bench.kernels.fit import shared_filters
from bench.train.batch_norm import share_statistics
from bench.train.hardware import Device, Precision
from bench.train.held_out import Batch, on_device, to_float
from bench.train.prefetch import Batches
from bench.train.static import Outcome, Recorder, Recording
from bench.train.task import Task
from bench.train.team import ALONE, Team
from datasets.contract import Dataset
from models.contract import WHOLE, Model, Part, Recipe

OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
ONE_CYCLE_WARM_UP = 0.3  # fraction of the budget; these three are PyTorch's defaults
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4 / 25
PLATEAU_THRESHOLD = 1e-4  # smaller relative gains do not count; PyTorch's default


def fabric_on(device: Device, precision: Precision, team: Team = ALONE) -> Fabric:
    """The device of this process, and the precision of losses and their gradients.

    The environment is named, since Fabric would take that of SLURM for its own: there a job with
    several tasks, each of them a process of ours, is refused.
    """
    # What a loss does not depend on has no gradient in any process: the optimiser leaves it alone.
    several = DDPStrategy(find_unused_parameters=True) if team.size > 1 else "auto"
    fabric = Fabric(
        accelerator=device,
        devices=1,
        strategy=several,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        plugins=[_Environment(team)],
    )
    if team.size > 1:
        fabric.launch()  # it starts nothing: it takes what has been joined
    return fabric


class _Environment(LightningEnvironment):
    """That of a process of `team`, which has been started, has joined and sees its device alone."""

    def __init__(self, team: Team) -> None:
        super().__init__()
        self._global_rank, self._world_size = team.rank, team.size

    @property
    def creates_processes_externally(self) -> bool:
        """Yes: Fabric is to start none."""
        return True

    def set_global_rank(self, rank: int) -> None:
        """Nothing: it is known."""

    def set_world_size(self, size: int) -> None:
        """Nothing: it is known."""

    def local_rank(self) -> int:
        """The place of the device among those that this process sees."""
        return 0

    def node_rank(self) -> int:
        """That of the one node there is."""
        return 0


def seed_of(*parts: object) -> int:
    """A 63-bit seed from `parts`, such as the cell's seed and the step."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def learning_rate_factor(recipe: Recipe, progress: float) -> float:
    """The factor of the learning rate at `progress` in [0,1] of the budget.

    `one_cycle` rises and falls along half cosines, as PyTorch's OneCycleLR does (Smith & Topin,
    2019); `cosine` falls to zero (Loshchilov & Hutter, 2017). That of `plateau` depends on the
    validations: see `Plateau`.
    """

    def half_cosine(start: float, end: float, fraction: float) -> float:
        return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2

    if recipe.schedule == "cosine":
        return half_cosine(1.0, 0.0, progress)
    if recipe.schedule == "one_cycle":
        if progress < ONE_CYCLE_WARM_UP:
            return half_cosine(ONE_CYCLE_START, 1.0, progress / ONE_CYCLE_WARM_UP)
        return half_cosine(
            1.0, ONE_CYCLE_END, (progress - ONE_CYCLE_WARM_UP) / (1 - ONE_CYCLE_WARM_UP)
        )
    return 1.0


class Plateau:
    """A factor of the learning rate that falls when validations stop improving.

    PyTorch's ReduceLROnPlateau with its default threshold, one validation counting as an epoch.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._factor, self._patience = recipe.plateau_factor, recipe.plateau_patience
        self.factor, self._best, self._without_gain = 1.0, math.inf, 0

    def validated(self, value: float) -> None:
        """Add a validation's result, the lower the better."""
        if value < self._best * (1 - PLATEAU_THRESHOLD):
            self._best, self._without_gain = value, 0
            return
        self._without_gain += 1
        if self._without_gain > self._patience:
            self.factor, self._without_gain = self.factor * self._factor, 0

    def state(self) -> list[float]:
        """The state for `restore`."""
        return [self.factor, self._best, self._without_gain]

    def restore(self, state: list[float]) -> None:
        """Go on from an earlier `state`."""
        self.factor, self._best, self._without_gain = state[0], state[1], int(state[2])


class Training:
    """A model in training. Each step draws its randomness from the seed and the step's number.

    So on a CPU a run resumed from a checkpoint repeats an uninterrupted one to the bit, and two
    models with the same batch size and seed see the same clips. On CUDA the clips, masks and
    dropout are the same again, but cuDNN's autotuning may pick other algorithms in another process,
    and so other roundings.

    A step has two parts. The host's takes the batch, seeds, and fills in the progress and the
    learning rates; `work` is all that the device does. Where the host has no say in `work` it can
    be recorded once and replayed: see `record`.
    """

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        task: Task,
        dataset: Dataset,
        seed: int,
        fabric: Fabric,
        team: Team = ALONE,
    ) -> None:
        """Put `model` on the device of `fabric`, with a new optimiser.

        Args:
            model: to train.
            recipe: its optimiser, schedule and batch size.
            task: how its batches are drawn and its losses are called.
            dataset: where the training clips come from.
            seed: of the cell.
            fabric: device and precision.
            team: the processes that share each step, of which this is one.

        Raises:
            UserError: a batch cannot be divided over them.
        """
        self.recipe, self.team = recipe, team
        team.divide(recipe.batch_size)
        self._task, self._dataset, self._seed, self._fabric = task, dataset, seed, fabric
        device = fabric.device
        self._clip_generator, self._generator = torch.Generator(device), torch.Generator(device)
        self._part = WHOLE
        if team.size > 1:
            self._part = Part(team.rank, team.size, torch.Generator(device))
            share_statistics(model)
        self.batches = Batches(self._draw, device)
        self.model, self._optimizer = fabric.setup(model, self._new_optimizer(model))
        self._begin_momentum()
        self._progress = torch.zeros((), device=device)
        self._plateau = Plateau(recipe) if recipe.schedule == "plateau" else None
        self.logged: dict[str, Tensor] = {}
        """Values the model logged in the last step, by name: scalars on the device."""
        self._losses = task.losses(model)
        for name in self._losses:
            self.model.mark_forward_method(name)  # so that its gradients become those of all
        self.run_as = "eager"
        """How steps are run: as one "graph", or "eager", with the reason where there is one."""
        self._recording: Recording | None = None

    def _new_optimizer(self, model: Model) -> torch.optim.Optimizer:
        recipe, device = self.recipe, self._fabric.device
        options: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
        if recipe.optimizer == "sgd":
            options["momentum"] = recipe.momentum
        else:
            options["betas"] = recipe.betas
        # One fused update is six times faster than a loop over the parameters, on a CPU too.
        options["fused"] = fused = device.type in ("cpu", "cuda")
        optimizer: torch.optim.Optimizer = OPTIMIZERS[recipe.optimizer](
            model.parameter_groups(recipe), **options
        )
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
            # On the device no step waits for it; a loop over parameters reads it on the host.
            group["lr"] = torch.tensor(
                group["lr"], dtype=torch.float32, device=device if fused else "cpu"
            )
        return optimizer

    def _begin_momentum(self) -> None:
        """Let the momentum of each parameter be 0, as it is where the first gradient makes it.

        A fused update fails where only some parameters have had a gradient.
        """
        for group in self._optimizer.param_groups:
            for parameter in group["params"] if group.get("momentum") else ():
                self._optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def step(self, number: int, progress: float) -> Tensor:
        """Loss of training step `number` at `progress` of the budget, on the device."""
        batch = self.batches.take(number)
        torch.manual_seed(self._own_seed(number, "model"))
        self._generator.manual_seed(self._own_seed(number, "loss"))
        if self._part.generator is not None:
            self._part.generator.manual_seed(seed_of(self._seed, number, "loss"))
        self._progress.fill_(progress)
        factor = learning_rate_factor(self.recipe, progress)
        if self._plateau is not None:
            factor *= self._plateau.factor
        for group in self._optimizer.param_groups:
            group["lr"].fill_(group["initial_lr"] * factor)
        if self._recording is not None and not _alike(self._recording.batch, batch):
            self.forget_recording("batches change their shape")
        if self._recording is not None:
            loss, self.logged = _replayed(self._recording, batch)
        else:
            loss, self.logged = self.work(batch)
        return loss

    def _own_seed(self, number: int, what: str) -> int:
        """The seed of what this process draws for its own clips in step `number`."""
        rank = self.team.rank
        return seed_of(self._seed, number, what, *([rank] if rank else []))

    def work(self, batch: Batch) -> Outcome:
        """The updates of one step on `batch` as stored: all that happens on the device."""
        clips, *labels = batch
        self.model.train()
        floats = (to_float(clips, self._fabric.device), *labels)
        arguments = self._task.loss_arguments(floats, self._progress, self._generator, self._part)
        for name in self._losses:
            loss = self._update(name, arguments)
        return loss, getattr(arguments[0], "logged", {})

    def record(self, recorder: Recorder, number: int) -> None:
        """Replay from now on what `recorder` records of the work of step `number`.

        A recorder may do the work or not: the state is to be restored afterwards.
        """
        batch = tuple(tensor.clone() for tensor in self.batches.take(number))
        self.batches.drop()  # nothing else may use the device meanwhile
        self._optimizer.zero_grad()  # gradients are made anew, where the recording keeps them
        with self._capturable():
            self._recording = recorder(self.work, batch, self._generator)
        self.run_as = "graph"

    @contextmanager
    def _capturable(self) -> Iterator[None]:
        """Inside, PyTorch lets a step of the optimiser be captured; outside, it would warn of that.

        Its fused updates are the same either way.
        """
        for group in self._optimizer.param_groups:
            group["capturable"] = True
        try:
            yield
        finally:
            for group in self._optimizer.param_groups:
                group["capturable"] = False

    def forget_recording(self, why: str) -> None:
        """Run steps eagerly from now on."""
        self.finish()
        self.run_as = f"eager: {why}"

    def finish(self) -> None:
        """Free the memory of a recording, of gradients and of batches drawn ahead.

        Further steps run eagerly; `run_as` still says how those before did.
        """
        self.batches.drop()
        self._optimizer.zero_grad()  # a recording's gradients lie in its memory
        self._recording = None

    def validated(self, value: float) -> None:
        """Pass the result of a validation, the lower the better, to a plateau schedule."""
        if self._plateau is not None:
            self._plateau.validated(value)

    def _update(self, loss_name: str, arguments: tuple[object, ...]) -> Tensor:
        """The loss named `loss_name`, on the device, after one update by its gradients."""
        # No gradient, unlike one of zero, leaves a parameter and its optimiser state alone.
        self._optimizer.zero_grad(set_to_none=True)
        with shared_filters():
            # On one device Fabric enters this around `forward` alone.
            with self._fabric.autocast():
                loss: Tensor = getattr(self.model, loss_name)(*arguments)
            if loss.dim():
                raise ValueError(f"{loss_name} has shape {[*loss.shape]}, not a scalar's")
            self._fabric.backward(loss)
        self._clip_gradients()
        self._optimizer.step()
        return loss.detach()

    def _clip_gradients(self) -> None:
        recipe, clip = self.recipe, self._fabric.clip_gradients
        if recipe.clip_value is not None:
            clip(self.model, self._optimizer, clip_val=recipe.clip_value)
        if recipe.clip_norm is not None:
            # Looking for infinities would wait for the device at every step.
            clip(self.model, self._optimizer, max_norm=recipe.clip_norm, error_if_nonfinite=False)

    def _draw(self, number: int) -> Batch:
        self._clip_generator.manual_seed(seed_of(self._seed, number, "clips"))
        batch = self._task.draw(self._dataset, self.recipe.batch_size, self._clip_generator)
        ours = map(self.team.part, batch)
        return tuple(on_device(tensor, self._fabric.device) for tensor in ours)

    def state(self) -> dict[str, Any]:
        """Weights, optimiser and schedule: the state for `restore`."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "plateau": self._plateau.state() if self._plateau is not None else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`, in the memory in use: a recording goes on with it.

        Raises:
            KeyError: it lacks a part.
            ValueError: it is that of another model.
        """
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        self._restore_optimizer(state["optimizer"]["state"])
        if self._plateau is not None:
            self._plateau.restore(state["plateau"])

    @torch.no_grad()
    def _restore_optimizer(self, saved: dict[int, dict[str, Tensor]]) -> None:
        """Set the moments and counts of each parameter; rates are set at each step.

        What is not in `saved` becomes zero, which is how each of them begins.
        """
        groups = self._optimizer.param_groups
        parameters = [parameter for group in groups for parameter in group["params"]]
        if not saved.keys() <= {*range(len(parameters))}:
            raise ValueError(f"an optimiser of more than {len(parameters)} parameters")
        for number, parameter in enumerate(parameters):
            values = saved.get(number, {})
            if values or parameter in self._optimizer.state:
                _fill(self._optimizer.state[parameter], values, parameter)


def _alike(recorded: Batch, batch: Batch) -> bool:
    """Whether `batch` has the shapes of the recorded one."""
    return [tensor.shape for tensor in recorded] == [tensor.shape for tensor in batch]


def _replayed(recording: Recording, batch: Batch) -> Outcome:
    """The recorded work, on `batch`; the outcome stays when the next is there."""
    for ours, given in zip(recording.batch, batch, strict=True):
        ours.copy_(given, non_blocking=True)
    recording.replay()
    loss, logged = recording.outcome
    return loss.clone(), {name: value.clone() for name, value in logged.items()}


def _fill(state: dict[str, Tensor], values: dict[str, Tensor], parameter: Tensor) -> None:
    """Make `state`, which the optimiser keeps of `parameter`, hold `values`."""
    for name, value in values.items():
        if value.dim() and value.shape != parameter.shape:
            raise ValueError(f"{name} of the optimiser has another shape than its parameter")
        if name not in state:
            state[name] = torch.empty_like(value, device=parameter.device)
        state[name].copy_(value)
    for name in state.keys() - values.keys():
        state[name].zero_()
