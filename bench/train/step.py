"""One training step: batch, loss, gradients, update, and the learning-rate schedule."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from bench.kernels.fit import shared_filters
from bench.train.held_out import Batch, to_float
from bench.train.prefetch import Batches
from bench.train.task import Task
from datasets.contract import Dataset
from models.contract import Model, Recipe

OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
ONE_CYCLE_WARM_UP = 0.3  # fraction of the budget; these three are PyTorch's defaults
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4 / 25
PLATEAU_THRESHOLD = 1e-4  # smaller relative gains do not count; PyTorch's default


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

    So a run resumed from a checkpoint repeats an uninterrupted one exactly, and two models with the
    same batch size and seed see the same clips.
    """

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        task: Task,
        dataset: Dataset,
        seed: int,
        fabric: Fabric,
    ) -> None:
        """Put `model` on the device of `fabric`, with a new optimiser.

        Args:
            model: to train.
            recipe: its optimiser, schedule and batch size.
            task: how its batches are drawn and its losses are called.
            dataset: where the training clips come from.
            seed: of the cell.
            fabric: device and precision.
        """
        self.recipe = recipe
        self._task, self._dataset, self._seed, self._fabric = task, dataset, seed, fabric
        device = fabric.device
        self._clip_generator, self._generator = torch.Generator(device), torch.Generator(device)
        self.batches = Batches(self._draw, device)
        self.model, self._optimizer = fabric.setup(model, self._new_optimizer(model))
        for group in self._optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self._plateau = Plateau(recipe) if recipe.schedule == "plateau" else None
        self.logged: dict[str, Tensor] = {}
        """Values the model logged in the last step, by name: scalars on the device."""
        self._losses = task.losses(model)
        for name in self._losses:
            self.model.mark_forward_method(name)

    def _new_optimizer(self, model: Model) -> torch.optim.Optimizer:
        recipe = self.recipe
        options: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
        if recipe.optimizer == "sgd":
            options["momentum"] = recipe.momentum
        else:
            options["betas"] = recipe.betas
        # One fused update is six times faster than a loop over the parameters, on a CPU too.
        options["fused"] = self._fabric.device.type in ("cpu", "cuda")
        optimizer: torch.optim.Optimizer = OPTIMIZERS[recipe.optimizer](
            model.parameter_groups(recipe), **options
        )
        return optimizer

    def step(self, number: int, progress: float) -> Tensor:
        """Loss of training step `number` at `progress` of the budget, on the device."""
        clips, *labels = self.batches.take(number)
        batch = (to_float(clips, self._fabric.device), *labels)
        torch.manual_seed(seed_of(self._seed, number, "model"))
        self._generator.manual_seed(seed_of(self._seed, number, "loss"))
        self.model.train()
        factor = learning_rate_factor(self.recipe, progress)
        if self._plateau is not None:
            factor *= self._plateau.factor
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        arguments = self._task.loss_arguments(batch, progress, self._generator)
        for name in self._losses:
            loss = self._update(name, arguments)
        self.logged = getattr(arguments[0], "logged", {})
        return loss

    def validated(self, value: float) -> None:
        """Pass the result of a validation, the lower the better, to a plateau schedule."""
        if self._plateau is not None:
            self._plateau.validated(value)

    def _update(self, loss_name: str, arguments: tuple[object, ...]) -> Tensor:
        """The loss named `loss_name`, on the device, after one update by its gradients."""
        # No gradient, unlike one of zero, leaves a parameter and its optimiser state alone.
        self._optimizer.zero_grad(set_to_none=True)
        with shared_filters():
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
        return tuple(tensor.to(self._fabric.device, non_blocking=True) for tensor in batch)

    def state(self) -> dict[str, Any]:
        """Weights, optimiser and schedule: the state for `restore`."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "plateau": self._plateau.state() if self._plateau is not None else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._plateau is not None:
            self._plateau.restore(state["plateau"])
